from __future__ import annotations

import numpy as np
from PIL import Image

from pipeline.encoding.grid import positions
from pipeline.methods.dance.explain.overlay import SIDE, draw, overlay, shares, write_animation, write_strip
from pipeline.methods.dance.explain.regions import View


def test_cold_places_keep_the_picture_and_warm_ones_change():
    frame = np.full((4, 4, 3), 100, np.uint8)
    heat = np.zeros((4, 4))
    heat[1, 2] = 1
    result = overlay(frame, heat)
    assert (np.argwhere((result != frame).any(-1)) == [[1, 2]]).all()
    # The warmest colour of the scale is a light yellow, under it a quarter of the frame shines through.
    assert result[1, 2].tolist() > [200, 200, 100]


def test_slices_share_one_scale():
    scaled = shares(np.array([[0.0, 1.0], [2.0, 4.0]]))
    assert scaled.tolist() == [[0, 0.25], [0.5, 1]]
    assert shares(np.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]


def test_drawn_heat_is_where_the_map_is_warm(tmp_path):
    grid = positions(7, "cells")
    concept_map = np.zeros((4, 7, 7))
    concept_map[2, 5, 1] = 1
    # Each frame has a grey of its own, which tells which one was taken.
    frames = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None, None] * 8, (16, 56, 56, 3))
    pictures = draw(frames, concept_map, View(56, 56, grid, grid))
    assert pictures.shape == (4, SIDE, SIDE, 3)
    for k, frame in enumerate((2, 6, 10, 14)):  # the middle frames of four slices
        plain = np.asarray(Image.fromarray(frames[frame]).resize((SIDE, SIDE), Image.BICUBIC))
        change = np.abs(pictures[k].astype(int) - plain).sum(-1)
        if k != 2:
            assert not change.any()
        else:
            warm = np.argwhere(change > change.max() / 2)
            np.testing.assert_allclose(warm.mean(0) / SIDE, [5.5 / 7, 1.5 / 7], atol=0.02)
    write_strip(tmp_path / "a.png", pictures)
    assert np.asarray(Image.open(tmp_path / "a.png")).shape == (SIDE, 4 * SIDE, 3)
    write_animation(tmp_path / "a.gif", pictures)
    assert Image.open(tmp_path / "a.gif").n_frames >= 2
