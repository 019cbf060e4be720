"""The stage `decode` as a job: what it keeps of odd videos, and what it says about them."""

from __future__ import annotations

import argparse
import json

import av
import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.decode import build
from pipeline.data.settings import Decode
from pipeline.jobs.runtime import RUNTIME_VARIABLE
from pipeline.jobs.stage import Job, StageError
from pipeline.store.arrays import read_arrays

FRAMES = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8)


def write(path, codec, pix_fmt):
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "1", "qmin": "5", "qmax": "5"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, pix_fmt
        for picture in FRAMES:
            if pix_fmt == "pal8":
                palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, 1)
                frame = av.VideoFrame.from_ndarray((picture[..., 0], palette), format="pal8")
            else:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def make_job(name, settings, inputs, outputs):
    call = argparse.Namespace(
        settings=json.dumps(settings), input=inputs, output=outputs, dataset="odd", shard="", threads=1
    )
    return Job(name, f"pipeline.data.{name}", call)


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """Function that decodes a plain video, one with a palette that decord shows black, and one cut at 70 %."""
    monkeypatch.setenv(RUNTIME_VARIABLE, json.dumps({"roots": {"odd": str(tmp_path)}}))
    write(tmp_path / "plain.avi", "mpeg4", "yuv420p")
    write(tmp_path / "palette.avi", "rawvideo", "pal8")
    content = (tmp_path / "plain.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) * 7 // 10])
    ids = ["cut", "palette", "plain"]
    columns = {"video_id": ids, "path": [f"{key}.avi" for key in ids], "status": ["ok"] * 3, "developed": [True] * 3}
    columns |= {name: pa.nulls(3, pa.int32()) for name in ("first_frame", "end_frame")}
    videos = str(tmp_path / "videos.parquet")
    make_job("videos", {}, [], [["videos", videos]]).write_table("videos", pa.table(columns))

    def decode(**settings):
        chosen = Decode(n_frames=4, size=32, **settings).model_dump(mode="json")
        outputs = [[name, str(tmp_path / f"{name}.zarr.zip")] for name in ("clips", "signal")]
        build(make_job("decode", chosen, [["videos", videos]], outputs))
        return [read_arrays(path) for _, path in outputs]

    return decode


def test_the_decoder_of_every_video_and_what_was_unusual_are_recorded(odd):
    pytest.importorskip("decord")
    for arrays, about in odd():
        record = about["provenance"]
        assert record["decoders"] == {"cut": "decord", "palette": "pyav", "plain": "decord"}
        assert sorted(record["notes"]) == ["cut", "palette"]
        assert "decord shows other pixels" in record["notes"]["palette"]
        assert "the header promises 40 frames, the file holds 2" in record["notes"]["cut"]
        if "frames" in arrays:
            palette = arrays["frames"][about["video_id"].index("palette")]
            assert palette.mean() == pytest.approx(127, abs=8)  # and not black


def test_the_share_that_is_missing_decides(odd):
    _, (_, about) = odd(min_fraction=0.9, max_failed_fraction=0.4)
    assert about["video_id"] == ["palette", "plain"]
    (failed,) = about["failed"]
    assert failed["video_id"] == "cut" and failed["reason"].startswith(
        "damaged: cut.avi: the header promises 40 frames"
    )


def test_a_chosen_decoder_that_is_not_there_stops_with_one_line(odd, tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "torchcodec.py").write_text("raise ImportError('none for this machine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    with pytest.raises(StageError, match=r"torchcodec cannot be loaded: install the package"):
        odd(backend="torchcodec")
