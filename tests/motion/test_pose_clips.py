"""The stage `pose_clips` as a job: what is left of the key clips, and what is said where too few are."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline.jobs.stage import Job, StageError
from pipeline.motion.pose_clips import build
from pipeline.motion.settings import PoseClips
from pipeline.store.arrays import read_arrays

F, J = 30, 17


def make_job(name: str, module: str, settings: dict, inputs: list, outputs: list) -> Job:
    call = argparse.Namespace(
        settings=json.dumps(settings), input=inputs, output=outputs, dataset="mine", shard="", threads=1
    )
    return Job(name, module, call)


def sway(seed: int) -> np.ndarray:
    """Poses ``[F, J, 2]`` of somebody who sways."""
    rng = np.random.default_rng(seed)
    return rng.uniform(50, 150, (1, J, 2)) + 3 * np.sin(np.arange(F) / 3)[:, None, None] * rng.normal(size=(J, 2))


def clips(tmp_path, bodies: dict[str, np.ndarray], confidence=None, keyframes=None, failed=None, **settings):
    """Key clips of these poses.

    Args:
        confidence: of single videos, else 0.9; keyframes: of single videos, else 15.
    """
    ids = list(bodies)
    sure = np.concatenate([np.full((F, J), (confidence or {}).get(key, 0.9), np.float32) for key in ids])
    poses = make_job("poses", "pipeline.motion.poses", {}, [], [["poses", str(tmp_path / "poses.zarr.zip")]])
    poses.write_arrays(
        "poses",
        {
            "keypoints": np.concatenate(list(bodies.values())).astype(np.float32),
            "confidence": sure,
            "present": np.ones(len(sure), bool),
            "offsets": np.arange(len(ids) + 1) * F,
        },
        {"video_id": ids, "skeleton": "coco"},
        n_ok=len(ids),
        failed=failed,
    )
    inputs = [["poses", str(tmp_path / "poses.zarr.zip")], ["keyframes"]]
    chosen = PoseClips(**{"length": 20, **settings})
    if chosen.selection == "keyframes":
        path = str(tmp_path / "keyframes.parquet")
        frames = [(keyframes or {}).get(key, [15]) for key in ids]
        make_job("keyframes", "pipeline.motion.keyframes", {}, [], [["keyframes", path]]).write_table(
            "keyframes", pa.table({"video_id": ids, "frames": pa.array(frames, pa.list_(pa.int32()))})
        )
        inputs[1].append(path)
    out = tmp_path / "clips.zarr.zip"
    build(
        make_job(
            "pose_clips",
            "pipeline.motion.pose_clips",
            chosen.model_dump(mode="json"),
            inputs,
            [["pose_clips", str(out)]],
        )
    )
    return read_arrays(out)


def test_key_clips_of_good_poses_are_kept(tmp_path):
    arrays, about = clips(tmp_path, {key: sway(k) for k, key in enumerate("abc")}, keyframes={"a": [12, 15]})
    assert arrays["kept"].all() and arrays["row"].tolist() == [0, 0, 1, 2]
    assert about["failed"] == [] and (arrays["max_step"] < 0.1).all()


def test_persons_who_change_places_leave_no_clip(tmp_path):
    mixed = sway(0)
    mixed[14:20] += 60, 0
    arrays, about = clips(tmp_path, {"a": mixed, "b": sway(1), "c": sway(2)})
    assert about["reason"] == ["person_jump", "", ""] and arrays["kept"].tolist() == [False, True, True]
    (failed,) = about["failed"]
    assert failed["video_id"] == "a" and failed["reason"].startswith("person_jump: all 1 key clips")
    assert clips(tmp_path, {"a": mixed, "b": sway(1)}, max_step=None)[0]["kept"].all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"confidence": dict.fromkeys("abcd", 0.3)},
            r"4 of 6 videos with poses have no key clip left, 4 of them for low_confidence \(`a`: all 1 key clips are "
            r"dropped, 1 for this, median 0\.3\); change motion\.pose_clips\.min_confidence, or allow it with "
            r"motion\.pose_clips\.max_failed_fraction = 0\.5",
        ),
        ({"max_step": 1e-6}, r"6 of 6 .* for person_jump .* change motion\.pose_clips\.max_step"),
        ({"min_cosine": 1.0}, r"6 of 6 .* for pose_jump .* change motion\.pose_clips\.min_cosine"),
        ({"keyframes": {key: [] for key in "abcd"}}, r"4 of 6 .* for no_keyframes .* change motion\.keyframes"),
        (
            {"keyframes": {key: [3, 44] for key in "abcdef"}},
            r"for other_frames \(`a`: key frames up to 44, poses of 30 frames\); change motion\.keyframes\.path",
        ),
    ],
)
def test_too_little_that_is_left_stops_in_one_line(changes, words, tmp_path):
    bodies = {key: sway(k) for k, key in enumerate("abcdef")}
    with pytest.raises(StageError, match=words) as told:
        clips(tmp_path, bodies, **changes)
    assert "\n" not in str(told.value) and not (tmp_path / "clips.zarr.zip").exists()
    _, about = clips(tmp_path, bodies, **changes, max_failed_fraction=1.0)
    assert len(about["failed"]) >= 4


def test_half_of_the_videos_and_a_single_one_may_lose_their_clips(tmp_path):
    bodies = {key: sway(k) for k, key in enumerate("abcd")}
    _, about = clips(tmp_path, bodies, confidence={"a": 0.3, "b": 0.3}, failed={"z": "missing: gone"})
    assert [item["video_id"] for item in about["failed"]] == ["a", "b", "z"]
    _, about = clips(tmp_path, {"a": sway(0)}, confidence={"a": 0.3})
    assert len(about["failed"]) == 1


def test_uniform_and_random_clips_need_no_key_frames(tmp_path):
    for selection in ("uniform", "random"):
        arrays, _ = clips(tmp_path, {"a": sway(0), "b": sway(1)}, selection=selection, per_video=3)
        assert len(np.unique(arrays["row"])) == 2 and arrays["kept"].all()
