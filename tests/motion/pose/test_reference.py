"""Crops, decoding and coordinates against the published processors, and against annotated pictures."""

from __future__ import annotations

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

from pipeline.jobs.runtime import Runtime
from pipeline.motion.pose.detector import MAX_BOXES, PersonDetector, in_pixels
from pipeline.motion.pose.vitpose import PoseEstimator, decode_heatmaps, fit_boxes, in_frame
from pipeline.motion.skeleton import skeleton
from pipeline.store.atomic import StageError

# What docs/encoders.md says of them.
CROP_LEVELS, CROP_MEAN = 2.0, 0.6  # grey levels of crops inside of the picture: the reference cuts fractions off
DECODING = 0.15  # cells of the heatmap
BOXES = [[20.0, 10.0, 90.0, 150.0], [100.5, 40.25, 80.0, 60.0], [150.0, 60.0, 40.0, 120.0]]  # x, y, width, height


@pytest.fixture(scope="module")
def folders(tmp_path_factory, checkpoint_folders):
    root = tmp_path_factory.mktemp("pose")
    return {
        "vitpose": checkpoint_folders.pose(root / "vitpose"),
        "plus": checkpoint_folders.pose(root / "plus", experts=6),
        "detector": checkpoint_folders.detector(root / "detector"),
    }


def picture(height: int = 240, width: int = 320) -> np.ndarray:
    rng = np.random.default_rng(3)
    soft = cv2.resize(
        rng.uniform(0, 255, (9, 12, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(soft, 0, 255).astype(np.uint8)


def corners(boxes: list[list[float]]) -> torch.Tensor:
    return torch.tensor([[x, y, x + w, y + h] for x, y, w, h in boxes])


def published(height: int = 256, width: int = 192) -> VitPoseImageProcessorPil:
    return VitPoseImageProcessorPil(size={"height": height, "width": width})


def test_crops_are_those_of_the_published_processor(folders):
    estimator = PoseEstimator(str(folders["vitpose"]))
    frame = picture()
    expected = published(64, 48)(images=[frame], boxes=[BOXES], return_tensors="np")["pixel_values"]
    ours = estimator.cut(torch.from_numpy(frame)[None].expand(3, -1, -1, -1), estimator.regions(corners(BOXES), 1.25))
    difference = np.abs(ours.numpy() - np.asarray(expected)) * np.array(estimator.std)[:, None, None] * 255
    inside = difference[:, :, 1:-1, 1:-1]  # at the border of the picture one fades out, the other ends
    assert np.quantile(inside, 0.99) <= CROP_LEVELS and inside.mean() <= CROP_MEAN
    # Outside of the picture both are black, not the mean colour.
    black = -np.array(estimator.mean) / np.array(estimator.std)
    np.testing.assert_allclose(ours[0, :, 0, 0], black, atol=1e-4)
    np.testing.assert_allclose(np.asarray(expected)[0, :, 0, 0], black, atol=1e-4)


def peaks(centres: np.ndarray, height: int = 64, width: int = 48, sigma: float = 2.0) -> torch.Tensor:
    """Heatmaps ``[n, J, h, w]`` as ViTPose is trained to give: Gaussians at ``[n, J, 2]``."""
    rows, columns = np.mgrid[:height, :width]
    squared = (columns - centres[..., 0, None, None]) ** 2 + (rows - centres[..., 1, None, None]) ** 2
    return torch.from_numpy(0.9 * np.exp(-squared / (2 * sigma**2))).float()


def test_keypoints_come_back_where_the_published_processor_puts_them():
    rng = np.random.default_rng(0)
    centres = rng.uniform([6, 6], [41, 57], (3, 17, 2))
    heatmaps = peaks(centres)
    processor = published()
    results = processor.post_process_pose_estimation(SimpleNamespace(heatmaps=heatmaps), boxes=[BOXES])[0]
    expected = np.stack([person["keypoints"] for person in results])
    positions, confidence = decode_heatmaps(heatmaps)
    regions = fit_boxes(corners(BOXES), 1.25, 192 / 256)
    cells = torch.tensor([47.0, 63.0])
    ours, _ = in_frame(torch.cat([positions / cells, confidence[..., None]], -1), regions)
    cell = regions[:, None, 2:].numpy() / cells.numpy()  # pixels per cell
    assert (np.abs(ours.numpy() - expected) / cell).max() < DECODING
    truth = regions[:, None, :2].numpy() + (centres / cells.numpy() - 0.5) * regions[:, None, 2:].numpy()
    assert (np.abs(ours.numpy() - truth) / cell).max() < 0.06  # and nearer to the truth than that


def test_annotated_poses_of_real_pictures_survive_the_way_there_and_back(real_data):
    """The convention: names, order, x before y, pixels of the whole picture; boxes that leave the picture included."""
    folder = real_data / "coco_keypoints" / "coco"
    if not folder.is_dir():
        pytest.skip("no annotated pictures")
    content = json.loads((folder / "test_coco.json").read_text())
    assert tuple(content["categories"][0]["keypoints"]) == skeleton("coco").joints
    pairs = {tuple(pair) for pair in (np.array(content["categories"][0]["skeleton"]) - 1).tolist()}
    ours = {tuple(sorted(edge)) for edge in skeleton("coco").edges}
    assert {tuple(sorted(pair)) for pair in pairs} >= {edge for edge in ours if min(edge) > 4}
    checked = 0
    for person in content["annotations"]:
        points = np.array(person["keypoints"], float).reshape(17, 3)
        labelled = points[:, 2] > 0
        if not labelled.any():
            continue
        regions = fit_boxes(corners([person["bbox"]]), 1.25, 192 / 256)
        centre, size = regions[0, :2].numpy(), regions[0, 2:].numpy()
        cells = (points[:, :2] - centre + size / 2) / size * [47, 63]
        inside = labelled & (cells > 1).all(1) & (cells < [46, 62]).all(1)
        positions, confidence = decode_heatmaps(peaks(cells[None]))
        back, _ = in_frame(torch.cat([positions / torch.tensor([47.0, 63.0]), confidence[..., None]], -1), regions)
        error = np.abs(back[0].numpy() - points[:, :2]) / (size / [47, 63])
        assert error[inside].max(initial=0) < 0.2
        checked += inside.sum()
    assert checked > 100


@pytest.mark.parametrize("kind", ["vitpose", "plus"])
def test_pose_networks_in_batches_in_half_precision_and_from_the_hub(
    folders, kind, monkeypatch, checkpoint_folders, hub_cache
):
    estimator = PoseEstimator(str(folders[kind]), expert=0)
    crops = estimator.cut(
        torch.from_numpy(picture())[None].expand(3, -1, -1, -1), estimator.regions(corners(BOXES), 1.25)
    )
    many = estimator.heatmaps(crops)
    assert many.shape == (3, 17, 16, 12) and many.std() > 0.01
    for row in range(3):
        torch.testing.assert_close(estimator.heatmaps(crops[row : row + 1])[0], many[row], atol=1e-5, rtol=0)
    hub = PoseEstimator(checkpoint_folders.as_hub(folders[kind], hub_cache, f"someone/{kind}"), expert=0)
    torch.testing.assert_close(hub.heatmaps(crops), many, atol=0, rtol=0)
    half = PoseEstimator(str(folders[kind]), expert=0, runtime=Runtime(precision="bfloat16")).heatmaps(crops)
    assert (half != many).any()
    assert half.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(half.flatten(1), many.flatten(1)).min() > 0.999


def test_the_expert_of_vitpose_plus_is_asked_for_and_used(folders):
    crops = torch.rand(2, 3, 64, 48)
    results = [PoseEstimator(str(folders["plus"]), expert=k).heatmaps(crops) for k in (0, 3)]
    assert not torch.allclose(*results)
    model = PoseEstimator(str(folders["plus"]), expert=3).model
    with torch.no_grad():
        expected = model(crops, dataset_index=torch.tensor([3, 3])).heatmaps
    torch.testing.assert_close(results[1], expected)
    for expert in (None, 6, -1):
        with pytest.raises(StageError, match=r"ViTPose\+\+ with 6 experts; set motion\.poses\.expert: 0 COCO, 1 AI Ch"):
            PoseEstimator(str(folders["plus"]), expert=expert)
    PoseEstimator(str(folders["vitpose"]), expert=0)  # the plain network has no experts, and needs none
    with pytest.raises(StageError, match="gives 17 joints, the skeleton has 13"):
        PoseEstimator(str(folders["vitpose"]), n_joints=13)
    with pytest.raises(StageError, match="is a rt_detr; supported pose estimators are vitpose"):
        PoseEstimator(str(folders["detector"]))


def test_persons_are_those_of_the_published_post_processing(folders):
    detector = PersonDetector(str(folders["detector"]))
    frames = torch.from_numpy(np.stack([picture(120, 160), picture(120, 160)[:, ::-1]]))
    found = detector(detector.pixels(frames))
    assert found.shape == (2, 20, 5)
    with torch.no_grad():
        output = detector.model(pixel_values=detector.pixels(frames))
    for row, result in enumerate(
        RTDetrImageProcessorPil().post_process_object_detection(output, 0.1, target_sizes=[(120, 160)] * 2)
    ):
        person = result["labels"] == 0
        expected = torch.cat([result["boxes"][person], result["scores"][person, None]], 1).numpy()
        ours = found[row].numpy()
        ours = ours[ours[:, 4] > 0.1] * [160, 120, 160, 120, 1]
        # The published way keeps as many (box, class) pairs as there are boxes, so other classes can push persons out.
        assert 0 < len(expected) <= len(ours)
        np.testing.assert_allclose(ours[: len(expected)], expected, atol=1e-3)


def test_the_detector_in_batches_in_half_precision_and_from_the_hub(
    folders, monkeypatch, checkpoint_folders, hub_cache
):
    detector = PersonDetector(str(folders["detector"]))
    pixels = detector.pixels(torch.from_numpy(np.stack([picture(90, 120) // part for part in (1, 2, 3)])))
    assert pixels.shape == (3, 3, 64, 64) and pixels.min() >= 0 and pixels.max() <= 1
    many = detector(pixels)
    for row in range(3):
        torch.testing.assert_close(detector(pixels[row : row + 1])[0], many[row], atol=1e-4, rtol=0)
    hub = PersonDetector(checkpoint_folders.as_hub(folders["detector"], hub_cache, "someone/detector"))
    torch.testing.assert_close(hub(pixels), many)
    half = PersonDetector(str(folders["detector"]), runtime=Runtime(precision="bfloat16"))(pixels)
    assert (half != many).any()
    assert (half[..., 4] - many[..., 4]).abs().max() < 0.02


def test_boxes_are_cut_at_the_border_and_slivers_left_out():
    found = np.array([[-0.1, 0.2, 0.5, 1.2, 0.9], [0.2, 0.2, 0.201, 0.9, 0.8], [0.1, 0.1, 0.3, 0.3, 0.05]])
    np.testing.assert_allclose(in_pixels(found, 100, 200), [[0, 20, 100, 100, 0.9]])
    assert in_pixels(np.zeros((MAX_BOXES, 5)), 100, 200).shape == (0, 5)


def test_detectors_that_cannot_find_persons_are_told(folders, tmp_path):
    with pytest.raises(StageError, match="is a vitpose; supported person detectors are rt_detr"):
        PersonDetector(str(folders["vitpose"]))
    for path in folders["detector"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = {"0": "cat", "1": "dog", "2": "car"}
    config["label2id"] = {"cat": 0, "dog": 1, "car": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(StageError, match="knows no class `person`"):
        PersonDetector(str(tmp_path))


def test_the_picture_is_scaled_for_the_detector_as_published():
    from pipeline.encoding.pixels import Preprocessing
    from pipeline.motion.pose.detector import SETTINGS

    frame = picture()
    expected = np.asarray(Image.fromarray(frame).resize((640, 640), 2), np.float32) / 255
    ours = Preprocessing.of(SETTINGS, (640, 640))(torch.from_numpy(frame))
    assert np.abs(ours.numpy() - np.moveaxis(expected, -1, 0)).max() * 255 <= 2.01
