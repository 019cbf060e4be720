from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.signal import MotionSignal

FRAMES = np.random.default_rng(0).integers(0, 256, size=(12, 20, 30, 3), dtype=np.uint8)


def signal_of(*batches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    signal = MotionSignal()
    for batch in batches:
        signal.add(batch)
    return signal.result()


def test_sum_and_count_of_a_known_difference():
    frames = np.zeros((3, 40, 60, 3), dtype=np.uint8)
    frames[1:, :, 30:] = 200  # half of the picture becomes grey level 200 and stays
    diff_sum, diff_count = signal_of(frames)
    edge = cv2.GaussianBlur(np.repeat([[0, 200]], 30, axis=1).astype(np.uint8), (9, 9), 0)
    np.testing.assert_array_equal(diff_sum, [0, 40 * edge.sum(dtype=int), 0])
    np.testing.assert_array_equal(diff_count, [0, 40 * np.count_nonzero(edge), 0])
    assert 30 * 40 < diff_count[1] < 35 * 40  # the blur carries the edge at most 4 pixels on
    assert (diff_sum.dtype, diff_count.dtype) == (np.float32, np.int32)


def test_channels_are_red_green_blue():
    frames = np.zeros((2, 16, 16, 3), dtype=np.uint8)
    frames[1, ..., 0] = 100  # ITU-R BT.601: red weighs 0.299, blue 0.114
    diff_sum, _ = signal_of(frames)
    assert diff_sum[1] == 30 * 16 * 16


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=5))
def test_batches_do_not_matter(cuts):
    expected = signal_of(FRAMES)
    actual = signal_of(*np.split(FRAMES, sorted(cuts)))
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1], expected[1])


def test_empty_signal():
    diff_sum, diff_count = signal_of()
    assert diff_sum.shape == diff_count.shape == (0,)


def test_broken_frames():
    signal = MotionSignal()
    with pytest.raises(ValueError, match=r"float64 \[2, 4, 4, 3\]"):
        signal.add(np.zeros((2, 4, 4, 3)))
    with pytest.raises(ValueError, match=r"\[2, 4, 4\]"):
        signal.add(np.zeros((2, 4, 4), dtype=np.uint8))
    signal.add(np.zeros((2, 40, 30, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"frame 2 has size \(30, 40\)"):
        signal.add(np.zeros((1, 30, 40, 3), dtype=np.uint8))
