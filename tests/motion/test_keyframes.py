from __future__ import annotations

import argparse
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.signal import MotionSignal
from pipeline.jobs.runtime import RUNTIME_VARIABLE
from pipeline.jobs.stage import Job, StageError
from pipeline.motion.keyframes import (
    build,
    clip_windows,
    detect_keyframes,
    joint_speed,
    read_published,
    select_keyframes,
)
from pipeline.motion.settings import Keyframes
from pipeline.store.tables import read_table


def jumping_square(n_frames: int, jumps: list[int], noise: int = 0) -> np.ndarray:
    """RGB frames `[F, 64, 64, 3]` in which a square changes place at the given frames only."""
    frames = np.full((n_frames, 64, 64, 3), 40, dtype=np.uint8)
    for frame in range(n_frames):
        left = 10 if sum(jump <= frame for jump in jumps) % 2 else 40
        frames[frame, 20:34, left : left + 14] = 220
    if noise:
        frames += np.random.default_rng(0).integers(0, noise, frames.shape, dtype=np.uint8)
    return frames


@pytest.mark.parametrize("noise", [0, 4])
@pytest.mark.parametrize(
    ("n_frames", "jumps"), [(40, [7, 15, 31]), (200, [2, 50, 51 + 9, 197]), (6, [3]), (20, [5, 7])]
)
def test_a_jumping_square_has_its_jumps_as_key_frames(n_frames, jumps, noise):
    signal = MotionSignal()
    signal.add(jumping_square(n_frames, jumps, noise))
    diff_sum, diff_count = signal.result()
    np.testing.assert_array_equal(detect_keyframes(diff_sum), jumps)
    if not noise:  # the count cannot tell noise from motion
        np.testing.assert_array_equal(detect_keyframes(diff_count), jumps)


def test_threshold_is_relative_and_higher_for_long_videos():
    heights = {10: 100.0, 20: 45.0, 30: 25.0}
    signal = np.zeros(70)
    for frame, height in heights.items():
        signal[frame] = height
    degree = {"baseline_degree": 0}
    np.testing.assert_array_equal(detect_keyframes(signal, **degree), [10, 20])
    np.testing.assert_array_equal(detect_keyframes(1e6 * signal, **degree), [10, 20])
    np.testing.assert_array_equal(detect_keyframes(signal, threshold=0.2, **degree), [10, 20, 30])
    longer = np.append(signal, 0)
    np.testing.assert_array_equal(detect_keyframes(longer, **degree), [10])
    np.testing.assert_array_equal(detect_keyframes(longer, long_video=71, **degree), [10, 20])
    np.testing.assert_array_equal(detect_keyframes(longer, threshold_long=0.2, **degree), [10, 20, 30])


def test_baseline_follows_a_drift():
    time = np.arange(60.0)
    drift = 0.2 * (time - 10) ** 2 + 100  # rises by ten times the height of the peaks
    signal = drift.copy()
    signal[[12, 25, 44]] += 50
    np.testing.assert_array_equal(detect_keyframes(signal), [12, 25, 44])
    # Without a baseline the early peaks stay below the end of the drift.
    np.testing.assert_array_equal(detect_keyframes(signal, baseline_degree=0), [44])


def test_baseline_stays_below_a_burst():
    signal = np.zeros(60)
    burst = [48, 50, 52, 54, 56, 58]
    signal[burst] = 100
    signal[10] = 40
    signal[[20, 30]] = 10  # too low, unless the burst has lifted the baseline and so the threshold
    np.testing.assert_array_equal(detect_keyframes(signal), [10, *burst])


def test_min_distance_keeps_the_higher_peak():
    signal = np.zeros(40)
    signal[[10, 13, 30]] = [70, 100, 80]
    np.testing.assert_array_equal(detect_keyframes(signal, min_distance=3), [10, 13, 30])
    np.testing.assert_array_equal(detect_keyframes(signal, min_distance=4), [13, 30])


def test_entry_0_takes_no_part():
    signal = np.full(30, 100.0)
    signal[[10, 20]] = [150, 160]
    for first in (0, 100, 1e6):
        signal[0] = first
        np.testing.assert_array_equal(detect_keyframes(signal), [10, 20])


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ([0], 0),
        ([0, 7], 1),
        ([0, 0, 0, 0, 0], 2),
        ([0, 4, 4, 4], 2),  # never changes
        ([0, 1, 9], 2),  # largest motion at the end, which cannot be a peak
        ([0, 1, 9, 4], 2),  # three values, which a parabola meets exactly
        ([0, *range(1, 30)], 29),
        ([0, *(t**2 for t in range(30))], 30),
    ],
)
def test_every_video_has_a_key_frame(signal, expected):
    keyframes = detect_keyframes(np.array(signal, dtype=np.float32))
    np.testing.assert_array_equal(keyframes, [expected])
    assert keyframes.dtype == np.int32


@given(st.lists(st.floats(0, 1e9, width=32), min_size=1, max_size=90))
def test_key_frames_are_ascending_frames_of_the_video(signal):
    keyframes = detect_keyframes(np.array(signal))
    assert len(keyframes) >= 1
    assert (np.diff(keyframes) > 0).all()
    assert keyframes[0] >= 0
    assert keyframes[-1] < len(signal)


@pytest.mark.parametrize(
    ("signal", "options", "message"),
    [
        ([], {}, "finite vector"),
        ([0, np.nan], {}, "finite vector"),
        ([[0, 1]], {}, "finite vector"),
        ([0, 1], {"threshold": 1.2}, "threshold is relative"),
        ([0, 1], {"threshold_long": -0.1}, "threshold_long is relative"),
        ([0, 1], {"min_distance": 0}, "min_distance must be at least 1"),
    ],
)
def test_detect_errors(signal, options, message):
    with pytest.raises(ValueError, match=message):
        detect_keyframes(np.array(signal, dtype=float), **options)


@pytest.mark.parametrize(
    ("n_select", "expected"),
    [
        (1, [12]),
        (2, [3, 41]),
        (3, [3, 12, 41]),
        (4, [3, 5, 30, 41]),
        (5, [3, 5, 12, 30, 41]),
        (9, [3, 5, 12, 30, 41]),
    ],
)
def test_select_keyframes(n_select, expected):
    selected = select_keyframes(np.array([3, 5, 12, 30, 41], dtype=np.int32), n_select)
    np.testing.assert_array_equal(selected, expected)
    assert selected.dtype == np.int32


@given(st.integers(1, 300), st.integers(2, 40))
def test_selected_key_frames_are_distinct_and_spread(n_detected, n_select):
    positions = select_keyframes(np.arange(n_detected), n_select)
    assert len(positions) == min(n_detected, n_select)
    assert (positions[0], positions[-1]) == (0, n_detected - 1)
    steps = np.diff(positions)
    assert (steps >= 1).all()
    assert len(steps) == 0 or steps.max() - steps.min() <= 1


def test_select_needs_a_number():
    with pytest.raises(ValueError, match="at least 1"):
        select_keyframes(np.array([1]), 0)


def test_clip_windows():
    start, frames = clip_windows(np.array([0, 1, 5, 8, 9]), n_frames=10, length=4)
    np.testing.assert_array_equal(start, [0, 0, 3, 6, 6])
    np.testing.assert_array_equal(frames, [[0, 1, 2, 3], [0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [6, 7, 8, 9]])
    assert (start.dtype, frames.dtype) == (np.int32, np.int32)


def test_clip_windows_of_odd_length_have_the_key_frame_in_the_middle():
    _, frames = clip_windows(np.array([5]), n_frames=20, length=5)
    np.testing.assert_array_equal(frames, [[3, 4, 5, 6, 7]])


def test_short_videos_repeat_their_last_frame():
    start, frames = clip_windows(np.array([0, 2]), n_frames=3, length=5)
    np.testing.assert_array_equal(start, [0, 0])
    np.testing.assert_array_equal(frames, [[0, 1, 2, 2, 2], [0, 1, 2, 2, 2]])


def test_clip_windows_without_key_frames():
    start, frames = clip_windows(np.array([], dtype=np.int32), n_frames=9, length=5)
    assert start.shape == (0,)
    assert frames.shape == (0, 5)


@pytest.mark.parametrize(
    ("keyframes", "n_frames", "length", "message"),
    [
        ([9], 9, 5, "between 0 and 8, got 9 to 9"),
        ([-1], 9, 5, "between 0 and 8, got -1"),
        ([0], 0, 5, "at least 1"),
        ([0], 9, 0, "at least 1"),
    ],
)
def test_clip_windows_errors(keyframes, n_frames, length, message):
    with pytest.raises(ValueError, match=message):
        clip_windows(np.array(keyframes), n_frames, length)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_published_lists_keep_ids_as_text(tmp_path, encoding):
    path = tmp_path / "keyframes.txt"
    path.write_bytes('0001 8 3 3\r\n"0002",5,7\n10;1;\n\nnone\n'.encode(encoding))
    assert read_published(path) == {"0001": [3, 8], "0002": [5, 7], "10": [1], "none": []}


def test_joint_speed_is_the_mean_distance_over_the_joints_that_are_there():
    pose = np.zeros((6, 2, 2))
    pose[2:, 0] = 3, 4  # joint 0 moves by 5 from frame 1 to 2
    pose[4:, 1] = 0, 2
    np.testing.assert_allclose(joint_speed(pose), [0, 0, 2.5, 0, 1, 0])
    pose[1, 1] = np.nan  # then joint 0 alone tells
    np.testing.assert_allclose(joint_speed(pose), [0, 0, 5, 0, 1, 0])
    pose[3] = np.nan  # from frame 2 to 5 nothing is known of 3 and 4
    np.testing.assert_allclose(joint_speed(pose), [0, 0, 5, 10 / 3, 5 / 3, 0])
    assert joint_speed(np.full((4, 2, 2), np.nan)).tolist() == [0] * 4


def test_key_frames_of_joints_are_where_they_move_fastest():
    swing = np.zeros((60, 17, 2))
    for frame in (15, 40):  # two quick movements of an arm
        swing[:, 9, 0] += 80 / (1 + np.exp(frame - 0.4 - np.arange(60)))
    assert detect_keyframes(joint_speed(swing), baseline_degree=0).tolist() == [15, 40]


def test_published_key_frames_are_read_as_text(tmp_path):
    path = tmp_path / "keyframes.txt"
    path.write_text("0001 5 9 9 2\n\n0002\n")
    assert read_published(path) == {"0001": [2, 5, 9], "0002": []}
    for text, words in (
        ("a 1\na 2\n", "line 2: the video a is there twice"),
        ("a -1\n", "line 1: expected a video id and frame numbers"),
        ("a 1.5\n", "line 1: expected"),
        ("a ²\n", "line 1: expected"),
        ("a " + "9" * 30, "line 1: expected"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(StageError, match=words):
            read_published(path)


def test_key_frames_of_other_videos_are_told(tmp_path, monkeypatch):
    """`1` is not `0001`; paths and bare names that are unique are found."""

    def made(text: str) -> tuple[dict, list]:
        (tmp_path / "keyframes.txt").write_text(text)
        call = {"shard": "", "threads": 1, "dataset": "mine"}
        table = pa.table(
            {
                "video_id": ["run__0001", "run__0002"],
                "path": ["run/0001.mp4", "run/0002.mp4"],
                "listed": ["train"] * 2,
                "status": ["ok"] * 2,
                "developed": [True] * 2,
                "first_frame": pa.nulls(2, pa.int32()),
                "end_frame": pa.nulls(2, pa.int32()),
            }
        )
        videos = str(tmp_path / "videos.parquet")
        job = argparse.Namespace(settings="{}", input=[], output=[["videos", videos]], **call)
        Job("videos", "pipeline.data.videos", job).write_table("videos", table)
        monkeypatch.setenv(RUNTIME_VARIABLE, json.dumps({"roots": {"mine": str(tmp_path)}}))
        settings = Keyframes(source="list", path="keyframes.txt").model_dump_json()
        out = tmp_path / "keyframes.parquet"
        job = argparse.Namespace(
            settings=settings, input=[["videos", videos]], output=[["keyframes", str(out)]], **call
        )
        build(Job("keyframes", "pipeline.motion.keyframes", job))
        found, about = read_table(out)
        return dict(zip(found["video_id"].to_pylist(), found["frames"].to_pylist(), strict=True)), about["failed"]

    assert made("run/0001.mp4 3 9\n0002 4\n") == ({"run__0001": [3, 9], "run__0002": [4]}, [])
    found, failed = made("run__0001 3\n")
    assert found == {"run__0001": [3]} and failed[0]["reason"] == "no_keyframes: keyframes.txt names none"
    with pytest.raises(StageError, match=r"none of the 2 videos: it names '1', '2', the data set 'run__0001'"):
        made("1 3\n2 4\n")
