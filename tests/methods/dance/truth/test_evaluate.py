from __future__ import annotations

import numpy as np

from pipeline.methods.dance.truth.evaluate import boxes_of, pck


def test_pck_counts_joints_within_a_tenth_of_the_longer_side():
    truth = np.array([[[0.0, 0.0], [20.0, 0.0], [20.0, 100.0]]])
    estimated = truth + np.array([[[10.0, 0.0], [0.0, 10.1], [6.0, 8.0]]])  # off by 10, 10.1 and 10 pixels
    everything = np.ones((1, 3), bool)
    assert boxes_of(truth).tolist() == [[0, 0, 20, 100]]
    assert pck(estimated, truth, everything, boxes_of(truth)) == (2, 3)
    assert pck(estimated, truth, np.array([[True, True, False]]), boxes_of(truth)) == (1, 2)
