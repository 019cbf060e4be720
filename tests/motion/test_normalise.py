from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.motion.normalise import interpolate_gaps, normalise

NAN = [np.nan, np.nan]
MODES = ("clip", "frame_axis")


def walk(seed: int = 0) -> np.ndarray:
    """Two clips of moving poses `[2, 6, 4, 2]` in pixels."""
    rng = np.random.default_rng(seed)
    return rng.uniform(50, 300, size=(2, 6, 4, 2)).astype(np.float32)


def test_clip_keeps_aspect_ratio_and_relative_size():
    standing = [[10, 0], [10, 40], [20, 20]]  # box 10 wide, 40 high, centre (15, 20)
    crouching = [[110, 60], [110, 80], [120, 70]]  # box 10 wide, 20 high, centre (115, 70)
    poses = normalise(np.array([[standing, crouching]], dtype=np.float32))
    np.testing.assert_allclose(
        poses[0],
        [
            [[0.375, 0], [0.375, 1], [0.625, 0.5]],
            [[0.375, 0.25], [0.375, 0.75], [0.625, 0.5]],
        ],
    )
    assert poses.dtype == np.float32


def test_frame_axis_stretches_every_frame():
    standing = [[10, 0], [10, 40], [20, 20]]
    crouching = [[110, 60], [110, 80], [120, 70]]
    poses = normalise(np.array([[standing, crouching]], dtype=np.float32), "frame_axis")
    np.testing.assert_allclose(poses[0], [[[0, 0], [0, 1], [1, 0.5]]] * 2)


def test_clips_are_scaled_on_their_own():
    pose = np.array([[0, 0], [8, 4]], dtype=np.float32)
    poses = normalise(np.stack([pose, 10 * pose])[:, None])
    np.testing.assert_allclose(poses, np.tile([[0, 0.25], [1, 0.75]], (2, 1, 1, 1)))


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float64, (2, 6, 1, 2), elements=st.floats(-2000, 2000)),
    arrays(np.float64, (2, 1, 1, 1), elements=st.floats(0.05, 20)),
)
def test_position_per_frame_and_size_per_clip_do_not_matter(shift, scale):
    keypoints = walk().astype(np.float64)
    for mode in MODES:
        np.testing.assert_allclose(normalise(keypoints * scale + shift, mode), normalise(keypoints, mode), atol=1e-6)


def test_size_within_the_clip_matters_only_per_clip():
    keypoints = walk()
    grown = keypoints * np.linspace(1, 2, 6)[:, None, None]
    assert np.abs(normalise(grown) - normalise(keypoints)).max() > 0.1
    np.testing.assert_allclose(normalise(grown, "frame_axis"), normalise(keypoints, "frame_axis"), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    arrays(
        np.float32,
        (2, 3, 4, 2),
        elements=st.one_of(st.floats(-1e4, 1e4, width=32), st.just(np.nan)),
    ),
    st.sampled_from(MODES),
)
def test_result_is_in_the_unit_square(keypoints, mode):
    poses = normalise(keypoints, mode)
    assert poses.shape == keypoints.shape
    assert ((poses >= 0) & (poses <= 1)).all()  # false for NaN


@pytest.mark.parametrize("mode", MODES)
def test_the_unit_square_is_filled(mode):
    poses = normalise(walk(), mode)
    extent = poses.max(axis=2) - poses.min(axis=2)  # [n, L, 2]
    largest = extent.max(axis=(1, 2)) if mode == "clip" else extent
    np.testing.assert_allclose(largest, 1, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_no_extent_and_no_joints_are_the_middle(mode):
    for pose in ([[70, 80], [70, 80]], [NAN, NAN]):
        poses = normalise(np.array([[pose, pose]], dtype=np.float32), mode)
        np.testing.assert_array_equal(poses, np.full((1, 2, 2, 2), 0.5))


@pytest.mark.parametrize("mode", MODES)
def test_missing_joints_do_not_move_the_others(mode):
    pose = [[0, 0], [4, 4], [4, 0]]
    missing = [*pose, [np.nan, 900.0]]
    poses = normalise(np.array([[missing]], dtype=np.float32), mode)
    np.testing.assert_allclose(poses[0, 0], [[0, 0], [1, 1], [1, 0], [0.5, 0.5]])


def test_normalise_errors():
    with pytest.raises(ValueError, match=r"\[n, L, J, 2\], got \[4, 3, 2\]"):
        normalise(np.zeros((4, 3, 2)))
    with pytest.raises(ValueError, match="'video'"):
        normalise(np.zeros((1, 4, 3, 2)), "video")
    assert normalise(np.zeros((0, 4, 3, 2))).shape == (0, 4, 3, 2)


def track_with_gaps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One joint at (10 t, 100 - t); a gap of 1, one of 3, and missing ends."""
    has_person = np.array([0, 1, 0, 1, 1, 0, 0, 0, 1, 0], dtype=bool)
    time = np.arange(10.0)
    keypoints = np.stack([10 * time, 100 - time], axis=1)[:, None].astype(np.float32)
    confidence = (time / 10)[:, None].astype(np.float32)
    keypoints[~has_person] = np.nan
    confidence[~has_person] = 0
    return keypoints, confidence, has_person


@pytest.mark.parametrize(("max_gap", "filled"), [(0, []), (1, [2]), (2, [2]), (3, [2, 5, 6, 7])])
def test_short_gaps_are_interpolated(max_gap, filled):
    keypoints, confidence, has_person = track_with_gaps()
    before = keypoints.copy()
    points, sure, person, interpolated = interpolate_gaps(keypoints, confidence, has_person, max_gap)
    np.testing.assert_array_equal(np.flatnonzero(interpolated), filled)
    np.testing.assert_array_equal(person, has_person | interpolated)
    time = np.flatnonzero(person)
    np.testing.assert_allclose(points[person, 0], np.stack([10 * time, 100 - time], axis=1))
    np.testing.assert_allclose(sure[person, 0], time / 10, atol=1e-6)
    assert np.isnan(points[~person]).all()
    assert not sure[~person].any()
    assert (points.dtype, sure.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(keypoints, before)  # the input is left alone


def test_a_joint_missing_on_one_side_stays_missing():
    keypoints = np.array([[[0, 0], NAN], [NAN, NAN], [[4, 2], [1, 1]]])
    points, _, _, _ = interpolate_gaps(keypoints, np.ones((3, 2)), np.array([True, False, True]), max_gap=1)
    np.testing.assert_array_equal(points[1], [[2, 1], NAN])


def test_video_without_a_person():
    nobody = np.zeros(4, dtype=bool)
    _, _, person, interpolated = interpolate_gaps(np.zeros((4, 2, 2)), np.zeros((4, 2)), nobody, max_gap=9)
    assert not person.any()
    assert not interpolated.any()


def test_interpolate_errors():
    with pytest.raises(ValueError, match=r"\[F, J, 2\], \[F, J\] and \[F\]"):
        interpolate_gaps(np.zeros((4, 2, 2)), np.zeros((4, 2)), np.zeros(3, dtype=bool), 1)
    with pytest.raises(ValueError, match="max_gap"):
        interpolate_gaps(np.zeros((4, 2, 2)), np.zeros((4, 2)), np.zeros(4, dtype=bool), -1)
