from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import scipy.io
import torch

from pipeline.data.readers import VideoError
from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.poses import Person, boxes_of, files_of, main_person, pose_reader

RNG = np.random.default_rng(0)
F, J = 4, 17
POINTS = RNG.uniform(10, 200, (F, J, 2)).astype(np.float32)
SCORES = RNG.uniform(0.3, 1, (F, J)).astype(np.float32)
IDS = ["run__a", "run__b"]


def read(source, place, video_id="run__a", joints=J, ids=IDS):
    return pose_reader(source, place, joints, ids)(video_id)


def check(pose, points=POINTS, scores=SCORES, present=(True,) * F):
    np.testing.assert_allclose(pose["keypoints"], points, rtol=1e-6)
    np.testing.assert_allclose(pose["confidence"], scores, rtol=1e-6)
    assert pose["present"].tolist() == list(present)
    assert {name: value.dtype for name, value in pose.items()} == {
        "keypoints": np.float32,
        "confidence": np.float32,
        "box": np.float32,
        "present": bool,
    }
    assert pose["box"].shape == (len(points), 4)


def test_boxes_enclose_the_joints_that_are_there():
    points = np.array([[[1, 2], [5, 3], [np.nan, np.nan]], [[0, 0], [0, 0], [0, 0]]])
    sure = np.array([[True, True, False], [False] * 3])
    assert boxes_of(points, sure).tolist() == [[1, 2, 5, 3], [0, 0, 0, 0]]


# -------------------------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".pt"])
def test_one_array_per_video(suffix, tmp_path):
    values = np.concatenate([POINTS, SCORES[..., None]], 2)
    path = tmp_path / f"run__a{suffix}"
    {
        ".npy": lambda: np.save(path, values),
        ".npz": lambda: np.savez(path, pose=values, label=[1]),
        ".mat": lambda: scipy.io.savemat(path, {"pose": values, "label": 1}),
        ".pt": lambda: torch.save(torch.from_numpy(values), path),
    }[suffix]()
    check(read("arrays", tmp_path))
    assert files_of(tmp_path, IDS) == [path]
    with pytest.raises(VideoError, match=r"run__b exists with none of \.pt, \.pth, \.npy"):
        read("arrays", tmp_path, "run__b")


def test_one_file_for_all_and_joints_that_are_missing(tmp_path):
    holes = POINTS.copy()
    holes[1, 3] = np.nan
    holes[2] = np.nan
    np.savez(tmp_path / "all.npz", **{"run/a.avi": holes, "run/b.avi": POINTS})
    sure = np.isfinite(holes).all(2)
    check(read("arrays", tmp_path / "all.npz"), holes, sure.astype(np.float32), (True, True, False, True))
    check(read("arrays", tmp_path / "all.npz", "run__b"), scores=np.ones((F, J)))
    with pytest.raises(VideoError, match=r"all\.npz has no poses of it"):
        read("arrays", tmp_path / "all.npz", "run__c")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (POINTS[:, :13], "has 13 joints, motion.poses.skeleton has 17"),
        (POINTS[:0], "has no frame"),
        (POINTS.reshape(F, -1), "holds 0 arrays"),
        (np.zeros((F, J, 4)), r"not frames × joints × 2 or 3 but \[4, 17, 4\]|is not frames"),
        (np.full((F, J, 3), np.nan), "NaN or infinity"),
    ],
)
def test_bad_arrays_are_told(values, words, tmp_path):
    np.save(tmp_path / "run__a.npy", values)
    with pytest.raises(VideoError, match=words):
        read("arrays", tmp_path)


# ------------------------------------------------------------------------------------------------------------ mmaction


def annotation(name="run/a", **changes):
    """Two persons: the first is small, the second is the one of `POINTS`."""
    small = POINTS / 10
    content = {
        "frame_dir": name,
        "label": 0,
        "img_shape": (240, 320),
        "original_shape": (240, 320),
        "total_frames": F,
        "keypoint": np.stack([small, POINTS]),
        "keypoint_score": np.stack([np.ones((F, J), np.float32), SCORES]),
    }
    return {key: value for key, value in {**content, **changes}.items() if value is not None}


def write_mmaction(path, annotations, protocol=4, split=True):
    content = {"split": {"train": ["run/a"]}, "annotations": annotations} if split else annotations
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("split", [True, False])
def test_the_largest_person_of_mmaction(protocol, split, tmp_path):
    check(read("mmaction", write_mmaction(tmp_path / "x.pkl", [annotation()], protocol, split)))


def test_bare_names_of_mmaction(tmp_path):
    # The skeletons of UCF-101 name a video without its class folder.
    path = write_mmaction(tmp_path / "x.pkl", [annotation("b"), annotation("a")])
    check(read("mmaction", path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keypoint": np.zeros((1, F, 25, 3))}, "3 dimensions; poses in the picture have 2"),
        ({"keypoint": None}, "no array `keypoint`"),
        ({"keypoint": "text"}, "no array `keypoint`"),
        ({"keypoint_score": np.ones((1, F, J))}, "`keypoint_score` does not fit"),
        ({"total_frames": 9}, "has 4 frames, `total_frames` says 9"),
        ({"keypoint": np.zeros((0, F, J, 2)), "keypoint_score": np.zeros((0, F, J))}, "has no person"),
        ({"keypoint": np.full((1, F, J, 2), np.nan), "keypoint_score": np.ones((1, F, J))}, "NaN or infinity"),
        ({"keypoint": np.ones((1, F, 13, 2)), "keypoint_score": np.ones((1, F, 13))}, "13 joints"),
    ],
)
def test_bad_annotations_of_mmaction_fail_one_video(changes, words, tmp_path):
    path = write_mmaction(tmp_path / "x.pkl", [annotation(**changes), annotation("run/b")])
    with pytest.raises(VideoError, match=words):
        read("mmaction", path)
    check(read("mmaction", path, "run__b"))


class Hostile:
    def __reduce__(self):
        return (exec, ("open('executed', 'w')",))


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ([annotation(), annotation("run__a")], "more than one row for run__a"),
        ([{"keypoint": POINTS}], "each with a `frame_dir`"),
        ([annotation(), Hostile()], "builtins.exec, which would have to be executed"),
        ({"a": 1}, "a list of annotations"),
    ],
)
def test_bad_files_of_mmaction_are_told(annotations, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ForeignFileError, match=words):
        read("mmaction", write_mmaction(tmp_path / "x.pkl", annotations))
    assert not (tmp_path / "executed").exists()


# ---------------------------------------------------------------------------------------------------------------- COCO


def coco(names=("run/a",), first=0, flags=False, skip=()):
    """A file of COCO: every frame of every video, a small second person in each; ``skip`` frames without a person."""
    images, annotations = [], []
    for video in names:
        for frame in range(F):
            image = {
                "id": len(images) + 100,
                "file_name": f"{video}/{frame + first:05d}.jpg" if video else f"{frame + first}.jpg",
            }
            images.append(image)
            if frame in skip:
                continue
            third = np.full((J, 1), 2) if flags else SCORES[frame][:, None]
            points = np.concatenate([POINTS[frame], third], 1)
            for scale in (0.1, 1):
                scaled = (points * [scale, scale, 1]).ravel().tolist()
                annotations.append(
                    {"image_id": image["id"], "category_id": 1, "keypoints": scaled} | ({} if flags else {"score": 0.9})
                )
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


@pytest.mark.parametrize("first", [0, 1])
def test_coco_of_all_videos(first, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(coco(("run/b", "run/a"), first, skip=(2,))))
    points, scores = POINTS.copy(), SCORES.copy()
    points[2], scores[2] = np.nan, 0
    check(read("coco", tmp_path / "x.json"), points, scores, (True, True, False, True))


def test_coco_of_one_video_per_file(tmp_path):
    (tmp_path / "run__a.json").write_text(json.dumps(coco(("",), 1, flags=True)))
    check(read("coco", tmp_path), scores=np.ones((F, J)))
    with pytest.raises(VideoError, match=r"run__b\.json does not exist"):
        read("coco", tmp_path, "run__b")


def test_results_of_a_detector_without_images(tmp_path):
    results = [
        {"image_id": f"{frame}.jpg", "category_id": 1, "score": 1.5, "keypoints": points.ravel().tolist()}
        for frame, points in enumerate(np.concatenate([POINTS, SCORES[..., None]], 2))
    ]
    (tmp_path / "run__a.json").write_text(json.dumps(results))
    check(read("coco", tmp_path))


def test_the_main_person_is_the_track_that_covers_most():
    def person(frame, size, track):
        return Person(frame, np.zeros((J, 3)), size, json.dumps(track))

    tracked = [person(0, 5, 1), person(0, 9, 2), person(1, 6, 1), person(2, 6, 1), person(2, 2, 1)]
    assert [(item.frame, item.size) for item in main_person(tracked)] == [(0, 5), (1, 6), (2, 6)]
    loose = [person(0, 5, None), person(0, 9, 2), person(1, 6, 1)]
    assert [(item.frame, item.size) for item in main_person(loose)] == [(0, 9), (1, 6)]


def broken(**changes):
    content = coco()
    content.update(changes)
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"annotations": 3}, "no COCO keypoint file"),
        (3, "no COCO keypoint file"),
        (broken(images=[]), "names the image 100, which is not in `images`"),
        (broken(images=coco()["images"] * 2), "image id 100 twice"),
        (broken(images=[{"id": 100, "file_name": "run/a/first.jpg"}]), "no frame number"),
        (broken(annotations=[{"image_id": 100, "keypoints": [1, 2]}]), "must be x, y, v of every joint"),
        (broken(annotations=[{"keypoints": [1, 2, 3]}]), "no COCO keypoint file"),
        (coco(("",)), "does not tell which video"),
    ],
)
def test_bad_files_of_coco_are_told(content, words, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(ForeignFileError, match=words):
        read("coco", tmp_path / "x.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (broken(annotations=[]), "keypoints of nobody"),
        (broken(annotations=[{"image_id": 100, "keypoints": [1, 2, 2] * 13}]), r"has \[13\] joints"),
        (
            {
                "images": [{"id": 1, "file_name": "run/a/000000397133.jpg"}],
                "annotations": [{"image_id": 1, "keypoints": [1.0, 2, 2] * J}],
            },
            "no frames of one video",
        ),
    ],
)
def test_a_bad_video_of_coco_fails_alone(content, words, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(VideoError, match=words):
        read("coco", tmp_path / "x.json")


def test_real_annotations_of_coco(real_data, tmp_path):
    """The four pictures of a real file as the frames of one video; the oracle reads the JSON by hand."""
    content = json.loads((real_data / "coco_keypoints/coco/test_coco.json").read_text())
    by_number = sorted(content["images"], key=lambda image: image["id"])
    for frame, image in enumerate(by_number):
        image["file_name"] = f"run/a/{frame}.jpg"
    (tmp_path / "x.json").write_text(json.dumps(content))
    pose = read("coco", tmp_path / "x.json")
    for frame, image in enumerate(by_number):
        people = [item for item in content["annotations"] if item["image_id"] == image["id"] and item["num_keypoints"]]
        largest = max(people, key=lambda item: item["bbox"][2] * item["bbox"][3])
        x, y, flag = np.reshape(largest["keypoints"], (17, 3)).T
        np.testing.assert_array_equal(pose["confidence"][frame], flag / 2)
        np.testing.assert_allclose(pose["keypoints"][frame][flag > 0], np.stack([x, y], 1)[flag > 0])
        assert np.isnan(pose["keypoints"][frame][flag == 0]).all()


# ------------------------------------------------------------------------------------------------------------- the one


def test_places_that_do_not_fit_the_source(tmp_path):
    with pytest.raises(ForeignFileError, match=r"does not exist; motion\.poses\.path"):
        pose_reader("coco", tmp_path / "none", J, IDS)
    with pytest.raises(ForeignFileError, match="is a folder"):
        pose_reader("mmaction", tmp_path, J, IDS)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ForeignFileError, match="is not JSON"):
        pose_reader("coco", tmp_path / "x.json", J, IDS)


def test_penn_action_through_the_same_door(real_data):
    pose = pose_reader("penn_action", real_data / "penn_action/annotations/labels", 13, ["0001"])("0001")
    assert pose["keypoints"].shape[1:] == (13, 2)
    with pytest.raises(VideoError, match="does not exist"):
        pose_reader("penn_action", real_data / "penn_action/annotations/labels", 13, ["0001"])("9999")
