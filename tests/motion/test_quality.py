from __future__ import annotations

import numpy as np
import pytest

from pipeline.motion.quality import clip_quality, keep_clips, largest_step

NAN = [np.nan, np.nan]


def quality_of(*poses, confidence: float = 1.0, **options) -> tuple[float, float]:
    """Scores of one clip, given as a pose `[J, 2]` per frame."""
    keypoints = np.array([poses], dtype=np.float32)
    scores = clip_quality(keypoints, np.full(keypoints.shape[:3], confidence), **options)
    assert [score.dtype for score in scores] == [np.float32, np.float32]
    return scores[0].item(), scores[1].item()


def test_smallest_cosine_of_adjacent_frames():
    right, up, diagonal = [[1, 0], [0, 0]], [[0, 1], [0, 0]], [[1, 1], [0, 0]]
    assert quality_of(right, right, right)[1] == 1
    assert quality_of(right, diagonal, up)[1] == pytest.approx(np.sqrt(0.5))
    assert quality_of(right, diagonal, up, right)[1] == 0
    assert quality_of(right, [[-1, 0], [0, 0]])[1] == -1


def test_clips_are_scored_on_their_own():
    keypoints = np.array([[[[1, 0]], [[1, 0]]], [[[1, 0]], [[0, 1]]], [[[3, 4]], [[4, 3]]]], dtype=float)
    confidence = np.array([[[1.0], [0.5]], [[0.0], [0.25]], [[0.5], [0.5]]])
    mean_confidence, min_cosine = clip_quality(keypoints, confidence)
    np.testing.assert_allclose(mean_confidence, [0.75, 0.125, 0.5])
    np.testing.assert_allclose(min_cosine, [1, 0, 24 / 25])


def test_centred_sees_what_raw_pixels_hide():
    standing = np.array([[300, 200], [300, 260]])
    lying = np.array([[270, 230], [330, 230]])
    assert quality_of(standing, lying)[1] > 0.97
    assert quality_of(standing, lying, mode="centred")[1] == 0


@pytest.mark.parametrize("hips", [None, (0, 1)])
def test_centred_ignores_where_the_pose_is(hips):
    pose = np.array([[10, 10], [20, 10], [15, 0], [15, 30]])
    turned = np.array([[15, 5], [15, 15], [25, 10], [-5, 10]])
    scores = [
        quality_of(pose, turned + shift, mode="centred", hips=hips)[1] for shift in ([0, 0], [500, 3], [-70, 900])
    ]
    assert scores == pytest.approx([scores[0]] * 3, abs=1e-6)
    assert scores[0] < 0.1
    assert quality_of(pose, pose + 400, mode="centred", hips=hips)[1] == pytest.approx(1)


def test_root_is_the_middle_of_the_hips():
    before, after = [[0, 0], [2, 0], [1, 5]], [[0, 0], [2, 0], [6, 0]]
    # Relative to (1, 0): (-1,0), (1,0), (0,5) and (-1,0), (1,0), (5,0).
    expected = 2 / np.sqrt(27 * 27)
    assert quality_of(before, after, mode="centred", hips=(0, 1))[1] == pytest.approx(expected)


def test_missing_hip_falls_back_to_the_mean_in_both_frames():
    pose = [[10, 10], [12, 10], [11, 15], [14, 14]]
    without_hip = [NAN, [12, 10], [11, 15], [14, 14]]
    assert quality_of(pose, without_hip, mode="centred", hips=(0, 1))[1] == pytest.approx(1)


def test_missing_joints_are_left_out_and_count_as_unsure():
    confidence, cosine = quality_of([[3, 4], [9, 9]], [[3, 4], NAN], confidence=0.8)
    assert confidence == pytest.approx(0.8 * 3 / 4)
    assert cosine == pytest.approx(1)
    assert quality_of([[3, 4], [9, 9]], [[3, 4], [9, np.nan]], confidence=0.8) == (confidence, cosine)


def test_unknown_confidence_counts_as_unsure():
    confidence, _ = clip_quality(np.ones((1, 1, 2, 2)), np.array([[[0.5, np.nan]]]))
    np.testing.assert_array_equal(confidence, [0.25])


def test_frames_without_a_common_joint_cannot_be_compared():
    assert np.isnan(quality_of([[1, 1], NAN], [NAN, [1, 1]], [NAN, [1, 1]])[1])
    assert quality_of([NAN, NAN], [NAN, NAN])[0] == 0


@pytest.mark.parametrize("mode", ["raw", "centred"])
def test_poses_without_extent(mode):
    point = [[0, 0], [0, 0]]
    assert quality_of(point, point, mode=mode)[1] == 1
    assert quality_of(point, [[1, 0], [3, 0]], mode=mode)[1] == 0


def test_single_frames_and_no_clips():
    assert quality_of([[1, 2], [3, 4]])[1] == 1
    mean_confidence, min_cosine = clip_quality(np.zeros((0, 5, 3, 2)), np.zeros((0, 5, 3)))
    assert mean_confidence.shape == min_cosine.shape == (0,)


def test_quality_errors():
    with pytest.raises(ValueError, match=r"\[n, L, J, 2\], got \[4, 3, 2\]"):
        clip_quality(np.zeros((4, 3, 2)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"\[1, 4, 3\] like the keypoints, got \[1, 3, 4\]"):
        clip_quality(np.zeros((1, 4, 3, 2)), np.zeros((1, 3, 4)))
    with pytest.raises(ValueError, match="'middle'"):
        clip_quality(np.zeros((1, 4, 3, 2)), np.zeros((1, 4, 3)), mode="middle")


def test_keep_clips():
    kept, reason = keep_clips(
        mean_confidence=np.array([0.9, 0.5, 0.49, 0.9, 0.9, 0.1, np.nan, 0.9]),
        min_cosine=np.array([0.99, 0.92, 0.99, 0.91, 0.99, 0.1, 0.99, np.nan]),
        has_person=np.array([1, 1, 1, 1, 0, 0, 1, 1], dtype=bool),
    )
    np.testing.assert_array_equal(kept, [1, 1, 0, 0, 0, 0, 0, 0])
    assert list(reason) == [
        "",
        "",
        "low_confidence",
        "pose_jump",
        "no_person",
        "no_person",
        "low_confidence",
        "pose_jump",
    ]


def test_keep_clips_needs_a_person_in_every_frame_and_takes_thresholds():
    kept, reason = keep_clips(
        np.array([0.3, 0.3, 0.2]),
        np.array([0.0, 0.0, 0.0]),
        np.array([[True, True], [True, False], [True, True]]),
        min_confidence=0.25,
        min_cosine_threshold=-0.5,
    )
    np.testing.assert_array_equal(kept, [True, False, False])
    assert list(reason) == ["", "no_person", "low_confidence"]


def people(distance: float, size: float = 1.0, joints: int = 17) -> np.ndarray:
    """Two persons over 25 frames `[2, 25, J, 2]` who hold themselves alike; how many body heights the other is away."""
    rng = np.random.default_rng(3)
    body = rng.uniform(0, 1, (joints, 2)) * (40, 100)
    first = 300 + body + rng.normal(0, 1, (25, joints, 2))
    other = (first - first.mean(1, keepdims=True)) * size + first.mean(1, keepdims=True) + (100 * distance, 0)
    return np.stack([first, other])


@pytest.mark.parametrize(("distance", "size"), [(0.4, 1), (1, 1), (5, 1), (1, 0.5), (0, 0.4), (0, 2.5)])
def test_nobody_changes_place_with_another_without_a_step(distance, size):
    """Beside, far away, nearer to the camera or behind: the cosine sees nothing of it."""
    first, other = people(distance, size)
    for frame in range(1, 25):
        mixed = np.concatenate([first[:frame], other[frame:]])[None]
        _, cosine = clip_quality(mixed, np.ones(mixed.shape[:3]), mode="centred", hips=(11, 12))
        assert cosine > 0.92
        step = largest_step(mixed)
        kept, reason = keep_clips(np.ones(1), cosine, np.ones(1, bool), step, max_step_threshold=0.25)
        assert (kept.tolist(), list(reason)) == ([False], ["person_jump"])


def test_one_person_makes_no_step_that_counts():
    """Also one who runs through the picture at 8 m/s, filmed at 25 frames per second: 0.32 m of 1.75 m."""
    first, _ = people(1)
    run = first + np.arange(25)[:, None, None] * (18.3, 0)
    steps = largest_step(np.stack([first, run]))
    assert steps.dtype == np.float32 and steps[0] < 0.05 and 0.15 < steps[1] < 0.25
    # A step is a part of the pose's extent: the size of the picture does not matter.
    np.testing.assert_allclose(largest_step(np.stack([first, run]) / 7), steps, rtol=1e-5)


def test_steps_are_taken_over_joints_that_both_frames_have():
    clip = people(1)[:1, :2].repeat(2, 0)
    clip[0, 1, 2:] = np.nan  # two joints are too few to compare
    clip[1, 1, 3:] = np.nan
    assert np.isinf(largest_step(clip)[0]) and np.isfinite(largest_step(clip)[1])
    assert largest_step(clip[:, :1]).tolist() == [0, 0]
    assert keep_clips(np.ones(2), np.ones(2), np.ones(2, bool), largest_step(clip))[0].all()  # None: no such filter


def test_real_annotations_hardly_ever_jump(real_data):
    """What the default rests on: key clips of one annotated person, 25 frames each."""
    from pipeline.exchange.penn_action import read_penn_action

    largest = []
    for path in sorted((real_data / "penn_action/annotations/labels").glob("*.mat"))[::20]:
        keypoints = read_penn_action(path)["keypoints"]
        starts = range(0, max(1, len(keypoints) - 25), 25)
        largest += [float(largest_step(keypoints[None, start : start + 25])[0]) for start in starts]
    finite = np.array(largest)[np.isfinite(largest)]
    assert len(finite) > 0.9 * len(largest) and np.quantile(finite, 0.99) < 0.125
