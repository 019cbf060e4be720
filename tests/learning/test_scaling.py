from __future__ import annotations

import numpy as np
import pytest

from pipeline.learning.scaling import standardise, standardise_fit


def test_standardise_uses_the_sample_deviation():
    mean, std = standardise_fit(np.array([[1.0, 10.0], [3.0, 10.0]]))
    assert mean == pytest.approx([2, 10]) and std == pytest.approx([np.sqrt(2), 1])
    np.testing.assert_allclose(standardise(np.array([[4.0, 12.0]]), mean, std), [[np.sqrt(2), 2]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_column_that_is_constant_but_for_rounding_is_not_blown_up(dtype):
    column = np.full((1000, 1), 0.1, dtype)
    column[::2] = np.nextafter(column[0], dtype(1))
    assert column.std(ddof=1) > 0
    mean, std = standardise_fit(column)
    assert std == [1.0]
    assert np.abs(standardise(column, mean, std)).max() < 1e-7
    # A spread of the same size that is no rounding is kept.
    assert standardise_fit(column - column[0])[1] < 1e-7


def test_one_row_has_no_deviation():
    assert standardise_fit(np.array([[1.0, 2.0]]))[1] == pytest.approx([1, 1])
