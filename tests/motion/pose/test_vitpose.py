from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

from pipeline.demo.clips import render, sample_spec
from pipeline.encoding.checkpoints import weights_digest
from pipeline.jobs.stage import StageError
from pipeline.motion.pose.vitpose import PoseEstimator, crop, decode_heatmaps, fit_boxes, in_frame
from pipeline.motion.skeleton import mirrored, skeleton


def gaussian(x: float, y: float, height: int = 32, width: int = 24, sigma: float = 2.0) -> torch.Tensor:
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


def test_boxes_get_the_aspect_of_the_network_and_the_padding():
    boxes = torch.tensor([[10.0, 20.0, 50.0, 100.0], [0.0, 0.0, 90.0, 30.0]])
    fitted = fit_boxes(boxes, 1.25, 0.75)
    # 40 × 80: the height decides, 80 · 0.75 = 60 wide; 90 × 30: the width decides.
    np.testing.assert_allclose(fitted, [[30, 60, 75, 100], [45, 15, 112.5, 150]])


def test_crop_of_the_whole_frame_is_the_frame():
    frames = torch.rand(2, 3, 12, 9)
    regions = torch.tensor([[4.0, 5.5, 8.0, 11.0]]).repeat(2, 1)
    torch.testing.assert_close(crop(frames, regions, 12, 9), frames, atol=1e-5, rtol=0)


def test_crop_maps_edges_to_edges_and_is_zero_outside():
    frame = torch.zeros(1, 1, 20, 20)
    frame[0, 0, 4, 6] = 1
    cut = crop(frame, torch.tensor([[8.0, 7.0, 4.0, 6.0]]), 7, 5)  # x 6…10, y 4…10
    assert cut[0, 0, 0, 0] == pytest.approx(1, abs=1e-5)
    assert cut.sum() == pytest.approx(1, abs=1e-4)
    outside = crop(torch.ones(1, 1, 20, 20), torch.tensor([[0.0, 0.0, 10.0, 10.0]]), 11, 11)
    assert outside[0, 0, 0, 0] == 0 and outside[0, 0, -1, -1] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("x", "y"), [(10.0, 12.0), (10.3, 12.4), (7.75, 20.2), (15.5, 8.9)])
def test_maxima_are_found_between_the_cells(x, y):
    positions, confidence = decode_heatmaps(0.8 * gaussian(x, y)[None, None])
    np.testing.assert_allclose(positions[0, 0], [x, y], atol=0.05)
    assert confidence[0, 0] == pytest.approx(0.8, abs=0.06)


def test_flat_and_border_maps_give_finite_positions():
    maps = torch.stack([torch.zeros(32, 24), gaussian(0, 0), gaussian(23, 31), -torch.ones(32, 24)])[None]
    positions, confidence = decode_heatmaps(maps)
    assert torch.isfinite(positions).all()
    np.testing.assert_allclose(positions[0, 1], [0, 0], atol=1)
    np.testing.assert_allclose(positions[0, 2], [23, 31], atol=1)
    assert confidence[0, 0] == 0 and confidence[0, 3] == 0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny ViTPose with random weights, saved as the real ones are."""
    folder = tmp_path_factory.mktemp("vitpose")
    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48],
        patch_size=[16, 16],
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        out_indices=[1],
    )
    VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]})
    )
    return folder


def pose_in(
    estimator: PoseEstimator, frames: torch.Tensor, boxes: torch.Tensor, padding: float, flip_test: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keypoints ``[n, J, 2]`` in pixels of the frames, and confidences ``[n, J]``."""
    regions = estimator.regions(boxes, padding)
    return in_frame(estimator.poses(estimator.cut(frames, regions), flip_test), regions)


def test_a_batch_of_one_equals_a_batch_of_many():
    """On a trained network: the maxima of a random one are ties that rounding decides."""
    estimator = PoseEstimator("pipeline/demo/encoders/pose", mirrored=mirrored(skeleton("coco")))
    clip = render(sample_spec(20_000_000), frame_indices=[0, 10, 20, 30])
    frames = torch.from_numpy(clip.frames)
    boxes = torch.tensor([[0, 0, 127, 127], [10, 5, 120, 125], [20, 0, 110, 127], [0, 0, 127, 127]])
    for flip_test in (False, True):
        many, sure = pose_in(estimator, frames, boxes, 1.1, flip_test)
        assert many.shape == (4, 17, 2) and sure.shape == (4, 17)
        for row in range(4):
            one, _ = pose_in(estimator, frames[row : row + 1], boxes[row : row + 1], 1.1, flip_test)
            torch.testing.assert_close(one[0], many[row], atol=0.05, rtol=0)


def test_keypoints_come_back_in_pixels_of_the_frame():
    """A person that is shifted together with its box has keypoints shifted by as much."""
    estimator = PoseEstimator("pipeline/demo/encoders/pose")
    clip = render(sample_spec(20_000_001), frame_indices=[5])
    wide = torch.zeros(1, 200, 220, 3, dtype=torch.uint8)
    wide[0, 10:138, 20:148] = torch.from_numpy(clip.frames[0])
    moved = torch.roll(wide, (30, 45), (1, 2))
    here, _ = pose_in(estimator, wide, torch.tensor([[20, 10, 147, 137]]), 1.0)
    there, _ = pose_in(estimator, moved, torch.tensor([[65, 40, 192, 167]]), 1.0)
    torch.testing.assert_close(there, here + torch.tensor([45.0, 30.0]), atol=0.05, rtol=0)


def test_what_cannot_be_loaded_is_told(tmp_path, checkpoint, hub_cache):
    with pytest.raises(StageError, match=r"`no/such` \(revision main\) is not in the local cache"):
        PoseEstimator("no/such")
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    torch.save({"weights": torch.zeros(1)}, tmp_path / "pytorch_model.bin")  # a pickle is never opened
    with pytest.raises(StageError, match="safetensors"):
        PoseEstimator(str(tmp_path))


def test_the_demo_poses_are_what_they_always_were():
    """Numbers of the code before there was more than one architecture; the demo's figures rest on them."""
    if not weights_digest("pipeline/demo/encoders/pose").startswith("e5d057dbad83b8e7"):
        pytest.skip("the demo's encoder was trained again since these numbers were noted")
    clip = render(sample_spec(20_000_000), frame_indices=[0])
    estimator = PoseEstimator("pipeline/demo/encoders/pose")
    points, sure = pose_in(estimator, torch.from_numpy(clip.frames), torch.tensor([[0, 0, 127, 127]]), 1.0)
    expected = [[76.3829, 41.2298], [78.3481, 39.216], [74.7214, 38.9144]]
    np.testing.assert_allclose(points[0, :3], expected, atol=2e-3)
    np.testing.assert_allclose(sure[0, :3], [0.79045, 0.80859, 0.80208], atol=1e-3)
