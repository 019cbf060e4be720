from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipeline.encoding.grid import positions
from pipeline.methods.dance.explain.regions import (
    RegionError,
    View,
    box_mask,
    edited,
    point_mask,
    read_mask,
    region_activations,
)


@pytest.fixture
def view() -> View:
    """A wide picture: the model sees x from 20 to 80."""
    return View(60, 100, positions(3, "cells"), positions(4, "cells"))


def maps(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 3, 4, 5)).astype(np.float32)


def test_sum_over_a_region_is_that_of_the_enlarged_map(view):
    mask = np.random.default_rng(1).random((60, 100)) < 0.3
    heat = view.enlarged(np.moveaxis(maps().astype(float), -1, 1))  # [2, 5, 60, 60]
    seen = mask[:, 20:80]
    np.testing.assert_allclose(region_activations(maps(), view, mask), (heat * seen).sum((2, 3)).mean(0), rtol=1e-9)
    np.testing.assert_allclose(
        region_activations(maps(), view, mask, "mean"), (heat * seen).sum((2, 3)).mean(0) / seen.sum(), rtol=1e-9
    )


def test_square_of_tall_and_wide_pictures():
    grid = positions(3, "cells")
    assert View(60, 100, grid, grid).square == (0, 20, 60)
    assert View(101, 60, grid, grid).square == (20, 0, 60)


def test_intervention_in_the_whole_picture_shifts_the_map_by_beta(view):
    original = maps()
    result = edited(original, view, np.ones((60, 100), bool), 2, 1.5)
    np.testing.assert_allclose(result[..., 2], original[..., 2] + 1.5, rtol=1e-5)
    np.testing.assert_array_equal(np.delete(result, 2, -1), np.delete(original, 2, -1))
    np.testing.assert_array_equal(original, maps())  # the given maps stay


def test_intervention_in_a_part_stays_there_and_is_added_once(view):
    # The lower row of places lies at 50 of 60 pixels and speaks for the 10 below it and, fading out, for the 20 above.
    result = edited(np.zeros((1, 3, 4, 1), np.float32), view, box_mask(60, 100, (20, 50, 80, 60)), 0, 1.0)[0, ..., 0]
    np.testing.assert_allclose(result[2], 0.5, rtol=1e-6)
    np.testing.assert_allclose(result[:2], 0, atol=1e-9)
    # What two halves of a region add is what the region adds.
    left, right = (
        edited(np.zeros((1, 3, 4, 1), np.float32), view, box_mask(60, 100, (a, 50, b, 60)), 0, 1.0)[0, ..., 0]
        for a, b in ((20, 47), (47, 80))
    )
    np.testing.assert_allclose(left + right, result, rtol=1e-6)


def test_box_counts_its_pixels():
    mask = box_mask(10, 20, (3, 2, 7, 5))
    assert mask.sum() == 12 and mask[2:5, 3:7].all()
    assert box_mask(10, 20, (0, 0, 20, 10)).all()


@pytest.mark.parametrize(
    "box", [(-1, 0, 5, 5), (0, 0, 21, 5), (0, 0, 5, 11), (5, 0, 5, 5), (6, 0, 5, 5), (0, np.nan, 5, 5)]
)
def test_boxes_outside_are_told(box):
    with pytest.raises(RegionError, match="does not lie in the picture; give X0 Y0 X1 Y1"):
        box_mask(10, 20, box)


def test_a_point_stands_for_a_circle():
    mask = point_mask(224, 224, (100, 50), 32)
    assert mask[50, 100] and mask[50 + 31, 100] and not mask[50 + 33, 100]
    assert mask.sum() == pytest.approx(np.pi * 32**2, rel=0.01)
    assert point_mask(5, 5, (4.9, 0), 1)[0, 4]
    with pytest.raises(RegionError, match="does not lie in the picture"):
        point_mask(224, 224, (224, 0), 32)


def test_masks_that_do_not_fit_are_told(view):
    with pytest.raises(RegionError, match="the mask is 60 × 100 pixels, the picture 100 × 60"):
        view.weights(np.ones((100, 60), bool))
    with pytest.raises(RegionError, match="region is empty"):
        view.weights(np.zeros((60, 100), bool))
    with pytest.raises(RegionError, match="x from 20 to 80, y from 0 to 60"):
        view.weights(box_mask(60, 100, (0, 0, 20, 60)))


def test_mask_files(tmp_path):
    values = np.zeros((4, 6, 4), np.uint8)
    values[..., 3] = 255
    values[1, 2] = (0, 0, 1, 255)
    values[2, 3] = (255, 255, 255, 0)  # transparent
    Image.fromarray(values).save(tmp_path / "mask.png")
    assert np.argwhere(read_mask(tmp_path / "mask.png")).tolist() == [[1, 2]]
    Image.fromarray(values[..., 2] * 255).save(tmp_path / "grey.png")
    assert read_mask(tmp_path / "grey.png")[1, 2]
    (tmp_path / "broken.png").write_bytes((tmp_path / "mask.png").read_bytes()[:60])
    with pytest.raises(RegionError, match="does not decode as a picture"):
        read_mask(tmp_path / "broken.png")
    with pytest.raises(RegionError, match="does not exist"):
        read_mask(tmp_path / "none.png")
