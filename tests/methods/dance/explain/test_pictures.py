from __future__ import annotations

import numpy as np

from pipeline.methods.dance.explain.pictures import choose_examples


def test_examples_are_the_surest_right_the_surest_wrong_and_other_classes():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.95, 0.0], [0.0, 0.4, 0.6]])
    y = np.array([0, 1, 1, 1, 2])
    # Rows 3, 0, 2, 4 are right (surest first), row 1 is wrong. Row 2 is of a class that is there already.
    assert choose_examples(y, probabilities, 4) == [3, 1, 0, 4]
    assert choose_examples(y, probabilities, 2) == [3, 1]


def test_no_wrong_example_is_no_problem():
    assert choose_examples(np.array([0, 1]), np.eye(2), 3) == [0, 1]
