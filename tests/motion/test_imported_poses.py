"""The stage `poses` with files of others beside videos: lengths, first frames, skeletons, and what is recorded."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pyarrow as pa
import pytest
import yaml

from pipeline.demo.clips import render, sample_spec
from pipeline.demo.videos import write_video
from pipeline.jobs.runtime import RUNTIME_VARIABLE
from pipeline.jobs.stage import Job, StageError
from pipeline.motion.poses import build
from pipeline.motion.settings import Poses
from pipeline.motion.skeleton import shipped, skeleton
from pipeline.settings import ConfigError
from pipeline.store.arrays import read_arrays

LENGTHS = {"v0": 6, "v1": 9, "v2": 12, "v3": 8}


def body(n_frames: int, joints: int = 17) -> np.ndarray:
    """Poses ``[F, J, 2]`` of somebody who sways."""
    rng = np.random.default_rng(0)
    return rng.uniform(20, 100, (1, joints, 2)) + np.sin(np.arange(n_frames))[:, None, None]


def make_job(name: str, module: str, settings: dict, inputs: list, outputs: list) -> Job:
    call = argparse.Namespace(
        settings=json.dumps(settings), input=inputs, output=outputs, dataset="mine", shard="", threads=1
    )
    return Job(name, module, call)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Four videos of 6 to 12 frames."""
    folder = tmp_path_factory.mktemp("videos")
    for name, n in LENGTHS.items():
        write_video(folder / f"{name}.mp4", render(sample_spec(20_000_000), frame_indices=list(range(n))).frames)
    return folder


@pytest.fixture
def root(tmp_path, videos):
    """A data set's folder with these videos, and their table."""
    for path in videos.iterdir():
        (tmp_path / path.name).symlink_to(path)
    table_of(tmp_path, {name: None for name in LENGTHS})
    return tmp_path


def table_of(root, frames: dict[str, tuple[int, int] | None], on_disk: bool = True) -> None:
    ids = list(frames)
    table = pa.table(
        {
            "video_id": ids,
            "path": [f"{key}.mp4" if on_disk else f"none/{key}.mp4" for key in ids],
            "listed": ["train"] * len(ids),
            "status": ["ok"] * len(ids),
            "developed": [True] * len(ids),
            "first_frame": pa.array([span[0] if span else None for span in frames.values()], pa.int32()),
            "end_frame": pa.array([span[1] if span else None for span in frames.values()], pa.int32()),
        }
    )
    make_job("videos", "pipeline.data.videos", {}, [], [["videos", str(root / "videos.parquet")]]).write_table(
        "videos", table
    )


def poses(root, monkeypatch, **settings) -> tuple[dict, dict]:
    monkeypatch.setenv(RUNTIME_VARIABLE, json.dumps({"roots": {"mine": str(root)}}))
    chosen = Poses(**{"source": "arrays", "path": "p", **settings}).model_dump(mode="json")
    out = root / "poses.zarr.zip"
    inputs = [["videos", str(root / "videos.parquet")]]
    build(make_job("poses", "pipeline.motion.poses", chosen, inputs, [["poses", str(out)]]))
    return read_arrays(out)


def write(root, lengths: dict[str, int], joints: int = 17) -> None:
    (root / "p").mkdir()
    for name, n in lengths.items():
        np.save(root / "p" / f"{name}.npy", body(n, joints))


def test_poses_of_every_frame_are_taken_and_the_check_is_recorded(root, monkeypatch):
    write(root, LENGTHS)
    arrays, about = poses(root, monkeypatch)
    assert about["video_id"] == list(LENGTHS) and np.diff(arrays["offsets"]).tolist() == list(LENGTHS.values())
    assert about["video_frames"] == list(LENGTHS.values()) and about["note"] == [""] * 4
    assert about["provenance"]["inputs"].keys() >= {"imported", "skeleton/coco.yaml"}


@pytest.mark.parametrize("change", [lambda n: n // 2, lambda n: n * 2, lambda n: n - 1, lambda n: n + 1])
def test_poses_of_another_rate_or_base_stop_with_both_numbers(change, root, monkeypatch):
    write(root, {name: change(n) for name, n in LENGTHS.items()})
    with pytest.raises(StageError, match=rf"4 of 4 .* \(`v0`: {change(6)} frames of poses, 6 of video\)") as told:
        poses(root, monkeypatch)
    assert "\n" not in str(told.value)


def test_one_video_that_differs_fails_alone(root, monkeypatch):
    write(root, LENGTHS | {"v2": 10})
    _, about = poses(root, monkeypatch, max_failed_fraction=0.3)
    assert about["failed"] == [{"video_id": "v2", "reason": "other_frames: poses of 10 frames, the video has 12"}]


def test_an_allowed_difference_is_mended_and_recorded(root, monkeypatch):
    write(root, LENGTHS | {"v2": 13, "v3": 7})
    arrays, about = poses(root, monkeypatch, max_frame_difference=1)
    assert np.diff(arrays["offsets"]).tolist() == list(LENGTHS.values())
    assert about["note"][2:] == ["the last 1 of 13 frames are cut off", "nobody is in the last 1 of 8 frames"]
    assert arrays["present"][:-1].all() and not arrays["present"][-1]
    np.testing.assert_allclose(arrays["keypoints"][15:27], body(13)[:12], rtol=1e-6)


def test_poses_of_the_whole_file_are_not_those_of_an_excerpt(root, monkeypatch):
    table_of(root, {"v1": (2, 8), "v2": (4, 12)})
    write(root, {"v1": 9, "v2": 12})
    with pytest.raises(StageError, match=r"excerpts counted from their own .* \(`v1`: 9 frames of poses, 6 of video"):
        poses(root, monkeypatch)
    for name, n in (("v1", 6), ("v2", 8)):
        np.save(root / "p" / f"{name}.npy", body(n))
    assert np.diff(poses(root, monkeypatch)[0]["offsets"]).tolist() == [6, 8]


def results(name: str, numbers) -> list[dict]:
    """A detector's list of one video: frame numbers with a person."""
    values = np.concatenate([body(len(numbers)), np.full((len(numbers), 17, 1), 0.9)], 2)
    return [
        {"image_id": f"{name}/{number}.jpg", "score": 1.0, "keypoints": row.ravel().tolist()}
        for number, row in zip(numbers, values, strict=True)
    ]


def coco(root, monkeypatch, numbers_of, **settings):
    content = [item for name, n in LENGTHS.items() for item in results(name, numbers_of(n))]
    (root / "x.json").write_text(json.dumps(content))
    return poses(root, monkeypatch, source="coco", path="x.json", **settings)


@pytest.mark.parametrize("first", [0, 1])
def test_frames_behind_the_last_person_are_known_from_the_video(first, root, monkeypatch):
    arrays, about = coco(root, monkeypatch, lambda n: range(first, n + first - (n > 8)))
    assert np.diff(arrays["offsets"]).tolist() == list(LENGTHS.values())
    assert np.flatnonzero(~arrays["present"]).tolist() == [14, 26]  # the last frames of v1 and v2
    assert about["note"][0] == f"frames count from {first}"
    assert about["note"][1] == f"frames count from {first}; nobody is in the last 1 of 9 frames"


@pytest.mark.parametrize(
    ("numbers_of", "words"),
    [
        (lambda n: range(n // 2), r"end after 49% of the videos: another rate\?"),
        (lambda n: range(1, n), r"never reach the last one; set motion\.poses\.first_frame: 0"),
        (lambda n: range(100, 100 + n), "4 of 4 imported poses have another number of frames"),
        (lambda n: range(0, 2 * n, 2), "4 of 4 imported poses have another number of frames"),
    ],
)
def test_frame_numbers_that_are_not_those_of_the_videos_stop(numbers_of, words, root, monkeypatch):
    with pytest.raises(StageError, match=words):
        coco(root, monkeypatch, numbers_of)


def test_a_first_frame_that_is_given_is_believed(root, monkeypatch):
    arrays, about = coco(root, monkeypatch, lambda n: range(1, n), first_frame=0)
    assert about["note"][0] == "frames count from 0" and not arrays["present"][0] and arrays["present"][1]
    arrays, about = coco(root, monkeypatch, lambda n: range(100, 100 + n), first_frame=100)
    assert arrays["present"].all()


def test_without_videos_nothing_is_checked_and_that_is_recorded(root, monkeypatch):
    table_of(root, dict.fromkeys(LENGTHS), on_disk=False)
    write(root, dict.fromkeys(LENGTHS, 40))
    arrays, about = poses(root, monkeypatch)
    assert len(arrays["present"]) == 160 and about["video_frames"] == [None] * 4


def test_every_shipped_skeleton_and_one_of_ones_own_can_be_imported(root, monkeypatch):
    for name in shipped():
        joints = skeleton(name).joints
        for video, n in LENGTHS.items():
            (root / "p").mkdir(exist_ok=True)
            np.save(root / "p" / f"{video}.npy", body(n, len(joints)))
        arrays, about = poses(root, monkeypatch, skeleton=name)
        assert arrays["keypoints"].shape[1] == len(joints)
        assert skeleton(about["skeleton"]) == skeleton(name)
    own = {"joints": ["head", "left_s", "right_s", "left_h", "right_h"], "head": ["head"], "axes": "yx"}
    own |= {"bones": ["left_s right_s", "left_s left_h", "right_s right_h"]}
    own |= {"shoulders": "left_s right_s", "hips": "left_h right_h"}
    (root / "mine.yaml").write_text(yaml.safe_dump(own))
    for video, n in LENGTHS.items():
        np.save(root / "p" / f"{video}.npy", body(n, 5)[..., ::-1])
    arrays, about = poses(root, monkeypatch, skeleton="mine.yaml")
    np.testing.assert_allclose(arrays["keypoints"][:6], body(6, 5), rtol=1e-6)
    assert skeleton(about["skeleton"]).joints == tuple(own["joints"])
    assert "skeleton/mine.yaml" in about["provenance"]["inputs"]


def test_a_skeleton_that_is_none_is_told(root, monkeypatch):
    write(root, LENGTHS)
    with pytest.raises(StageError, match=r"none\.yaml does not exist; motion\.poses\.skeleton names it"):
        poses(root, monkeypatch, skeleton="none.yaml")
    (root / "mine.yaml").write_text("joints: [a, b, c]\nbones: [a b, b d]\n")
    with pytest.raises(StageError, match=r"mine\.yaml: the bone `b d` is not two of its joints"):
        poses(root, monkeypatch, skeleton="mine.yaml")
    with pytest.raises(StageError, match=r"has 17 joints, motion\.poses\.skeleton has 25"):
        poses(root, monkeypatch, skeleton="ntu", max_failed_fraction=0)
    from pipeline.config import validate

    with pytest.raises(ConfigError, match=r"neither a skeleton file \(\.yaml\) nor one of coco, jhmdb, kinect, mpii"):
        validate({"datasets": {"d": {"motion": {"poses": {"skeleton": "openpoze"}}}}})
