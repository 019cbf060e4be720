"""What both encoders see of a whole video."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.backbone.encoders import load_backbone
from pipeline.context.encoders import load_dual_encoder
from pipeline.data.readers import VideoError
from pipeline.data.settings import Decode
from pipeline.jobs.stage import StageError
from pipeline.methods.pcmci.look import clip_tokens, frame_rows, pictures


@pytest.fixture
def film(tmp_path):
    """A folder of 40 grey pictures, each brighter than the one before."""
    for number in range(40):
        Image.new("RGB", (40, 32), (5 * number,) * 3).save(tmp_path / f"{number:03d}.png")
    return tmp_path


def test_frames_are_spread_over_the_whole_video(film):
    frames, times = pictures(film, 8, Decode(size=32))
    shown = frames[:, 16, 16, 0] // 5
    assert frames.shape == (8, 32, 32, 3) and len(times) == 8
    assert shown[0] <= 3 and shown[-1] >= 36 and np.ptp(np.diff(shown.astype(int))) <= 1
    assert (np.diff(times) > 0).all()


def test_more_frames_than_the_video_has_are_repeated(film):
    frames, times = pictures(film, 64, Decode(size=32))
    assert len(frames) == len(times) == 64 and (np.diff(times) >= 0).all()


def test_a_video_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "a.mp4").write_text("<html>")
    with pytest.raises(VideoError):
        pictures(tmp_path / "a.mp4", 8, Decode(size=32))


def test_memory_does_not_grow_with_the_video(film, monkeypatch):
    """At most one batch of frames and the chosen pictures are alive at a time: no frame is asked for by its number."""
    from pipeline.data import readers

    def refused(self, indices):
        raise AssertionError("frames are kept in one pass")

    monkeypatch.setattr(readers.Video, "frames", refused)
    assert len(pictures(film, 8, Decode(size=32))[0]) == 8


def test_frames_of_a_long_film_are_sought(tmp_path, monkeypatch):
    """They are those of one pass, whatever decides between the two."""
    from pipeline.data import readers

    with av.open(str(tmp_path / "long.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "20"})
        stream.width, stream.height, stream.pix_fmt = 48, 48, "yuv420p"
        for number in range(500):
            picture = np.full((48, 48, 3), number % 250, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    frames, times = pictures(tmp_path / "long.mp4", 8, Decode(size=32, backend="pyav"))
    assert np.allclose(times, (2 * np.arange(8) + 1) * 500 // 16 / 25)
    monkeypatch.setattr(readers, "is_cheaper", lambda *_: False)
    others, again = pictures(tmp_path / "long.mp4", 8, Decode(size=32, backend="pyav"))
    assert np.array_equal(frames, others) and np.array_equal(times, again)


def test_a_row_per_frame(project):
    encoder = load_dual_encoder(str(project / "pipeline/demo/encoders/dual_encoder"))
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    rows = frame_rows(encoder, frames, 4)
    assert rows.shape == (3, encoder.width) and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(frame_rows(encoder, frames[::-1].copy(), 4), rows[::-1], atol=1e-5)


def test_clips_are_encoded_by_themselves(project):
    backbone = load_backbone(str(project / "pipeline/demo/encoders/backbone"))
    frames = np.random.default_rng(0).integers(0, 256, (32, 64, 64, 3), np.uint8)
    tokens = clip_tokens(backbone, frames, 16, 2)
    assert tokens.ndim == 2 and len(tokens) % 2 == 0 and tokens.shape[1] == backbone.width
    assert np.allclose(clip_tokens(backbone, frames[16:], 16, 2), tokens[len(tokens) // 2 :], atol=1e-5)
    with pytest.raises(StageError, match=r"needs 16 frames, the clips have 8; set pcmci\.tokens\.clip_frames"):
        clip_tokens(backbone, frames, 8, 2)
