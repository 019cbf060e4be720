from __future__ import annotations

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.demo.clips import (
    DEMO_SEEDS,
    POOL_ACTORS,
    TRAINING_ACTORS,
    TRAINING_SEEDS,
    UNSEEN_ACTORS,
    ClipSpec,
    render,
    sample_spec,
)
from pipeline.demo.figure import MOTIONS
from pipeline.demo.scenery import OBJECTS, SCENES


@pytest.fixture(scope="module")
def clips():
    """A few frames of many random clips."""
    first = TRAINING_SEEDS[0]
    return [render(sample_spec(first + i), frame_indices=[0, 9, 18, 27, 36]) for i in range(80)]


def test_same_spec_gives_identical_bytes_and_another_seed_does_not():
    spec = sample_spec(11, n_frames=5)
    one, two = render(spec), render(spec)
    other = render(replace(spec, seed=12))
    for field in ("frames", "keypoints", "visible", "person_mask", "object_mask"):
        assert getattr(one, field).tobytes() == getattr(two, field).tobytes()
    assert not np.array_equal(one.frames, other.frames)
    assert not np.array_equal(one.keypoints, other.keypoints)


def test_shapes_and_types():
    clip = render(sample_spec(5), size=96, frame_indices=[3, 1])
    assert clip.frames.shape == (2, 96, 96, 3) and clip.frames.dtype == np.uint8
    assert clip.keypoints.shape == (2, 17, 2) and clip.keypoints.dtype == np.float32
    assert clip.visible.shape == (2, 17) and clip.visible.dtype == bool
    assert clip.person_mask.shape == clip.object_mask.shape == (2, 96, 96)
    assert clip.person_mask.dtype == clip.object_mask.dtype == bool
    assert not (clip.person_mask & clip.object_mask).any()


def test_a_subset_of_frames_equals_the_full_rendering():
    spec = sample_spec(21, n_frames=12)
    full, some = render(spec), render(spec, frame_indices=[7, 2, 11])
    for field in ("frames", "keypoints", "visible", "person_mask", "object_mask"):
        assert np.array_equal(getattr(full, field)[[7, 2, 11]], getattr(some, field))


def test_frame_outside_the_clip_is_refused():
    with pytest.raises(IndexError, match="frame 12 is outside this clip of 12 frames"):
        render(sample_spec(21, n_frames=12), frame_indices=[3, 12])


def test_keypoints_scale_with_the_size():
    spec = sample_spec(8, n_frames=4)
    small, large = render(spec, size=96), render(spec, size=192)
    np.testing.assert_allclose(large.keypoints, 2 * small.keypoints, rtol=1e-4, atol=1e-3)


def test_visible_keypoints_lie_on_the_person(clips):
    near = []
    for clip in clips:
        for mask, keypoints, visible in zip(clip.person_mask, clip.keypoints, clip.visible, strict=True):
            distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
            x, y = np.round(keypoints[visible]).astype(int).T
            assert (x >= 0).all() and (x < 128).all() and (y >= 0).all() and (y < 128).all()
            near.append(distance[y, x] <= 3)
    near = np.concatenate(near)
    assert len(near) > 0.75 * 17 * 5 * len(clips)
    assert near.mean() > 0.97


def test_hidden_keypoints_are_not_visible(clips):
    for clip in clips:
        x, y = np.round(np.moveaxis(clip.keypoints, -1, 0)).astype(int)
        inside = (x >= 0) & (x < 128) & (y >= 0) & (y < 128)
        assert not clip.visible[~inside].any()
        rows = np.nonzero(clip.visible)[0]
        assert not clip.object_mask[rows, y[clip.visible], x[clip.visible]].any()


def test_object_is_seen_in_most_frames_at_a_useful_size(clips):
    area = np.concatenate([clip.object_mask.sum(axis=(1, 2)) for clip in clips])
    assert (area > 0).mean() > 0.95
    assert 80 < np.median(area) < 600


def test_person_height_is_half_to_most_of_the_frame(clips):
    upright = [clip for clip in clips if clip.spec.motion in ("wave", "punch")]
    heights = [np.ptp(np.nonzero(mask)[0]) for clip in upright for mask in clip.person_mask[:1]]
    assert len(heights) > 5
    assert min(heights) > 0.5 * 128 and np.median(heights) < 0.9 * 128


def test_objects_are_held_in_most_clips():
    # A held object follows the hands, so only then its centre moves with a lift.
    moved = []
    for seed in range(40):
        spec = sample_spec(seed, motion="lift", object="ball", n_frames=45)
        clip = render(spec, frame_indices=range(0, 45, 6))
        rows = [np.nonzero(mask)[0].mean() for mask in clip.object_mask if mask.any()]
        moved.append(np.ptp(rows) > 10)
    assert 0.5 < np.mean(moved) < 0.9


def test_fixing_a_factor_leaves_the_other_draws_alone():
    free = sample_spec(77)
    fixed = sample_spec(77, motion="bow", object="hoop", n_frames=40)
    assert (fixed.motion, fixed.object, fixed.n_frames) == ("bow", "hoop", 40)
    assert (fixed.scene, fixed.actor, fixed.seed) == (free.scene, free.actor, 77)
    scene = replace(free, n_frames=6)
    one, two = (render(replace(scene, scene=name)) for name in ("beach", "library"))
    assert np.array_equal(one.keypoints, two.keypoints)
    assert np.array_equal(one.person_mask, two.person_mask)
    one, two = (render(replace(scene, object=name)) for name in ("ball", "guitar"))
    assert np.array_equal(one.keypoints, two.keypoints)


def test_factors_are_drawn_uniformly_and_independently():
    specs = [sample_spec(seed) for seed in range(3200)]
    for name, vocabulary in (("motion", MOTIONS), ("object", OBJECTS), ("scene", SCENES)):
        counts = Counter(getattr(spec, name) for spec in specs)
        assert set(counts) == set(vocabulary)
        assert min(counts.values()) > 320 and max(counts.values()) < 480
    for one, two in (("motion", "object"), ("motion", "scene"), ("object", "scene")):
        pairs = Counter((getattr(spec, one), getattr(spec, two)) for spec in specs)
        # Pearson's statistic against 50 per cell has 49 to 63 degrees of freedom.
        assert sum((pairs[a, b] - 50) ** 2 / 50 for a, b in pairs) < 115
        assert len(pairs) == 64
    assert {38, 75} <= {spec.n_frames for spec in specs}
    assert all(spec.actor in TRAINING_ACTORS for spec in specs)


def test_seeds_and_actors_of_demo_and_training_are_disjoint():
    assert DEMO_SEEDS.stop <= TRAINING_SEEDS.start
    assert POOL_ACTORS.stop <= UNSEEN_ACTORS.start == 100
    assert UNSEEN_ACTORS.stop <= TRAINING_ACTORS.start == 1000


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown scene"):
        render(ClipSpec(0, "lift", "ball", "moon", 0, 4))


@pytest.mark.parametrize("kind", ["ball", "barbell", "umbrella"])
def test_an_object_that_stands_apart_touches_nobody_and_changes_nothing_else(kind):
    spec = sample_spec(5, motion="lift", object=kind, scene="gym")
    held, apart = render(spec, 96, [0, 20]), render(replace(spec, apart=True), 96, [0, 20])
    np.testing.assert_array_equal(held.keypoints, apart.keypoints)
    for person, mask in zip(apart.person_mask, apart.object_mask, strict=True):
        far = cv2.distanceTransform((~person).astype(np.uint8), cv2.DIST_L2, 5)
        assert mask.sum() >= 20 and far[mask].min() > 2
    # Edges are smooth: they reach a little beyond the masks.
    changed = (held.object_mask | apart.object_mask).astype(np.uint8)
    same = np.stack([cv2.dilate(mask, np.ones((7, 7))) == 0 for mask in changed])
    np.testing.assert_array_equal(held.frames[same], apart.frames[same])
