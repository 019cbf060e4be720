"""Motion concepts read from poses, where it is known how alike two clips are."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.methods.dance.bottleneck.reading import cosine, movement, read_clips, read_video
from pipeline.methods.dance.settings import Reading

PLAIN = Reading(temperature=0.1, movement_temperature=None, among_concepts=False)


@pytest.fixture
def medoids() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(3, 4, 5, 2))


def test_a_clip_is_as_alike_as_its_cosine_says(medoids):
    clips = np.random.default_rng(1).uniform(size=(2, 4, 5, 2))
    flat, other = clips.reshape(2, -1), medoids.reshape(3, -1)
    expected = flat @ other.T / np.linalg.norm(flat, axis=1)[:, None] / np.linalg.norm(other, axis=1)
    np.testing.assert_allclose(cosine(clips, np.ones((2, 4, 5)), medoids), expected)
    np.testing.assert_allclose(read_clips(clips, np.ones((2, 4, 5)), medoids, PLAIN), np.exp((expected - 1) / 0.1))


def test_missing_joints_do_not_count(medoids):
    weight = np.ones((1, 4, 5))
    weight[0, 1, 2] = 0
    clip = medoids[:1].copy()
    clip[0, 1, 2] = 0.5  # what normalising puts in the place of a missing joint
    movements = PLAIN.model_copy(update={"movement_temperature": 0.1})
    assert read_clips(clip, weight, medoids, PLAIN)[0, 0] == pytest.approx(1)
    assert read_clips(clip, np.ones((1, 4, 5)), medoids, PLAIN)[0, 0] < 0.97
    # Where a joint was seen once, its mean place is where it was.
    weight[0, 1:, 2] = 0
    moved = movement(np.where(weight[..., None] > 0, medoids[:1], 7.0), weight)
    np.testing.assert_allclose(moved[0, 0, 2], 0, atol=1e-12)
    np.testing.assert_array_equal(read_clips(clip, np.zeros((1, 4, 5)), medoids, movements), np.exp([[-20.0] * 3]))


def test_movement_tells_motions_apart_that_one_posture_has():
    """Arms that go up and arms that go down are nearly the same poses."""
    still = np.tile(np.linspace(0.1, 0.9, 10).reshape(1, 5, 2), (4, 1, 1))
    up, down = still.copy(), still.copy()
    up[:, 0, 1] += np.linspace(-0.05, 0.05, 4)
    down[:, 0, 1] -= np.linspace(-0.05, 0.05, 4)
    both = np.stack([up, down])
    apart = read_clips(both, np.ones((2, 4, 5)), both, PLAIN)
    moving = read_clips(both, np.ones((2, 4, 5)), both, PLAIN.model_copy(update={"movement_temperature": 1.0}))
    assert apart.min() > 0.9
    np.testing.assert_allclose(moving, np.where(np.eye(2), 1, apart * np.exp(-2)), rtol=1e-6)


def test_among_concepts_they_share_one(medoids):
    among = PLAIN.model_copy(update={"among_concepts": True})
    clips, weight = np.random.default_rng(2).uniform(size=(6, 4, 5, 2)), np.ones((6, 4, 5))
    alone, shared = read_clips(clips, weight, medoids, PLAIN), read_clips(clips, weight, medoids, among)
    np.testing.assert_allclose(shared, alone / alone.sum(1, keepdims=True))


def test_a_video_is_what_its_most_alike_clip_with_a_person_is(medoids):
    clips = {"poses": medoids[[0, 1]], "start": np.array([0, 6])}
    points, sure, present = np.zeros((9, 5, 2)), np.ones((9, 5)), np.ones(9, bool)
    both = read_video(clips, points, sure, present, medoids, PLAIN)
    np.testing.assert_allclose(both[:2], 1)
    assert both[2] < 0.9
    present[8] = False  # the second clip repeats the last frame, in which nobody is
    assert read_video(clips, points, sure, present, medoids, PLAIN)[1] < 0.9
    present[3] = False
    assert np.isnan(read_video(clips, points, sure, present, medoids, PLAIN)).all()
    nothing = {"poses": medoids[:0], "start": np.zeros(0, int)}
    assert np.isnan(read_video(nothing, points, sure, present, medoids, PLAIN)).all()
