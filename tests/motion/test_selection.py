"""What key clips are cut around."""

from __future__ import annotations

import numpy as np

from pipeline.motion.pose_clips import select
from pipeline.motion.settings import PoseClips

KEYFRAMES = np.array([3, 9], np.int32)


def test_key_frames_are_left_as_they_are():
    assert select(KEYFRAMES, 50, "a", PoseClips(per_video=5)).tolist() == [3, 9]


def test_uniform_frames_are_middles_of_equal_parts():
    settings = PoseClips(per_video=5, selection="uniform")
    assert select(KEYFRAMES, 50, "a", settings).tolist() == [5, 15, 25, 35, 45]
    assert select(KEYFRAMES, 3, "a", settings).tolist() == [0, 1, 2]


def test_random_frames_depend_on_video_and_seed_alone():
    settings = PoseClips(per_video=12, selection="random")
    first = select(KEYFRAMES, 200, "a", settings)
    assert len(set(first)) == 12 and (np.diff(first) > 0).all() and 0 <= first.min() <= first.max() < 200
    assert np.array_equal(first, select(np.array([1]), 200, "a", settings))
    assert not np.array_equal(first, select(KEYFRAMES, 200, "b", settings))
    assert not np.array_equal(first, select(KEYFRAMES, 200, "a", settings.model_copy(update={"seed": 1})))
    assert select(KEYFRAMES, 4, "a", settings).tolist() == [0, 1, 2, 3]
