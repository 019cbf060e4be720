from __future__ import annotations

import numpy as np

from pipeline.learning.glm import Solution
from pipeline.methods.dance.bottleneck.effective import at_nec, truncate


def solution(weight, lam: float) -> Solution:
    weight = np.array(weight, float)
    return Solution(weight, np.zeros(len(weight)), lam, 0.99, 0.0, 0.0, 0.0, 0.0, 1, int((weight != 0).sum()), True)


def test_truncate_keeps_the_largest_and_their_signs():
    weight = np.array([[0.1, -3.0, 0.0], [2.0, -0.5, 0.2]])
    np.testing.assert_array_equal(truncate(weight, 3), [[0, -3.0, 0], [2.0, -0.5, 0]])
    np.testing.assert_array_equal(truncate(weight, 99), weight)


def test_takes_the_first_solution_that_is_dense_enough_and_cuts_it():
    path = [
        solution([[0, 0, 0, 0], [0, 0, 0, 0]], 1.0),
        solution([[1, 0, 0, 0], [0, 2, 0, 0]], 0.5),
        solution([[1, 2, 3, 0], [0, 2, 0, 4]], 0.1),
        solution([[9, 9, 9, 9], [9, 9, 9, 9]], 0.01),
    ]
    weight, _, lam = at_nec(path, 2)
    assert lam == 0.1
    assert np.count_nonzero(weight) == 4
    np.testing.assert_array_equal(weight, [[0, 2, 3, 0], [0, 2, 0, 4]])


def test_a_path_that_stays_sparser_is_left_as_it_is():
    path = [solution([[0, 0], [0, 0]], 1.0), solution([[1, 0], [0, 0]], 0.1)]
    weight, _, lam = at_nec(path, 2)
    assert lam == 0.1 and np.count_nonzero(weight) == 1
