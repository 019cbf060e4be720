from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.encoding.grid import cell_positions, interpolation, positions, resample, smooth_interpolation


def test_stride_is_the_papers_arithmetic():
    # d = floor(224 / 6) = 37; the last centre is 222, inside the picture.
    np.testing.assert_allclose(positions(7, "stride") * 224, [0, 37, 74, 111, 148, 185, 222])
    # d = 56: the last centre would be 224, one pixel outside.
    np.testing.assert_allclose(positions(5, "stride") * 224, [0, 56, 112, 168, 223])


def test_inset_keeps_whole_circles():
    np.testing.assert_allclose(positions(3, "inset", 32) * 224, [32, 112, 192])
    with pytest.raises(ValueError, match="does not fit"):
        positions(3, "inset", 112)


def test_cells_are_the_middles():
    np.testing.assert_allclose(positions(4, "cells"), [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(positions(1, "stride"), [0.5])
    with pytest.raises(ValueError, match="at least one position"):
        positions(0, "cells")


@pytest.mark.parametrize(("source", "target"), [((7, 7), (7, 7)), ((14, 10), (7, 5)), ((4, 7), (11, 9))])
def test_between_cells_it_is_the_bilinear_resize_of_torch(source, target):
    maps = np.random.default_rng(0).normal(size=(2, 3, *source))
    matrices = [interpolation(cell_positions(s), cell_positions(t)) for s, t in zip(source, target, strict=True)]
    expected = F.interpolate(torch.from_numpy(maps), target, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(resample(maps, *matrices), expected, atol=1e-12)


def test_from_border_to_border_it_is_the_other_resize_of_torch():
    maps = np.random.default_rng(0).normal(size=(1, 1, 3, 3))
    matrix = interpolation(np.array([0, 0.5, 1]), np.linspace(0, 1, 8))
    expected = F.interpolate(torch.from_numpy(maps), (8, 8), mode="bilinear", align_corners=True)
    np.testing.assert_allclose(resample(maps, matrix, matrix), expected, atol=1e-12)


def test_beyond_the_outermost_places_the_value_stays():
    np.testing.assert_allclose(
        interpolation(np.array([0.25, 0.75]), np.array([0.0, 0.5, 1.0])), [[1, 0], [0.5, 0.5], [0, 1]]
    )


def test_smooth_interpolation_keeps_parabolas_and_finds_the_top_between_places():
    places, pixels = np.linspace(0.1, 0.9, 7), np.linspace(0.1, 0.9, 101)
    matrix = smooth_interpolation(places, pixels)
    np.testing.assert_allclose(matrix.sum(1), 1)
    top = 0.43  # no place is there
    np.testing.assert_allclose(matrix @ -((places - top) ** 2), -((pixels - top) ** 2), atol=1e-12)
    assert pixels[(matrix @ -((places - top) ** 2)).argmax()] == pytest.approx(top, abs=0.005)
    beyond = smooth_interpolation(places, np.array([0.0, 1.0]))
    np.testing.assert_allclose(beyond, np.eye(7)[[0, 6]], atol=1e-12)
    np.testing.assert_allclose(smooth_interpolation(places[:2], pixels), interpolation(places[:2], pixels))
