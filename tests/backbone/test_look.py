"""A model that looks at a new video, on a machine with other decoders than the one that made it."""

from __future__ import annotations

import sys

import av
import numpy as np
import pytest

from pipeline.backbone.look import Look
from pipeline.backbone.settings import Features
from pipeline.data import readers
from pipeline.data.settings import Decode
from pipeline.demo.videos import write_video


@pytest.mark.parametrize("backend", ["decord", "torchcodec"])
def test_pyav_reads_where_the_decoder_of_the_model_is_not_installed(
    backend, checkpoint_folders, tmp_path, monkeypatch, caplog
):
    folder = str(checkpoint_folders.backbone("vit", tmp_path / "vit"))
    frames = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), np.uint8)
    write_video(tmp_path / "a.mp4", frames)
    looks = [
        Look(
            {
                "decode": Decode(backend=name, n_frames=4, size=32).model_dump(mode="json"),
                "features": Features(model=folder).model_dump(mode="json"),
            }
        )
        for name in ("pyav", backend)
    ]
    expected = looks[0].clip(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, backend, None)
    readers.say_once.cache_clear()
    for _ in range(2):
        np.testing.assert_array_equal(looks[1].clip(tmp_path / "a.mp4")["frames"], expected["frames"])
    (said,) = [message for message in caplog.messages if "pyav" in message]
    assert f"{backend} cannot be loaded" in said


def test_a_video_that_was_cut_is_told(checkpoint_folders, tmp_path, caplog):
    folder = str(checkpoint_folders.backbone("vit", tmp_path / "vit"))
    about = {"decode": Decode(n_frames=4, size=32).model_dump(mode="json"), "features": {"model": folder}}
    with av.open(tmp_path / "a.avi", "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"g": "1", "qmin": "5", "qmax": "5"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for picture in np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    content = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: len(content) * 7 // 10])
    assert Look(about).clip(tmp_path / "a.avi")["frames"].shape == (4, 32, 32, 3)
    (said,) = [message for message in caplog.messages if "a.avi" in message]
    assert "the header promises 40 frames, the file holds 2" in said
