"""A small cache with known values, written by the stages' own writer."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from pipeline.config import validate
from pipeline.data.entries import shard_of
from pipeline.data.index import SEGMENTS
from pipeline.jobs import stage
from pipeline.rules.graph import STAGES, settings_json

JOINTS = 17
# Frames per video; `wave_2` failed when it was decoded.
FRAMES = {"run_1": 3, "run_2": 5, "wave_1": 4}
FAILED = {"wave_2": "no_frames: 0 frames decoded"}
SPLITS = {"run_1": "train", "run_2": "test", "wave_1": "train", "wave_2": "test"}
RAW = {"datasets": {"own": {"data": {"shards": 2, "index": {"source": "folders", "test_groups": ["x"]}}}}}


def schema(path: Path) -> str:
    """The name under which a rule writes an artifact: that of its file, or of the folder of its shards."""
    return path.parent.name if "-of-" in path.name else path.name.partition(".")[0]


class Cache:
    """Writes artifacts of the data set `own`."""

    def __init__(self, folder: Path, raw: dict = RAW):
        self.run_folder = folder
        self.raw = raw
        self.frames = FRAMES
        self.folder = folder / "results" / "own"
        self.config = validate(raw)
        self.shards = self.config.datasets["own"].data.shards
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(raw))

    def path(self, stage_name: str, number: int = 0, shard: str = "") -> Path:
        return self.folder / list(STAGES[stage_name].writes.values())[number].replace("{shard}", shard)

    def job(self, stage_name: str, path: Path, shard: str = "") -> stage.Job:
        settings = settings_json(self.config.datasets["own"], stage_name)
        arguments = ["--dataset", "own", "--settings", settings, "--shard", shard]
        module = STAGES[stage_name].module
        return stage.Job(
            stage_name, module, stage.parser().parse_args([*arguments, "--output", schema(path), str(path)])
        )

    def arrays(self, stage_name: str, arrays: dict, content: dict, *, number: int = 0, shard: str = "", **options):
        path = self.path(stage_name, number, shard)
        self.job(stage_name, path, shard).write_arrays(schema(path), arrays, content, n_ok=1, **options)
        return path

    def table(self, stage_name: str, columns: dict, content: dict | None = None, *, number: int = 0, shard: str = ""):
        path = self.path(stage_name, number, shard)
        self.job(stage_name, path, shard).write_table(schema(path), pa.table(columns), content or {})
        return path

    def members(self, part: int) -> list[str]:
        return [key for key in FRAMES if shard_of(key, self.shards) == part]

    def write(self) -> Cache:
        """All artifacts that the tests look at: values are made of the video's number and the frame's."""
        ids = list(SPLITS)
        segments = [{"start": 0.0, "end": 1.0, "label": 1}, {"start": 1.0, "end": 3.5, "label": 0}]
        self.table(
            "index",
            {
                "video_id": ids,
                "path": [f"{key}.mp4" for key in ids],
                "labels": pa.array([[0], [0], [1], [0, 1]], pa.list_(pa.int32())),
                "class_names": [["run"], ["run"], ["wave"], ["run", "wave"]],
                "segments": pa.array([[{"start": 0.5, "end": 2.0, "label": 0}], [], [], segments], SEGMENTS),
                "split": list(SPLITS.values()),
                "listed": list(SPLITS.values()),
                "group": [""] * len(ids),
                "status": ["ok"] * len(ids),
                "reason": [""] * len(ids),
            },
            {"class_names": ["run", "wave"]},
        )
        for part in range(self.shards):
            self.write_shard(part)
        concepts = pa.array([[0, 1], [1], [], []], pa.list_(pa.int32()))
        self.table("motion_concepts", {"video_id": ids, "concepts": concepts}, number=1)
        medoids = np.zeros((2, 4, JOINTS, 2), np.float32)
        self.arrays("motion_concepts", {"medoids": medoids}, {"names": ["motion 000", "motion 001"]})
        similarity = np.array([[0.1, 0.4, 0.3], [0.2, 0.1, 0.5], [0.6, 0.7, 0.0]], np.float32)
        self.arrays(
            "concepts",
            {"similarity": similarity, "texts": np.zeros((3, 4), np.float32)},
            {"video_id": list(FRAMES), "types": ["object", "object", "scene"], "names": ["ball", "bat", "gym"]},
            number=1,
        )
        return self

    def write_shard(self, part: int) -> None:
        shard = f"{part:03d}-of-{self.shards:03d}"
        ids = self.members(part)
        failed = {key: why for key, why in FAILED.items() if shard_of(key, self.shards) == part}
        lengths = [FRAMES[key] for key in ids]
        total, offsets = sum(lengths), np.cumsum([0, *lengths])
        numbers = [list(FRAMES).index(key) for key in ids]
        owner = np.repeat(numbers, lengths)
        frame = np.concatenate([np.arange(n) for n in lengths]) if ids else np.zeros(0, int)
        described = {"video_id": ids, "fps": [25.0] * len(ids), "width": [64] * len(ids), "height": [48] * len(ids)}
        signal = {"offsets": offsets, "diff_sum": (10.0 * owner + frame).astype(np.float32)}
        self.arrays("decode", signal, described, number=1, shard=shard, failed=failed)
        clips = np.zeros((len(ids), 2, 8, 8, 3), np.uint8)
        clips += np.array(numbers, np.uint8).reshape(-1, 1, 1, 1, 1) * 40 + 20
        index = np.array([[0, FRAMES[key] - 1] for key in ids], np.int32).reshape(-1, 2)
        self.arrays("decode", {"frames": clips, "frame_index": index}, described, shard=shard, failed=failed)
        keypoints = np.zeros((total, JOINTS, 2), np.float32) + (owner + 0.25 * frame)[:, None, None]
        confidence = np.full((total, JOINTS), 0.9, np.float32)
        confidence[:, 0] = 0.1
        present = frame != 1
        boxes = np.tile(np.array([1, 2, 11, 22], np.float32), (total, 1))
        poses = {"offsets": offsets, "keypoints": keypoints, "confidence": confidence, "box": boxes}
        poses |= {"present": present, "interpolated": frame == 2}
        self.arrays("poses", poses, {"video_id": ids, "skeleton": "coco"}, shard=shard)
        frames = pa.array([[1, 2][: FRAMES[key] - 2] for key in ids], pa.list_(pa.int32()))
        self.table("keyframes", {"video_id": pa.array(ids, pa.string()), "frames": frames}, shard=shard)
        row = np.repeat(np.arange(len(ids), dtype=np.int32), 2)
        clip = {
            "row": row,
            "poses": np.zeros((len(row), 4, JOINTS, 2), np.float32) + np.repeat(numbers, 2)[:, None, None, None],
        }
        content = {"video_id": ids, "skeleton": "coco", "reason": ["", "low_confidence"] * len(ids)}
        self.arrays("pose_clips", clip, content, shard=shard)
        features = np.array(numbers, np.float32)[:, None] + np.arange(4, dtype=np.float32) / 10
        self.arrays("features", {"features": features.reshape(-1, 4)}, {"video_id": ids}, shard=shard)

    def shard_of(self, video: str) -> str:
        return f"{shard_of(video, self.shards):03d}-of-{self.shards:03d}"


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Cache:
    """The cache of `RAW`, written once; do not change it, take `cache`."""
    return Cache(tmp_path_factory.mktemp("written") / "run").write()


@pytest.fixture
def make_cache(tmp_path, written):
    """(name of a run folder, configuration) → a cache in it, as `Cache.write` makes it."""

    def make(name: str = "run", raw: dict = RAW) -> Cache:
        if raw != RAW:
            return Cache(tmp_path / name, raw).write()
        shutil.copytree(written.run_folder, tmp_path / name)
        return Cache(tmp_path / name)

    return make


@pytest.fixture
def cache(make_cache, monkeypatch) -> Cache:
    result = make_cache()
    monkeypatch.chdir(result.run_folder)
    return result
