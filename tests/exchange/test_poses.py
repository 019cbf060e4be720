from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import scipy.io
import torch

from pipeline.data.readers import VideoError
from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.persons import Person, boxes_of, main_person
from pipeline.exchange.poses import Form, files_of, from_array, from_mmaction, pose_reader

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
    about = ("note", "open_end")
    assert {name: value.dtype for name, value in pose.items() if name not in about} == {
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


def with_third(values):
    """x, y and a third column ``[F, J, 3]``."""
    return np.concatenate([POINTS, np.broadcast_to(values, (F, J))[..., None]], 2)


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
    with pytest.raises(VideoError, match=r"run__b does not exist with any of \.pt, \.pth, \.npy"):
        read("arrays", tmp_path, "run__b")


def test_one_file_for_all_and_joints_that_are_missing(tmp_path):
    holes = POINTS.copy()
    holes[1, 3] = np.nan
    holes[2] = np.nan
    np.savez(tmp_path / "all.npz", **{"run/a.avi": holes, "run/b.avi": POINTS})
    sure = np.isfinite(holes).all(2)
    check(read("arrays", tmp_path / "all.npz"), holes, sure.astype(np.float32), (True, True, False, True))
    check(read("arrays", tmp_path / "all.npz", "run__b"), scores=np.ones((F, J)))
    with pytest.raises(VideoError, match=r"all\.npz has no poses of this video"):
        read("arrays", tmp_path / "all.npz", "run__c")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (POINTS[:, :13], "has 13 joints, motion.poses.skeleton has 17"),
        (POINTS[:0], "has no frame"),
        (POINTS.reshape(F, -1), "holds 0 arrays"),
        (np.zeros((F, J, 4)), r"not frames × joints × 2 or 3 but \[4, 17, 4\]|is not frames"),
        (np.full((F, J, 3), np.nan), "no joints: all are missing"),
        (np.zeros((F, J, 2)), "no joints: all are missing"),
        (np.full((F, J, 2), -1.0), "no joints: all are missing"),
        (np.full((F, J, 2), np.inf), "holds infinite"),
        (with_third(np.nan), "NaN as the confidence"),
        (with_third(100 * SCORES), r"confidences from 3\d\.\d+ to 9\d\.\d+, which must be 0 to 1 \(percent"),
        (with_third(2 + SCORES), "the depth of three-dimensional joints"),
        (with_third(SCORES - 0.5), "confidences from -0.1"),
        (POINTS / 200, r"coordinates from 0\.0\d+ to 0\.99\d+, which must be pixels"),
        (np.moveaxis(POINTS, 0, 2), r"not frames × joints × 2 or 3 but \[17, 2, 4\]"),
    ],
)
def test_bad_arrays_are_told(values, words, tmp_path):
    np.save(tmp_path / "run__a.npy", values)
    with pytest.raises(VideoError, match=words):
        read("arrays", tmp_path)


@pytest.mark.parametrize("missing", [(0, 0), (-1, -1), (np.nan, np.nan)])
@pytest.mark.parametrize("with_confidence", [True, False])
def test_every_way_to_write_a_missing_joint(missing, with_confidence):
    values = with_third(SCORES) if with_confidence else POINTS.copy()
    values[1, 3, :2] = missing
    pose = from_array(values, J, "a")
    assert np.argwhere(np.isnan(pose["keypoints"]).any(2)).tolist() == [[1, 3]]
    assert np.argwhere(pose["confidence"] == 0).tolist() == [[1, 3]]
    # The box does not reach to the corner.
    np.testing.assert_allclose(pose["box"][1, :2], np.delete(POINTS[1], 3, 0).min(0))


def test_a_zero_on_one_axis_is_a_place_and_not_a_missing_joint():
    values = POINTS.copy()
    values[0, 0] = 0, 80
    assert np.isfinite(from_array(values, J, "a")["keypoints"]).all()


def test_axes_in_the_other_order(tmp_path):
    np.save(tmp_path / "run__a.npy", with_third(SCORES)[..., [1, 0, 2]])
    check(pose_reader("arrays", tmp_path, Form(J, axes="yx"), IDS)("run__a"))


# ------------------------------------------------------------------------------------------------------------- persons


T = 40


def walkers(distance, size=60, speed=1.0, second=0.9):
    """Two persons ``[2, T, J, 3]`` who stand so many sizes apart and walk; the second is a little smaller."""
    rng = np.random.default_rng(1)
    body = rng.uniform(0, 1, (J, 2)) * (0.35, 1) * size
    first = 100 + body + np.arange(T)[:, None, None] * (speed, 0) + rng.normal(0, 0.5, (T, J, 2))
    other = first * 1.0
    other = (other - other.mean(1, keepdims=True)) * second + other.mean(1, keepdims=True) + (distance * size, 0)
    return np.concatenate([np.stack([first, other]), np.full((2, T, J, 1), 0.9)], 3)


def changing(people, seed=0):
    """The same in which both change places in the list in half of the frames."""
    mixed = people.copy()
    swapped = np.random.default_rng(seed).random(T) < 0.5
    mixed[:, swapped] = people[::-1, swapped]
    return mixed


def listed(people):
    """As an annotation of mmaction2, and as a file of COCO with and without tracks."""
    yield {"frame_dir": "v", "keypoint": people[..., :2], "keypoint_score": people[..., 2]}
    for tracked in (False, True):
        yield [
            {"image_id": f"{t}.jpg", "score": 0.9, "keypoints": person[t].ravel().tolist()}
            | ({"track_id": number} if tracked else {})
            for t in range(T)
            for number, person in enumerate(people)
        ]


def imported(content, tmp_path):
    if isinstance(content, dict):
        return from_mmaction(content, Form(J), "v")
    (tmp_path / "v.json").write_text(json.dumps(content))
    return pose_reader("coco", tmp_path, J, ["v"])("v")


@pytest.mark.parametrize("distance", [0.4, 1, 4])
@pytest.mark.parametrize("form", range(3))
def test_persons_who_change_places_in_a_list_are_told_apart(distance, form, tmp_path):
    people = walkers(distance)
    content = list(listed(changing(people)))[form]
    pose = imported(content, tmp_path)
    np.testing.assert_allclose(pose["keypoints"], people[0, ..., :2], rtol=1e-5)
    assert "linked by overlap and pose" in pose["note"]


@pytest.mark.parametrize("form", [0, 2])
def test_a_list_that_says_who_is_who_is_believed(form, tmp_path):
    """Also where two cross, and where a person of few frames per second moves fast."""
    for speed in (1.0, 20.0):
        people = walkers(0.0, speed=speed)
        people[1, ..., 0] = people[1, ::-1, :, 0] + 3
        people[1] = people[1] * (1, 1, 1)
        pose = imported(list(listed(people))[form], tmp_path)
        assert "as listed" in pose["note"]
        np.testing.assert_allclose(pose["keypoints"], people[0, ..., :2], rtol=1e-5)


def test_the_main_person_is_the_track_that_covers_most():
    def person(frame, size, track, x=100.0):
        points = np.array([[x, 100, 1], [x + size, 100, 1], [x, 100 + size, 1], [x + size, 100 + size, 1]])
        return Person(frame, points, np.array([x, 100, x + size, 100 + size]), track)

    tracked = [person(0, 50, "1"), person(0, 90, "2"), person(1, 60, "1"), person(2, 60, "1"), person(2, 20, "3")]
    chosen, note = main_person(tracked, 5)
    assert [(item.frame, item.track) for item in chosen] == [(0, "1"), (1, "1"), (2, "1")]
    assert note == "the largest of 3 persons, as listed"
    # Without names the person in the first two frames and whoever stands elsewhere are not mixed.
    loose = [person(0, 50, None), person(1, 52, None), person(1, 55, None, 400), person(2, 50, None)]
    chosen, note = main_person(loose, 5)
    assert [(item.frame, item.points[0, 0]) for item in chosen] == [(0, 100), (1, 100), (2, 100)]
    assert note == "linked by overlap and pose: the list does not say who is who"
    single = [person(0, 50, None), person(3, 50, None, 400)]
    assert main_person(single, 5) == (single, "")


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
        ({"keypoint": np.zeros((1, F, 25, 3))}, "3 dimensions; image poses have 2"),
        ({"keypoint": None}, "no array `keypoint`"),
        ({"keypoint": "text"}, "no array `keypoint`"),
        ({"keypoint_score": np.ones((1, F, J))}, "`keypoint_score` does not fit"),
        ({"total_frames": 9}, "has 4 frames, `total_frames` says 9"),
        ({"keypoint": np.zeros((0, F, J, 2)), "keypoint_score": np.zeros((0, F, J))}, "has no person"),
        (
            {"keypoint": np.full((1, F, J, 2), np.nan), "keypoint_score": np.ones((1, F, J))},
            "no joints: all are missing",
        ),
        ({"keypoint": np.full((1, F, J, 2), np.inf), "keypoint_score": np.ones((1, F, J))}, "holds infinite"),
        ({"keypoint_score": np.full((2, F, J), 97.5)}, "confidences from 97.5 to 97.5"),
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


def results(names=("",), first=0, start=0):
    """What a detector writes: no images, and nothing of frames without a person."""
    return [
        {
            "image_id": f"{name}{frame + first}.jpg",
            "category_id": 1,
            "score": 1.5,
            "keypoints": points.ravel().tolist(),
        }
        for name in names
        for frame, points in list(enumerate(np.concatenate([POINTS, SCORES[..., None]], 2)))[start:]
    ]


def test_results_of_a_detector_without_images(tmp_path):
    (tmp_path / "run__a.json").write_text(json.dumps(results()))
    check(read("coco", tmp_path))


def test_all_videos_of_a_list_count_from_the_same_number(tmp_path):
    """Where a person comes late, no frame 0 is named; that others have it says where the list begins."""
    for first in (0, 1):
        content = results(("run/a/",), first, start=1) + results(("run/b/",), first)
        (tmp_path / "x.json").write_text(json.dumps(content))
        pose = read("coco", tmp_path / "x.json")
        assert pose["present"].tolist() == [False, True, True, True] and pose["open_end"]
        assert pose["note"] == f"frames count from {first}"
        np.testing.assert_allclose(pose["keypoints"][1:], POINTS[1:], rtol=1e-6)
        for name in "ab":
            part = results(start=int(name == "a"), first=first)
            (tmp_path / f"run__{name}.json").write_text(json.dumps(part))
        assert read("coco", tmp_path)["present"].tolist() == [False, True, True, True]


def test_frames_that_begin_late_are_no_frames_without_a_person(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(coco(first=31)))
    with pytest.raises(
        VideoError, match=r"other_frames: .* from 31 to 34, but the list counts from 1; set motion\.poses"
    ):
        read("coco", tmp_path / "x.json")
    check(pose_reader("coco", tmp_path / "x.json", Form(J, first_frame=31), IDS)("run__a"))
    (tmp_path / "x.json").write_text(json.dumps(coco(("run/a", "run/b"), first=0)))
    with pytest.raises(VideoError, match=r"from 0 to 3, but the list counts from 1"):
        pose_reader("coco", tmp_path / "x.json", Form(J, first_frame=1), IDS)("run__a")


def broken(**changes):
    content = coco()
    content.update(changes)
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"annotations": 3}, "not a COCO keypoint file"),
        (3, "not a COCO keypoint file"),
        (broken(images=[]), "names the image 100, which is not in `images`"),
        (broken(images=coco()["images"] * 2), "image id 100 twice"),
        (broken(images=[{"id": 100, "file_name": "run/a/first.jpg"}]), "no frame number"),
        (broken(annotations=[{"image_id": 100, "keypoints": [1, 2]}]), "must be x, y, v of every joint"),
        (broken(annotations=[{"keypoints": [1, 2, 3]}]), "not a COCO keypoint file"),
        (coco(("",)), "does not say which video"),
    ],
)
def test_bad_files_of_coco_are_told(content, words, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(ForeignFileError, match=words):
        read("coco", tmp_path / "x.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (broken(annotations=[]), "has no keypoints"),
        (broken(annotations=[{"image_id": 100, "keypoints": [1, 2, 2] * 13}]), r"has \[13\] joints"),
        (
            {
                "images": [{"id": 1, "file_name": "run/a/000000397133.jpg"}],
                "annotations": [{"image_id": 1, "keypoints": [1.0, 2, 2] * J}],
            },
            "not the frames of one video",
        ),
    ],
)
def test_a_bad_video_of_coco_fails_alone(content, words, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(VideoError, match=words):
        read("coco", tmp_path / "x.json")


def test_real_annotations_of_coco(real_data, tmp_path):
    """The four pictures of a real file as videos of one frame; the oracle reads the JSON by hand."""
    content = json.loads((real_data / "coco_keypoints/coco/test_coco.json").read_text())
    for number, image in enumerate(content["images"]):
        image["file_name"] = f"run/{number}/0.jpg"
    (tmp_path / "x.json").write_text(json.dumps(content))
    for number, image in enumerate(content["images"]):
        pose = read("coco", tmp_path / "x.json", f"run__{number}", ids=[f"run__{k}" for k in range(4)])
        people = [item for item in content["annotations"] if item["image_id"] == image["id"] and item["num_keypoints"]]
        largest = max(people, key=lambda item: item["bbox"][2] * item["bbox"][3])
        x, y, flag = np.reshape(largest["keypoints"], (17, 3)).T
        np.testing.assert_array_equal(pose["confidence"], [flag / 2])
        np.testing.assert_allclose(pose["keypoints"][0][flag > 0], np.stack([x, y], 1)[flag > 0])
        assert np.isnan(pose["keypoints"][0][flag == 0]).all()


# ------------------------------------------------------------------------------------------------------------- the one


@pytest.mark.parametrize("source", ["coco", "arrays", "mmaction", "penn_action"])
def test_a_list_of_other_videos_is_told_with_names_of_both(source, tmp_path):
    """Ids are text: 1 is not 0001."""
    ids = ["0001", "0002"]
    place = tmp_path / {"coco": "x.json", "arrays": "x.npz", "mmaction": "x.pkl", "penn_action": ""}[source]
    if source == "coco":
        place.write_text(json.dumps(coco(("1", "2"))))
    elif source == "arrays":
        np.savez(place, **{"1": POINTS, "2": POINTS})
    elif source == "mmaction":
        write_mmaction(place, [annotation("1"), annotation("2")])
    else:
        (place / "1.mat").touch()
    with pytest.raises(ForeignFileError, match=r"none of the 2 videos: .*1.*, the data set .*0001.*0002"):
        pose_reader(source, place, J, ids)
    if source in ("coco", "arrays"):
        with pytest.raises(ForeignFileError, match=r"files of none of the 2 videos"):
            pose_reader(source, tmp_path, J, ids)


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
