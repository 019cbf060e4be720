"""Decisions as moving pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.animation import Person, drawn, fitted, matched, thinned
from pipeline.methods.dance.explain.overlay import write_animation
from pipeline.methods.dance.explain.palette import TYPE_COLOURS

LEVELS = np.array([[-1.0] * 3, [2] * 3, [0.5] * 3, [9] * 3, [1] * 3])


def model_of(weight) -> ConceptModel:
    """Two motions and an object, each present from 0.5 on."""
    layer = {"weight": np.eye(3), "mean": np.zeros(3), "std": np.ones(3), "levels": LEVELS}
    about = {
        "dataset": "test",
        "skeleton": "coco",
        "n_videos": [9, 9],
        "medoid_video_id": ["a", "b"],
        "doubt": [""] * 3,
        "quality": [1.0] * 3,
    }
    medoids = np.random.default_rng(0).random((2, 8, 17, 2), np.float32)
    names = ["motion 000", "motion 001", "<img onerror=x>"]
    return ConceptModel(
        ["lift", "kick"], names, ["motion", "motion", "object"], layer, np.array(weight), np.zeros(2), medoids, about
    )


def person(n: int) -> Person:
    points = np.random.default_rng(1).random((n, 17, 2))
    points[0] = np.nan  # nobody in the first picture
    return Person(np.arange(n) / 10, np.full((n, 8, 8, 3), 90, np.uint8), points)


def test_poses_fill_a_square_and_keep_their_shape():
    poses = np.array([[[10.0, 20], [30, 20]], [[np.nan, np.nan], [10, 60]]])
    placed = fitted(poses)
    assert np.nanmin(placed) == pytest.approx(0.09) and np.nanmax(placed) == pytest.approx(0.91)
    assert placed[0, 1, 0] - placed[0, 0, 0] == pytest.approx(20 * 0.82 / 40)
    assert np.isnan(fitted(np.full((3, 2, 2), np.nan))).all()


def test_a_fast_video_is_thinned():
    assert thinned(np.arange(50) / 50, 12.5).tolist() == list(range(0, 50, 4))
    assert thinned(np.arange(5) / 5, 12.5).tolist() == [0, 1, 2, 3, 4]
    assert thinned(np.array([3.0])).tolist() == [0]


def test_the_recognised_motion_is_the_strongest_present_one():
    weight = [[3.0, 2.0, 9.0], [0.0, 0.0, 0.0]]
    absent_first = model_of(weight).explain(np.array([0.1, 1.0, 1.0]), 0, 3)
    assert [reason.concept for reason in absent_first] == ["<img onerror=x>", "motion 001", "motion 000"]
    assert matched(model_of(weight), absent_first).concept == "motion 001"
    against = model_of([[-3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).explain(np.array([1.0, 1.0, 1.0]), 0, 3)
    assert matched(model_of(weight), against) is None


@pytest.mark.parametrize("pixels", [True, False])
def test_a_gif_shows_every_picture_for_its_time(tmp_path, pixels):
    model = model_of([[3.0, 2.0, -9.0], [0.0, 0.0, 0.0]])
    shown = person(6)
    if not pixels:
        shown = Person(shown.times, None, shown.points)
    pictures = drawn(model, "<b>a.mp4</b>: lift", model.explain(np.array([1.0, 1.0, 1.0]), 0, 3), shown)
    colours = {tuple(colour) for colour in pictures[0].reshape(-1, 3)}
    for kind in ("motion", "object"):
        assert tuple(bytes.fromhex(TYPE_COLOURS[kind][1:])) in colours
    assert ((90, 90, 90) in colours) is pixels
    write_animation(tmp_path / "a.gif", pictures, 100)
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 6 and animation.info["duration"] == 100
        assert animation.size == (pictures[0].shape[1], pictures[0].shape[0])
