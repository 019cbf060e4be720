from __future__ import annotations

import numpy as np
import pytest
import scipy.io

from pipeline.data.readers import VideoError
from pipeline.exchange.penn_action import read_penn_action


def annotation(path, box) -> None:
    ones = np.ones((3, 13))
    scipy.io.savemat(path, {"x": 5 * ones, "y": 7 * ones, "visibility": ones, "bbox": box})


def test_boxes_that_are_missing_repeat_the_last_one_or_are_empty(tmp_path):
    annotation(tmp_path / "0001.mat", np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]))
    assert read_penn_action(tmp_path / "0001.mat")["box"].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [5, 6, 7, 8]]
    annotation(tmp_path / "0002.mat", np.zeros((0, 0)))
    assert read_penn_action(tmp_path / "0002.mat")["box"].tolist() == [[0] * 4] * 3


def test_boxes_of_another_form_are_damage(tmp_path):
    annotation(tmp_path / "0001.mat", np.ones((3, 5)))
    with pytest.raises(VideoError, match=r"boxes of shape \(3, 5\) instead of F × 4"):
        read_penn_action(tmp_path / "0001.mat")
