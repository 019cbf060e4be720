"""MoveNet: its decoding on known maps, its crops, and the published weights against the published graphs."""

from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.motion.pose import load_detector, load_estimator
from pipeline.motion.pose.estimate import Estimation
from pipeline.motion.pose.movenet import SCALE, decode_people, decode_person, squares
from pipeline.motion.pose.vitpose import in_frame
from pipeline.motion.settings import Poses
from pipeline.motion.skeleton import mirrored, skeleton
from pipeline.store.atomic import StageError

SIDE = 16  # of the maps below


def heads(people: list[tuple[int, int, float]]) -> dict[str, torch.Tensor]:
    """Maps of people at (row, column), with the logit of their centre: joint j lies j % 3 cells below the centre.

    Each is 4 cells wide and 8 high, its middle a quarter cell right of its centre; joints lie in the middle of their
    cells.
    """
    channels = {"center": 1, "kpt_heatmap": 17, "kpt_regress": 34, "kpt_offset": 34, "box_scale": 2, "box_offset": 2}
    maps = {name: torch.zeros(1, SIDE, SIDE, count) for name, count in channels.items()}
    maps["center"] -= 9
    maps["kpt_heatmap"] -= 9
    maps["kpt_offset"] += 0.5
    maps["box_scale"] += torch.tensor([8.0, 4.0])
    maps["box_offset"] += torch.tensor([0.0, 0.25])
    down = torch.arange(17) % 3
    maps["kpt_regress"] += torch.stack([down, torch.zeros(17)], 1).flatten()
    for row, column, logit in people:
        maps["center"][0, row, column] = logit
        maps["kpt_heatmap"][0, row + down, column, torch.arange(17)] = logit
    return maps


def test_the_person_nearest_to_the_middle_is_posed():
    found = decode_person(heads([(2, 2, 3.0), (9, 7, 2.0)]))[0]
    np.testing.assert_allclose(found[:, 0], 7.5 / SIDE, atol=1e-6)
    np.testing.assert_allclose(found[:, 1], (9.5 + np.arange(17) % 3) / SIDE, atol=1e-6)
    np.testing.assert_allclose(found[:, 2], 1 / (1 + np.exp(-2.0)), atol=1e-6)


def test_people_are_boxes_with_scores():
    found = decode_people(heads([(4, 3, 3.0), (9, 12, 2.0)]))[0]
    first, second = found[found[:, 4].argsort(descending=True)][:2]
    np.testing.assert_allclose(first[:4] * SIDE, [1.25, 0, 5.25, 8], atol=1e-5)
    np.testing.assert_allclose(second[:4] * SIDE, [10.25, 5, 14.25, 13], atol=1e-5)
    # Centre times the mean of the joints, which lie where they are expected.
    for row, logit in ((first, 3.0), (second, 2.0)):
        np.testing.assert_allclose(row[4], (1 / (1 + np.exp(-logit))) ** 2, atol=1e-5)
    assert sorted(found[:, 4])[-3] < 1e-3


def test_squares_are_the_frame_as_it_is_or_black_beyond_it():
    frames = torch.randint(0, 256, (2, 10, 10, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    whole = torch.tensor([[4.5, 4.5, 10, 10.0]]).repeat(2, 1)
    torch.testing.assert_close(squares(frames, whole, 10), frames.movedim(-1, 1).float(), atol=1e-3, rtol=0)
    beside = squares(frames, torch.tensor([[14.5, 4.5, 10, 10.0]] * 2), 10)
    torch.testing.assert_close(beside, torch.zeros_like(beside))


def test_what_shrinks_is_averaged_and_each_picture_alone_decides_how():
    stripes = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    stripes[:, ::2] = 200
    small = squares(stripes, torch.tensor([[31.5, 31.5, 64, 64.0]]), 16)
    torch.testing.assert_close(small, torch.full_like(small, 100), atol=0.01, rtol=0)
    regions = torch.tensor([[31.5, 31.5, 64, 64.0], [20, 20, 8, 8.0], [30, 10, 30, 30.0]])
    together = squares(stripes.repeat(3, 1, 1, 1), regions, 16)
    for row in range(3):
        torch.testing.assert_close(together[row : row + 1], squares(stripes, regions[row : row + 1], 16))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, checkpoint_folders):
    return str(checkpoint_folders.movenet(tmp_path_factory.mktemp("movenet") / "one"))


@pytest.fixture(scope="module")
def estimator(folder):
    return load_estimator(folder, mirrored=mirrored(skeleton("coco")), n_joints=17)


def frames(count: int, height: int = 48, width: int = 80) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


class Videos:
    """Opens arrays by name, as a decoder does files."""

    def __init__(self, clips: dict[str, np.ndarray]):
        self.clips = clips

    @contextmanager
    def __call__(self, name: str):
        self.clip = self.clips[name]
        self.height, self.width = self.clip.shape[1:3]
        yield self

    def batches(self, size: int):
        for start in range(0, len(self.clip), size):
            yield start, self.clip[start : start + size]


@pytest.mark.parametrize("boxes", ["refined", "detected"])
def test_it_poses_videos_as_any_estimator(estimator, tmp_path, checkpoint_folders, boxes):
    """By its own second look, and in the boxes of the network of several people; batches change nothing."""
    clips = {"a": frames(5), "b": frames(3, 64, 40)}
    settings = Poses(boxes=boxes)
    people = checkpoint_folders.movenet(tmp_path / "people", people=True)
    detector = load_detector(str(people)) if boxes == "detected" else None

    def posed(size: int) -> dict[str, dict[str, np.ndarray]]:
        return dict(
            Estimation(estimator, settings, size, detector).run([(name, name) for name in clips], [Videos(clips)])
        )

    many, few = posed(64), posed(2)
    for name, clip in clips.items():
        assert many[name]["keypoints"].shape == (len(clip), 17, 2)
        assert many[name]["confidence"].max() > 0
        for part, value in many[name].items():
            np.testing.assert_allclose(few[name][part], value, atol=0.05)


def test_flip_test_is_the_mean_with_the_mirror_image(estimator):
    picture = torch.from_numpy(frames(2, 64, 64))
    regions = estimator.regions(torch.tensor([[0, 0, 63, 63.0]] * 2), 1.0)
    crops = estimator.cut(picture, regions)
    mirror = estimator.poses(crops.flip(3))[:, estimator.mirrored]
    mirror[..., 0] = 1 - mirror[..., 0]
    torch.testing.assert_close(estimator.poses(crops, True), (estimator.poses(crops) + mirror) / 2)


def test_what_does_not_fit_is_told(folder, tmp_path):
    with pytest.raises(StageError, match="gives 17 joints, the skeleton has 13"):
        load_estimator(folder, n_joints=13)
    with pytest.raises(StageError, match="is a movenet; supported person detectors are rt_detr, movenet_multipose"):
        load_detector(folder)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "movenet", "image_size": 64}))
    with pytest.raises(StageError, match="does not describe a MoveNet"):
        load_estimator(str(tmp_path))


# --------------------------------------------------------------------------------------------- the published weights


@pytest.fixture(scope="module")
def person(project) -> torch.Tensor:
    """Grace Hopper as the reference saw her: ``[1, 3, 256, 256]``, 0…255."""
    picture = np.asarray(Image.open(project / "tests/reference/person.png").convert("RGB"))
    return torch.from_numpy(picture.repeat(2, 0).repeat(2, 1)).movedim(-1, 0)[None].float()


@pytest.fixture(scope="module")
def published(project) -> dict[str, np.ndarray]:
    """What TensorFlow.js makes of her; see `tests/reference/make_movenet.cjs`."""
    found = json.loads((project / "tests/reference/movenet.json").read_text())
    return {name: np.array(values) for name, values in found.items()}


# Lightning's graph has 1 / 48 in half precision.
@pytest.mark.parametrize(("name", "border", "tolerance"), [("thunder", 0, 1e-5), ("lightning", 32, 3e-4)])
def test_poses_are_those_of_the_published_graph(fetched, person, published, name, border, tolerance):
    model = load_estimator(fetched(f"movenet-{name}")).model
    side = 256 - border
    with torch.inference_mode():
        found = decode_person(model(person[..., border:side, border:side] * SCALE - 1))[0]
    np.testing.assert_allclose(found[:, [1, 0, 2]], published[name].reshape(17, 3), atol=tolerance)


def test_boxes_are_those_of_the_published_graph(fetched, person, published):
    model = load_detector(fetched("movenet-multipose")).model
    with torch.inference_mode():
        found = decode_people(model(person * SCALE - 1))[0]
    expected = published["multipose"].reshape(6, 56)[:, [52, 51, 54, 53, 55]]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_people_in_photographs_are_posed_where_they_are(fetched, real_data):
    """PCK at a tenth of the box on COCO's pictures: 0.901 when this was written."""
    folder = real_data / "coco_keypoints/coco"
    listed = json.loads((folder / "test_coco_wholebody.json").read_text())
    estimator = load_estimator(fetched("movenet-thunder"))
    pictures = {
        item["id"]: torch.from_numpy(np.asarray(Image.open(folder / item["file_name"]).convert("RGB")).copy())[None]
        for item in listed["images"]
    }
    near = []
    for person in (item for item in listed["annotations"] if item["num_keypoints"] >= 5):
        joints = np.array(person["keypoints"][:51], float).reshape(17, 3)
        x, y, width, height = person["bbox"]
        regions = estimator.regions(torch.tensor([[x, y, x + width, y + height]]), 1.25)
        points, _ = in_frame(estimator.poses(estimator.cut(pictures[person["image_id"]], regions)), regions)
        marked = joints[:, 2] > 0
        near += list(np.hypot(*(points[0].numpy() - joints[:, :2])[marked].T) < 0.1 * max(width, height))
    assert len(near) > 150 and np.mean(near) >= 0.88
