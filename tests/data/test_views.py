from __future__ import annotations

import contextlib

import cv2
import numpy as np
import pytest

from pipeline.data.decode import decode_video
from pipeline.data.readers import sample_indices
from pipeline.data.settings import Decode
from pipeline.data.views import decode_views, sample_views


def test_uniform_views_are_parts_of_the_segments():
    # Two segments of 30 frames, each in three parts of ten, of which the middle is taken.
    assert sample_views(60, 2, 3).tolist() == [[5, 35], [15, 45], [25, 55]]
    # As many views as a segment has frames are all of them.
    assert sorted(sample_views(48, 16, 3).ravel()) == list(range(48))
    assert sample_views(1, 2, 2).tolist() == [[0, 0], [0, 0]]


def test_dense_views_begin_at_equal_distances():
    assert sample_views(30, 4, 3, "dense", 2).tolist() == [[0, 2, 4, 6], [12, 14, 16, 18], [23, 25, 27, 29]]
    # A video shorter than the window begins at frame 0 and repeats its last one.
    assert sample_views(5, 4, 2, "dense", 2).tolist() == [[0, 2, 4, 4]] * 2


@pytest.mark.parametrize("mode", ["uniform", "dense"])
@pytest.mark.parametrize("n_frames", [1, 7, 16, 61, 200])
def test_views_are_clips_of_the_video(mode, n_frames):
    clip = sample_indices(n_frames, 16, mode, 4)
    np.testing.assert_array_equal(sample_views(n_frames, 16, 1, mode, 4), [clip])
    views = sample_views(n_frames, 16, 5, mode, 4)
    assert views.shape == (5, 16) and views.dtype == np.int32
    assert views.min() >= 0 and views.max() < n_frames
    # Time runs forwards, whichever view each frame comes from; of an odd number the middle one is the clip itself.
    assert (views[:, 1:] >= views[:, :-1]).all()
    if mode == "uniform":
        assert (views[-1, :-1] <= views[0, 1:]).all()
        np.testing.assert_array_equal(views[2], clip)
    else:
        assert np.abs(views[2] - clip).max() <= 1


def test_no_views_are_told():
    with pytest.raises(ValueError, match="n_views must be at least 1, got 0"):
        sample_views(10, 4, 0)


@pytest.mark.parametrize("sampling", ["uniform", "dense"])
def test_frames_are_those_of_the_video(tmp_path, sampling):
    """A folder of pictures, of which frame i has grey level 10 i."""
    for number in range(24):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20, 30, 3), 10 * number, np.uint8))
    settings = Decode(n_frames=4, sampling=sampling, stride=2, size=16)
    views = decode_views(tmp_path, settings, 3)
    assert views.shape == (3, 4, 16, 16, 3) and views.dtype == np.uint8
    np.testing.assert_array_equal(views[:, :, 0, 0, 0], 10 * sample_views(24, 4, 3, sampling, 2))
    np.testing.assert_array_equal(decode_views(tmp_path, settings, 1)[0], decode_video(tmp_path, settings)["frames"])


def test_fewer_frames_than_promised_are_sampled_again():
    """A decoder that stops at 7 of 12 frames, as damaged files make it."""

    class Stops:
        n_frames = 12
        pictures = np.repeat(np.arange(7, dtype=np.uint8), 20 * 20 * 3).reshape(7, 20, 20, 3)

        def batches(self):
            yield 0, self.pictures[:4]
            yield 4, self.pictures[4:]

        def frames(self, indices):
            return self.pictures[indices]

    @contextlib.contextmanager
    def opener(path, backend):
        yield Stops()

    views = decode_views("", Decode(n_frames=2, size=16), 3, opener)
    np.testing.assert_array_equal(views[:, :, 0, 0, 0], sample_views(7, 2, 3))
