"""Windows over a video of any length: where they lie, and that their frames are those of the video."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.backbone.look import Look, windows
from pipeline.data.readers import VideoError
from pipeline.data.settings import Decode
from pipeline.demo.videos import write_video


def look_of(**settings) -> Look:
    """A look without a backbone."""
    look = Look.__new__(Look)
    look.decode = Decode(size=16, **settings)
    return look


def test_windows_cover_the_video_and_the_last_ends_with_it():
    times = np.arange(100) / 25
    found = windows(times, 1.0, 0.72)
    assert [(first, last) for *_, first, last in found] == [(0, 24), (18, 42), (36, 60), (54, 78), (72, 96), (75, 99)]
    assert found[-1][1] == pytest.approx(4.0) and found[0][:2] == (0.0, 1.0)
    covered = {frame for *_, first, last in found for frame in range(first, last + 1)}
    assert covered == set(range(100))


@pytest.mark.parametrize("times", [np.zeros(1), np.arange(10) / 25, np.zeros(5)])
def test_what_is_shorter_than_a_window_is_one(times):
    ((start, _, first, last),) = windows(times, 3.0, 1.0)
    assert (start, first, last) == (0.0, 0, len(times) - 1)


def test_rates_that_vary_leave_empty_windows_out():
    times = np.concatenate([np.arange(25) / 25, 10 + np.arange(25) / 25])
    found = windows(times, 1.0, 1.0)
    assert [(first, last) for *_, first, last in found] == [(0, 24), (25, 49)]


@pytest.mark.parametrize(("length", "hop"), [(0, 1), (1, 0), (-1, 1), (float("nan"), 1)])
def test_windows_of_no_length_are_refused(length, hop):
    with pytest.raises(ValueError, match="above 0 s"):
        windows(np.arange(9) / 25, length, hop)


@pytest.mark.parametrize("sampling", ["uniform", "dense"])
def test_frames_are_those_of_the_window(tmp_path, sampling):
    # Each frame has a grey of its own, which tells which one was taken.
    frames = np.broadcast_to((np.arange(60) * 4)[:, None, None, None], (60, 32, 32, 3)).astype(np.uint8)
    write_video(tmp_path / "grey.mp4", frames)
    found = list(look_of(n_frames=4, sampling=sampling, stride=2).windows(tmp_path / "grey.mp4", 0.8, 0.4))
    assert [(window.first, window.last) for window in found] == [(0, 19), (10, 29), (20, 39), (30, 49), (40, 59)]
    chosen = {"uniform": [2, 7, 12, 17], "dense": [6, 8, 10, 12]}[sampling]
    for window in found:
        assert window.frames.shape == (4, 16, 16, 3)
        greys = window.frames.mean((1, 2, 3))
        np.testing.assert_allclose(greys / 4, [window.first + frame for frame in chosen], atol=0.7)


def test_files_that_are_no_video_are_told(tmp_path):
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError):
        list(look_of().windows(tmp_path / "no.mp4", 1, 1))
