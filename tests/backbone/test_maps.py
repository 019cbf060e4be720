from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from pipeline.backbone.maps import on_grid
from pipeline.encoding.grid import positions


def at_places(maps: np.ndarray, grid: tuple[int, int], placement: str, radius: int) -> np.ndarray:
    return on_grid(torch.from_numpy(maps), grid, placement, radius).numpy()


def test_middles_of_parts_are_the_bilinear_resize_of_torch():
    maps = np.random.default_rng(0).normal(size=(2, 3, 8, 6, 4)).astype(np.float32)
    result = at_places(maps, (4, 3), "cells", 32)
    flat = torch.from_numpy(maps).flatten(0, 1).movedim(-1, 1)  # [6, 4, 8, 6]
    expected = F.interpolate(flat, (4, 3), mode="bilinear", align_corners=False).movedim(1, -1).unflatten(0, (2, 3))
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, expected, atol=2e-3)


def test_a_grid_from_border_to_border_looks_where_the_circles_are():
    # The feature is the position itself, so the result must be the positions of the circles.
    middles = (np.arange(14) + 0.5) / 14
    maps = np.stack(np.meshgrid(middles, middles, indexing="ij"), -1)[None, None].astype(np.float32)
    result = at_places(maps, (7, 7), "stride", 32)[0, 0]
    expected = np.clip(positions(7, "stride"), middles[0], middles[-1])
    np.testing.assert_allclose(result[:, 3, 0], expected, atol=1e-3)
    np.testing.assert_allclose(result[2, :, 1], expected, atol=1e-3)


def test_a_convolution_without_bias_commutes():
    rng = np.random.default_rng(0)
    maps, weight = rng.normal(size=(1, 1, 5, 5, 3)).astype(np.float32), rng.normal(size=(2, 3))
    before = at_places((maps @ weight.T).astype(np.float32), (7, 7), "inset", 20)
    np.testing.assert_allclose(at_places(maps, (7, 7), "inset", 20) @ weight.T, before, atol=1e-2)
