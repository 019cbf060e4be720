"""The stage `poses` as a job: boxes from a detector and from a table, and what it records."""

from __future__ import annotations

import argparse
import json

import av
import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.demo.clips import render, sample_spec
from pipeline.demo.videos import write_video
from pipeline.encoding import checkpoints
from pipeline.jobs.runtime import RUNTIME_VARIABLE
from pipeline.jobs.stage import Job, StageError
from pipeline.motion.poses import build
from pipeline.motion.settings import Poses
from pipeline.store.arrays import read_arrays

SHIPPED = "pipeline/demo/encoders/pose"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two videos of 6 and 9 frames, a file that is none, and their table."""
    root = tmp_path_factory.mktemp("data")
    for k, n in enumerate((6, 9)):
        write_video(root / f"v{k}.mp4", render(sample_spec(20_000_000 + k), frame_indices=list(range(n))).frames)
    (root / "broken.mp4").write_text("<html>")
    ids = ["broken", "v0", "v1"]
    table = pa.table(
        {
            "video_id": ids,
            "path": [f"{key}.mp4" for key in ids],
            "listed": ["train"] * 3,
            "status": ["ok"] * 3,
            "developed": [True] * 3,
            "first_frame": pa.nulls(3, pa.int64()),
            "end_frame": pa.nulls(3, pa.int64()),
        }
    )
    job = make_job("videos", "pipeline.data.videos", {}, [], [["videos", str(root / "videos.parquet")]])
    job.write_table("videos", table)
    return root


def make_job(name: str, module: str, settings: dict, inputs: list, outputs: list) -> Job:
    call = argparse.Namespace(
        settings=json.dumps(settings), input=inputs, output=outputs, dataset="small", shard="", threads=1
    )
    return Job(name, module, call)


def poses(data, tmp_path, monkeypatch, decode: dict | None = None, **settings) -> tuple[dict, dict]:
    told = {"roots": {"small": str(data)}, "batch_size": {"poses": 4}, "precision": "bfloat16"}
    monkeypatch.setenv(RUNTIME_VARIABLE, json.dumps(told))
    chosen = Poses(**{"model": SHIPPED, "max_failed_fraction": 0.4, "min_person_confidence": 0.1, **settings})
    out = tmp_path / "poses.zarr.zip"
    videos = [["videos", str(data / "videos.parquet")]]
    told = chosen.model_dump(mode="json") | ({"decode": decode} if decode else {})
    build(make_job("poses", "pipeline.motion.poses", told, videos, [["poses", str(out)]]))
    return read_arrays(out)


def test_boxes_of_a_table(data, tmp_path, monkeypatch):
    rows = [f"v{k},{f},10,4,118,127" for k in (0, 1) for f in range(6)]
    (data / "boxes.csv").write_text("\n".join(["video_id,frame,x0,y0,x1,y1", *rows]) + "\n")
    arrays, about = poses(data, tmp_path, monkeypatch, boxes="annotations", boxes_path="boxes.csv")
    assert about["video_id"] == ["v0", "v1"] and arrays["offsets"].tolist() == [0, 6, 15]
    assert [item["video_id"] for item in about["failed"]] == ["broken"]
    assert arrays["present"].tolist() == [True] * 12 + [False] * 3
    assert np.isnan(arrays["keypoints"][12:]).all() and np.isfinite(arrays["keypoints"][:12]).all()
    record = about["provenance"]
    assert record["weights"] == checkpoints.weights_digest(SHIPPED) and record["dtype"] == "bfloat16"
    assert "boxes/boxes.csv" in record["inputs"]


def test_frames_come_from_the_decoder_and_under_the_limit_of_the_clips(data, tmp_path, monkeypatch):
    cut = tmp_path / "cut"
    cut.mkdir()
    for name in ("v0.mp4", "v1.mp4", "videos.parquet"):
        (cut / name).symlink_to(data / name)
    frames = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8)
    write_video(cut / "whole.mp4", frames)
    content = faststart(cut / "whole.mp4")
    (cut / "broken.mp4").write_bytes(content[: len(content) * 7 // 10])
    for min_fraction, expected in ((0.5, ["broken", "v0", "v1"]), (0.9, ["v0", "v1"])):
        decode = {"backend": "pyav", "min_fraction": min_fraction}
        _, about = poses(cut, tmp_path, monkeypatch, boxes="whole_frame", min_person_confidence=0, decode=decode)
        assert about["video_id"] == expected
        record = about["provenance"]
        assert record["decoders"] == dict.fromkeys(expected, "pyav") and record["settings"]["decode"] == decode
        assert set(record["notes"]) == set(expected) - {"v0", "v1"}
        assert all("header promises 20 frames" in note for note in record["notes"].values())


def faststart(path) -> bytes:
    """An MP4 file whose index stands before its frames."""
    with av.open(path) as source, av.open(path.with_name("fast.mp4"), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return path.with_name("fast.mp4").read_bytes()


def test_boxes_of_other_videos_or_frames_are_told(data, tmp_path, monkeypatch):
    """Ids are text, frames count from 0: a table that counts from 1 has a box behind the last frame."""
    lines = [f"{k},{f},10,4,118,127" for k in (0, 1) for f in range(6)]
    (data / "others.csv").write_text("\n".join(["video_id,frame,x0,y0,x1,y1", *lines]) + "\n")
    with pytest.raises(StageError, match=r"others\.csv has none of the 3 videos: it names '0', '1', the data set"):
        poses(data, tmp_path, monkeypatch, boxes="annotations", boxes_path="others.csv")
    lines = [f"v{k},{f},10,4,118,127" for k, n in ((0, 6), (1, 9)) for f in range(1, n + 1)]
    (data / "from_1.csv").write_text("\n".join(["video_id,frame,x0,y0,x1,y1", *lines]) + "\n")
    with pytest.raises(StageError, match="up to frame 9, the video has 9 frames, counted from 0"):
        poses(data, tmp_path, monkeypatch, boxes="annotations", boxes_path="from_1.csv")


def test_boxes_of_a_detector(data, tmp_path, monkeypatch, checkpoint_folders):
    from transformers import RTDetrForObjectDetection

    folder = checkpoint_folders.detector(tmp_path / "detector")
    model = RTDetrForObjectDetection.from_pretrained(folder)
    for head in model.model.decoder.class_embed:
        torch.nn.init.constant_(head.bias[:1], 3)
    model.save_pretrained(folder)
    arrays, about = poses(data, tmp_path, monkeypatch, detector=str(folder), min_box_score=0.1, min_person_confidence=0)
    assert about["video_id"] == ["v0", "v1"]
    assert np.isfinite(arrays["box"]).all(1).any()
    assert about["provenance"]["detector_weights"] == checkpoints.weights_digest(str(folder))


def test_what_is_missing_is_told(data, tmp_path, monkeypatch):
    with pytest.raises(StageError, match=r"motion\.poses\.boxes_path names the table"):
        poses(data, tmp_path, monkeypatch, boxes="annotations", boxes_path="none.csv")
    with pytest.raises(StageError, match="but the configuration expects " + "1" * 64):
        poses(data, tmp_path, monkeypatch, boxes="whole_frame", sha256="1" * 64)
    with pytest.raises(StageError, match="gives 17 joints, the skeleton has 13"):
        poses(data, tmp_path, monkeypatch, boxes="whole_frame", skeleton="penn_action")
    assert not (tmp_path / "poses.zarr.zip").exists()
