from __future__ import annotations

import av
import numpy as np
import pytest

from pipeline.demo.clips import render, sample_spec
from pipeline.demo.videos import write_video

decord = pytest.importorskip("decord")


def test_decord_reads_back_what_was_written(tmp_path):
    frames = render(sample_spec(3, n_frames=39)).frames
    path = tmp_path / "clip one [a].mp4"
    write_video(path, frames)
    reader = decord.VideoReader(str(path), num_threads=1)
    assert len(reader) == 39
    assert reader.get_avg_fps() == pytest.approx(25)
    decoded = reader.get_batch(list(range(39))).asnumpy().astype(int)
    assert decoded.shape == frames.shape
    error = np.abs(decoded - frames).mean(axis=(1, 2, 3))
    assert error.max() < 9
    # The frames are in order: each is nearer to its own source than to one 12 frames away.
    far = np.abs(np.roll(decoded, 12, axis=0) - frames).mean(axis=(1, 2, 3))
    assert (error < far).all()


def test_smooth_colours_survive(tmp_path):
    frames = np.zeros((6, 64, 80, 3), np.uint8)
    frames[..., 0] = np.linspace(40, 200, 80, dtype=np.uint8)
    frames[..., 1] = np.linspace(200, 60, 64, dtype=np.uint8)[:, None]
    frames[..., 2] = 90
    write_video(tmp_path / "a.mp4", frames)
    decoded = decord.VideoReader(str(tmp_path / "a.mp4")).get_batch(range(6)).asnumpy()
    assert np.abs(decoded.astype(int) - frames).mean() < 3


def test_written_twice_is_identical_and_leaves_nothing_else(tmp_path):
    frames = render(sample_spec(4, n_frames=10)).frames
    write_video(tmp_path / "a.mp4", frames)
    write_video(tmp_path / "b.mp4", frames)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_it_is_h264_in_yuv420p_without_a_date(tmp_path):
    write_video(tmp_path / "a.mp4", np.full((3, 32, 32, 3), 128, np.uint8), fps=10)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 10
        assert "creation_time" not in container.metadata | stream.metadata


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((3, 31, 32, 3), np.uint8), "even height and width, got 31 x 32"),
        (np.zeros((0, 32, 32, 3), np.uint8), "n_frames > 0"),
        (np.zeros((3, 32, 32, 3), np.float32), "uint8"),
    ],
)
def test_unfit_frames_are_refused_and_nothing_is_written(tmp_path, frames, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", frames)
    assert not list(tmp_path.iterdir())
