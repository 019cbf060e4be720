from __future__ import annotations

import numpy as np
from PIL import Image

from pipeline.encoding.grid import positions
from pipeline.methods.dance.explain.overlay import (
    BAR,
    CAPTION,
    SIDE,
    TITLE,
    Scale,
    draw,
    overlay,
    panel,
    write_animation,
    write_strip,
)
from pipeline.methods.dance.explain.regions import View


def test_cold_places_keep_the_picture_and_warm_ones_change():
    frame = np.full((4, 4, 3), 100, np.uint8)
    heat = np.zeros((4, 4))
    heat[1, 2] = 1
    result = overlay(frame, heat)
    assert (np.argwhere((result != frame).any(-1)) == [[1, 2]]).all()
    # The warmest colour of the scale is a light yellow, under it a quarter of the frame shines through.
    assert result[1, 2].tolist() > [200, 200, 100]


def test_heat_is_on_a_scale_that_no_clip_stretches():
    scale = Scale(1.0, 5.0)
    assert scale.heat(np.array([-3.0, 1.0, 2.0, 5.0, 9.0])).tolist() == [0, 0, 0.25, 1, 1]
    frames, grid = np.full((4, 16, 16, 3), 80, np.uint8), positions(7, "cells")
    view, cold = View(16, 16, grid, grid), np.random.default_rng(0).random((2, 7, 7))
    # What is below `seen` in every place changes no pixel, however it varies.
    assert (draw(frames, cold, view, scale) == 80).all()
    assert (draw(frames, cold, view, Scale(0.0, 1.0)) != 80).any()


def test_a_panel_has_title_times_and_colour_bar():
    pictures = np.full((3, 200, 200, 3), 7, np.uint8)
    bare = panel(pictures, "")
    assert bare.shape == (TITLE + 200, 600, 3)
    full = panel(pictures, "a <ball> present \u30dc\u30fc\u30eb" * 9, ["0.10 s", "0.20 s", "0.30 s"], Scale(1.0, 5.0))
    assert full.shape == (TITLE + 200 + CAPTION, 600 + BAR, 3)
    assert (full[TITLE : TITLE + 200, :600] == 7).all()
    assert (full[:TITLE] < 200).any() and all((full[-CAPTION:, x : x + 200] < 200).any() for x in (0, 200, 400))
    bar = full[TITLE + 30 : TITLE + 170, 600 + 17].astype(int).sum(1)
    # From light yellow at `full` through dark to the frame at `seen`, here white.
    assert bar[-1] > 740 and bar.min() < 600


def test_drawn_heat_is_where_the_map_is_warm(tmp_path):
    grid = positions(7, "cells")
    concept_map = np.zeros((4, 7, 7))
    concept_map[2, 5, 1] = 1
    # Each frame has a grey of its own, which tells which one was taken.
    frames = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None, None] * 8, (16, 56, 56, 3))
    pictures = draw(frames, concept_map, View(56, 56, grid, grid), Scale(0.0, 1.0))
    assert pictures.shape == (4, SIDE, SIDE, 3)
    for k, frame in enumerate((2, 6, 10, 14)):  # the middle frames of four slices
        plain = np.asarray(Image.fromarray(frames[frame]).resize((SIDE, SIDE), Image.BICUBIC))
        change = np.abs(pictures[k].astype(int) - plain).sum(-1)
        if k != 2:
            assert not change.any()
        else:
            warm = np.argwhere(change > change.max() / 2)
            np.testing.assert_allclose(warm.mean(0) / SIDE, [5.5 / 7, 1.5 / 7], atol=0.02)
    write_strip(tmp_path / "a.png", pictures[0])
    assert (np.asarray(Image.open(tmp_path / "a.png")) == pictures[0]).all()
    write_animation(tmp_path / "a.gif", pictures)
    assert Image.open(tmp_path / "a.gif").n_frames >= 2
