"""Tracks of things: what is found in made-up clips, what it is described by, and how it is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.motion.drawing import draw_paths, draw_strip
from pipeline.motion.motion_concepts import standardised
from pipeline.motion.settings import Tracks
from pipeline.motion.skeleton import TRACKS, skeleton
from pipeline.motion.tracks import background, describe, find, linked, of_truth, windows
from pipeline.store.atomic import StageError

SETTINGS = Tracks()


def scene(t: int = 16, size: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    texture = rng.uniform(60, 140, (size // 8, size // 8, 3)).repeat(8, 0).repeat(8, 1)
    return np.repeat(texture[None], t, 0).astype(np.uint8)


def put(frames: np.ndarray, number: int, x: float, y: float, colour=(250, 20, 20), radius: float = 5.0) -> None:
    rows, columns = np.mgrid[: frames.shape[1], : frames.shape[2]]
    frames[number][(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = colour


def test_a_thing_that_moves_is_found_where_it_is():
    frames = scene()
    xs = np.linspace(10, 54, 16)
    for number, x in enumerate(xs):
        put(frames, number, x, 30)
    tracks = find(frames, SETTINGS)
    there = tracks[..., 5] > 0
    assert there[:, 0].all() and not there[:, 1:].any()
    assert np.abs(tracks[:, 0, 0] * 64 - xs).max() < 1.5 and np.abs(tracks[:, 0, 1] * 64 - 30).max() < 1.5
    assert np.abs(tracks[:, 0, 2] * 64 - 5).max() < 1.5


@pytest.mark.parametrize("backward", [False, True])
def test_what_appears_half_way_is_no_ghost(backward):
    """The median of such a clip shows the thing as often as not."""
    frames = scene()
    for number in range(8, 16):
        put(frames, number, 30, 30)
    tracks = find(frames[::-1] if backward else frames, SETTINGS)
    count = tracks[..., 5].sum(1)
    assert count.tolist() == ([1] * 8 + [0] * 8 if backward else [0] * 8 + [1] * 8)


def test_a_shadow_is_no_thing():
    frames = scene()
    for number in range(16):
        frames[number, 20:40, 2 * number : 2 * number + 10] = frames[number, 20:40, 2 * number : 2 * number + 10] * 0.6
    assert find(frames, SETTINGS)[..., 5].sum() == 0


def test_nothing_is_found_where_nothing_moves():
    assert not find(scene(), SETTINGS).any()
    assert np.array_equal(background(scene().astype(np.float32), 20), scene()[0])


def test_links_follow_the_nearest_of_the_same_hue():
    red, blue = 0.0, 0.6
    found = [
        np.array([[10 + 6 * k, 20, 50, 100, red, 1], [46 - 6 * k, 22, 50, 100, blue, 1]], np.float32)[
            :: 1 - 2 * (k % 2)
        ]
        for k in range(7)
    ]
    tracks = linked(found, 64)
    assert np.ptp(tracks[:, 0, 4]) == 0 and np.ptp(tracks[:, 1, 4]) == 0
    assert (np.diff(tracks[:, 0, 0]) > 0).all() and (np.diff(tracks[:, 1, 0]) < 0).all()


def test_truth_out_of_the_picture_is_not_there():
    true = np.zeros((2, 2, 6), np.float32)
    true[:, 0] = 32, 16, 8, 1, 0.3, 1
    true[:, 1] = [[80, 16, 8, 1, 0.3, 1], [20, 16, 8, 0.01, 0.3, 1]]
    kept = of_truth(true, 64)
    assert kept[:, 0] == pytest.approx(np.array([[0.5, 0.25, 0.125, 1, 0.3, 1]] * 2)) and not kept[:, 1:].any()


def test_descriptors_by_hand():
    tracks = np.zeros((1, 4, 6), np.float32)
    tracks[0, 0] = 0.25, 0.5, 0.1, 1, 0, 1
    tracks[0, 1] = 0.75, 0.5, 0.1, 0.5, 0, 1
    area, x, y, alpha, spread, edge = describe(tracks)[0]  # the first counts twice as much as the second
    assert (x, y, alpha) == pytest.approx((5 / 6, 1, 5 / 6)) and edge == pytest.approx(0.5)
    assert area == pytest.approx(np.pi * 0.01 * 1.5 * 25) and spread == pytest.approx(2 * np.sqrt(2 / 9))
    assert describe(np.zeros((3, 4, 6)))[:, :3].tolist() == [[0, 1, 1]] * 3


def test_pieces_of_a_thing_are_described_as_the_thing():
    whole, pieces = np.zeros((2, 1, 4, 6))
    whole[0, 0] = 0.4, 0.6, 0.1, 0.8, 0, 1
    pieces[0, :2] = whole[0, 0]
    pieces[0, :2, 2] = 0.1 * np.sqrt([0.3, 0.7])
    assert describe(pieces) == pytest.approx(describe(whole))


def test_windows_hold_changes():
    tracks = np.zeros((2, 10, 4, 6), np.float32)
    tracks[0, :, 0] = 0.5, 0.5, 0.1, 1, 0, 1
    tracks[0, :, 0, 0] = np.linspace(0.1, 0.9, 10)
    changes, paths, starts = windows(tracks, 4, 3)
    assert changes.shape == (2, 3, 3, 6) and paths.shape == (2, 3, 4, 4, 6) and starts.tolist() == [0, 3, 6]
    assert changes[0, ..., 1] == pytest.approx(2 * 0.8 / 9) and not changes[1].any()
    with pytest.raises(StageError, match=r"shorter than motion\.tracks\.length = 11"):
        windows(tracks, 11, 1)


def test_standardised_by_what_was_seen_alone():
    changes = np.random.default_rng(0).normal(size=(20, 3, 6))
    seen = np.arange(20) < 10
    changed = changes.copy()
    changed[~seen] *= 50
    assert np.array_equal(standardised(changes, seen)[seen], standardised(changed, seen)[seen])
    assert np.abs(standardised(changed, seen)).max() <= 4


def test_a_medoid_is_drawn_as_paths():
    tracks = np.zeros((7, 4, 6), np.float32)
    tracks[:, 0] = 0.2, 0.5, 0.08, 1, 0, 1
    tracks[:, 0, 0] = np.linspace(0.2, 0.8, 7)
    picture = draw_strip(tracks, skeleton(TRACKS), height=96)
    assert picture.shape == (96, 96, 3) and np.array_equal(picture, draw_paths(tracks, height=96))
    ink = (picture < 200).any(-1)
    assert ink[44:52, 20:80].any() and not ink[:30, 4:-4].any() and not ink[70:92, 4:-4].any()
    early, late = (int(picture[48, round(96 * x)].sum()) for x in (0.16, 0.87))
    assert late < early
