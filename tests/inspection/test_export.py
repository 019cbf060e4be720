from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline.cli import main
from pipeline.inspection.cache import InspectionError
from pipeline.inspection.export import coco_annotation, coco_category, export_npy, frame_poses

FOLDER = "results/own"


def test_arrays_of_all_shards_become_one_file(cache, capsys, tmp_path):
    out = tmp_path / "npy"
    assert main(["export", FOLDER, "--as", "npy", "--out", str(out)]) == 0
    assert "backbone/features" in capsys.readouterr().out
    ids = json.loads((out / "data/signal/attributes.json").read_text())["video_id"]
    offsets, values = (np.load(out / f"data/signal/{name}.npy") for name in ("offsets", "diff_sum"))
    assert sorted(ids) == sorted(cache.frames) and len(offsets) == len(ids) + 1
    for i, video in enumerate(ids):
        number = list(cache.frames).index(video)
        expected = 10.0 * number + np.arange(cache.frames[video])
        np.testing.assert_array_equal(values[offsets[i] : offsets[i + 1]], expected)
    owner, poses = (np.load(out / f"motion/pose_clips/{name}.npy") for name in ("row", "poses"))
    assert owner.tolist() == [0, 0, 1, 1, 2, 2] and owner.dtype == np.int32
    clip_ids = json.loads((out / "motion/pose_clips/attributes.json").read_text())["video_id"]
    for row, clip in zip(owner, poses, strict=True):
        assert (clip == list(cache.frames).index(clip_ids[row])).all()
    failed = json.loads((out / "data/clips/attributes.json").read_text())["failed"]
    assert failed == [{"video_id": "wave_2", "reason": "no_frames: 0 frames decoded"}]


def test_tables_become_columns_without_pickles(cache, tmp_path):
    assert export_npy(cache.folder / "motion", tmp_path / "out") == [
        "keyframes",
        "motion_concepts",
        "motion_labels",
        "pose_clips",
        "poses",
    ]
    folder = tmp_path / "out/motion_labels"
    assert np.load(folder / "video_id.npy").tolist() == ["run_1", "run_2", "wave_1", "wave_2"]
    assert np.load(folder / "concepts.npy").tolist() == [0, 1, 1]
    assert np.load(folder / "concepts_offsets.npy").tolist() == [0, 2, 3, 3, 3]


def test_labels_and_segments_become_columns(cache, tmp_path):
    export_npy(cache.path("index"), tmp_path / "out")
    found = {
        name: np.load(tmp_path / f"out/{name}.npy").tolist() for name in ("labels", "labels_offsets", "class_names")
    }
    assert found == {
        "labels": [0, 0, 1, 0, 1],
        "labels_offsets": [0, 1, 2, 3, 5],
        "class_names": ["run", "run", "wave", "run", "wave"],
    }
    names = ("offsets", "start", "end", "label")
    assert [np.load(tmp_path / f"out/segments_{name}.npy").tolist() for name in names] == [
        [0, 1, 1, 1, 3],
        [0.5, 0, 1],
        [2, 1, 3.5],
        [0, 1, 0],
    ]
    assert np.load(tmp_path / "out/segments_label.npy").dtype == np.int32


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([3, None], pa.int32()), [3.0, None]),
        (pa.array([None, None], pa.int32()), [None, None]),
        (pa.array([None, None]), [None, None]),
        (pa.array([True, None]), [1.0, None]),
        (pa.array([True, False]), [True, False]),
        (pa.array(["a", None]), ["a", ""]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
    ],
    ids=str,
)
def test_null_and_coded_columns_are_stored_without_pickles(cache, tmp_path, column, expected):
    path = cache.table("index", {"column": column})
    export_npy(path, tmp_path / "out")
    found = np.load(tmp_path / "out/column.npy", allow_pickle=False)
    assert [None if value != value else value for value in found.tolist()] == expected


def test_what_numpy_has_no_type_for_is_one_line(cache, tmp_path):
    path = cache.table("index", {"column": pa.array([{"a": 1}, {"a": 2}])})
    with pytest.raises(InspectionError, match="a column of struct<a: int64> has no counterpart"):
        export_npy(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_artifact_can_be_exported(cache, tmp_path):
    path = cache.path("features", shard="000-of-002")
    assert export_npy(path, tmp_path / "one") == ["000-of-002"]
    assert np.load(tmp_path / "one/features.npy").shape == (len(cache.members(0)), 4)
    export_npy(path.parent, tmp_path / "all")
    assert np.load(tmp_path / "all/features.npy").shape == (3, 4)


def test_poses_become_coco_keypoints(cache, capsys, tmp_path):
    out = tmp_path / "poses.json"
    assert main(["export", FOLDER, "--as", "coco", "--out", str(out)]) == 0
    coco = json.loads(out.read_text())
    assert len(coco["images"]) == sum(cache.frames.values()) and len({item["id"] for item in coco["images"]}) == 12
    images = {item["id"]: item for item in coco["images"]}
    people = {
        (images[item["image_id"]]["video_id"], images[item["image_id"]]["frame"]): item for item in coco["annotations"]
    }
    # Frame 1 holds no person; the nose is too uncertain to be labelled.
    assert sorted(frame for video, frame in people if video == "run_2") == [0, 2, 3, 4]
    person = people["run_2", 3]
    assert person["keypoints"][:6] == [0, 0, 0, 1.75, 1.75, 2] and len(person["keypoints"]) == 51
    assert person["num_keypoints"] == 16 and person["bbox"] == [1, 2, 10, 20] and person["area"] == 200
    assert images[person["image_id"]] | {"id": 0} == {
        "id": 0,
        "file_name": "run_2/000003.jpg",
        "video_id": "run_2",
        "frame": 3,
        "width": 64,
        "height": 48,
    }
    assert people["run_2", 2]["interpolated"] and not person["interpolated"]
    assert main(["export", FOLDER, "--as", "coco", "--out", str(out), "--video", "wave_1"]) == 0
    assert {item["video_id"] for item in json.loads(out.read_text())["images"]} == {"wave_1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["poses.json", "run"]


def test_the_coco_category_counts_joints_from_one():
    category = coco_category("coco")
    assert category["keypoints"][0] == "nose" and len(category["keypoints"]) == 17
    assert [6, 7] in category["skeleton"]  # shoulder to shoulder
    assert min(map(min, category["skeleton"])) == 1 and max(map(max, category["skeleton"])) == 17


def test_a_joint_that_is_not_finite_is_not_labelled():
    points = np.array([[1, 2], [np.nan, 3]], np.float32)
    person = coco_annotation(points, np.array([0.5, 0.5]), np.array([0, 0, 4, 4]), 0.2, id=1)
    assert person["keypoints"] == [1, 2, 2, 0, 0, 0] and person["num_keypoints"] == 1


def test_samples_for_fiftyone(cache, capsys, tmp_path):
    out = tmp_path / "samples.json"
    data = tmp_path / "data"
    assert main(["export", FOLDER, "--as", "fiftyone", "--out", str(out), "--data-root", str(data)]) == 0
    dataset = json.loads(out.read_text())
    assert dataset["name"] == "own" and dataset["media_type"] == "video"
    assert dataset["info"]["classes"] == ["run", "wave"] and len(dataset["default_skeleton"]["labels"]) == 17
    samples = {item["video_id"]: item for item in dataset["samples"]}
    assert set(samples) == {"run_1", "run_2", "wave_1", "wave_2"}
    sample = samples["run_1"]
    assert sample["filepath"] == str(data / "run_1.mp4") and sample["tags"] == ["train"]
    assert sample["ground_truth"] == {"_cls": "Classification", "label": "run"}
    assert samples["wave_2"]["ground_truth"]["label"] == "run;wave"
    assert [item["label"] for item in sample["motion"]["classifications"]] == ["motion 000", "motion 001"]
    assert sample["object"]["classifications"][0] == {"_cls": "Classification", "label": "bat", "confidence": 0.4}
    # Frames count from 1, points are parts of the picture of 64 × 48 pixels.
    assert sorted(samples["run_2"]["frames"]) == ["1", "3", "4", "5"]
    (person,) = samples["run_2"]["frames"]["4"]["pose"]["keypoints"]
    assert person["points"][5] == [round(1.75 / 64, 5), round(1.75 / 48, 5)] and len(person["confidence"]) == 17
    assert "frames" not in samples["wave_2"]
    # Every field that a sample has is declared, as FiftyOne's reader asks for.
    declared = {"filepath", "tags", "metadata", "frames", *dataset["sample_fields"]}
    assert all(set(item) <= declared for item in samples.values())
    assert main(["export", FOLDER, "--as", "fiftyone", "--out", str(out), "--without-poses"]) == 0
    assert "frames" not in out.read_text()


def test_frames_of_fiftyone_are_finite():
    points = np.full((1, 1, 2), np.nan)
    frames = frame_poses(points, np.full((1, 1), np.nan), np.array([True]), 10, 10)
    assert frames["1"]["pose"]["keypoints"][0]["points"] == [[0.0, 0.0]]


def test_bad_input_writes_nothing(cache, capsys, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "a.txt").write_text("mine")
    cases = [
        (["--as", "npy", "--out", str(taken)], "no empty folder"),
        (["--as", "coco", "--out", str(tmp_path / "poses.csv")], "name it with .json"),
        (["--as", "coco", "--out", str(tmp_path / "p.json"), "--video", "run_11"], "did you mean run_1"),
        (["--as", "fiftyone", "--out", str(tmp_path / "p.json"), "--video", "walk_1"], "no video `walk_1`"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for arguments, words in cases:
        assert main(["export", FOLDER, *arguments]) == 2
        error = capsys.readouterr().err
        assert words in error and len(error.splitlines()) == 1
    path = cache.path("poses", shard="001-of-002")
    path.write_bytes(path.read_bytes()[:-30])
    for name, out in (("npy", "new"), ("coco", "p.json"), ("fiftyone", "p.json")):
        assert main(["export", FOLDER, "--as", name, "--out", str(tmp_path / out)]) == 2
        assert "is damaged" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_shards_of_two_counts_are_not_joined(cache, tmp_path):
    path = cache.path("features", shard="000-of-002")
    path.with_name("000-of-003.zarr.zip").write_bytes(path.read_bytes())
    with pytest.raises(InspectionError, match="shards of 002 and 003"):
        export_npy(cache.folder, tmp_path / "out")
