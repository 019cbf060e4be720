"""The demo's pose encoder: a small ViTPose (Xu et al., NeurIPS 2022) on 128 x 128 pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

from pipeline.demo.training.loop import fit, save_checkpoint
from pipeline.demo.training.samples import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Samples,
    degrade,
    normalise,
)

INPUT_SIZE = 128
HEATMAP_SIZE = 32
# COCO joints after a mirror image: left and right change places.
MIRRORED = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15])

# 1.7 heat map pixels is the width of the hat function that the simple decoder's bilinear
# upsampling draws with, so it is the Gaussian that this decoder can fit best.
_SIGMA = 1.7
# A joint under an object is guessed from the rest of the body: its peak stays low, so that the
# confidence says so.
_HIDDEN_PEAK = 0.4
_HIDDEN_WEIGHT = 0.5
_LOSS_SCALE = 1000.0
_BOX_PADDING = 1.25
_BATCH = 64
_LEARNING_RATE = 1.5e-3


def build_model() -> VitPoseForPoseEstimation:
    """Returns an untrained pose model for 17 COCO joints with 32 x 32 heat maps."""
    backbone = VitPoseBackboneConfig(
        image_size=[INPUT_SIZE, INPUT_SIZE],
        patch_size=[16, 16],
        hidden_size=128,
        num_hidden_layers=5,
        num_attention_heads=4,
        mlp_ratio=3,
        layer_norm_eps=1e-6,
        out_indices=[5],
    )
    config = VitPoseConfig(
        backbone_config=backbone, use_simple_decoder=True, scale_factor=4, num_labels=17
    )
    return VitPoseForPoseEstimation(config)


def box_to_input(box: np.ndarray) -> np.ndarray:
    """Affine matrix `[2, 3]` from image pixels to the model's input for a square box (x, y, side).

    The box's edges fall on the first and the last pixel centre of the input, as unbiased data
    processing (Huang et al., CVPR 2020) and the ViTPose processor have it.
    """
    x, y, side = box
    scale = (INPUT_SIZE - 1) / side
    return np.array([[scale, 0, -x * scale], [0, scale, -y * scale]])


def person_box(keypoints: np.ndarray) -> np.ndarray:
    """The square (x, y, side) around key points `[17, 2]`, padded by 1.25 as ViTPose does."""
    low, high = keypoints.min(axis=0), keypoints.max(axis=0)
    # Key points end at the ankles and the eyes; the body goes on.
    side = 1.1 * (high - low).max() * _BOX_PADDING
    return np.array([*((low + high) / 2 - side / 2), side])


def _random_box(keypoints: np.ndarray, frame_size: int, rng: np.random.Generator) -> np.ndarray:
    choice = rng.uniform()
    if choice < 0.4:
        return np.array([0.0, 0.0, frame_size])
    if choice < 0.5:
        margin = (_BOX_PADDING - 1) / 2 * frame_size
        return np.array([-margin, -margin, _BOX_PADDING * frame_size])
    if choice < 0.9:
        x, y, side = person_box(keypoints)
        wider, shift = rng.uniform(0.85, 1.4), rng.uniform(-0.1, 0.1, 2) * side
        corner = np.array([x, y]) - (wider - 1) * side / 2 + shift
        return np.array([*corner, wider * side])
    side = rng.uniform(0.4, 1.2) * frame_size
    return np.array([*rng.uniform(-0.1, 1.1 - side / frame_size, 2) * frame_size, side])


def _example(
    frame: np.ndarray, keypoints: np.ndarray, visible: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One augmented input image with its key points in input pixels and visibility."""
    matrix = box_to_input(_random_box(keypoints, frame.shape[0], rng))
    if rng.uniform() < 0.4:
        turn = cv2.getRotationMatrix2D((INPUT_SIZE / 2, INPUT_SIZE / 2), rng.normal(0, 12), 1.0)
        matrix = turn @ np.vstack([matrix, [0, 0, 1]])
    border = cv2.BORDER_CONSTANT if rng.uniform() < 0.7 else cv2.BORDER_REPLICATE
    image = cv2.warpAffine(frame, matrix, (INPUT_SIZE, INPUT_SIZE), borderMode=border)
    keypoints = keypoints @ matrix[:, :2].T + matrix[:, 2]
    if rng.uniform() < 0.5:
        image = image[:, ::-1]
        keypoints = keypoints[MIRRORED]
        keypoints[:, 0] = INPUT_SIZE - 1 - keypoints[:, 0]
        visible = visible[MIRRORED]
    if rng.uniform() < 0.15:
        image = image[..., rng.permutation(3)]
    return degrade(image, rng, grey=0.15), keypoints, visible


def heatmap_targets(keypoints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian heat maps and the weight of each joint in the loss.

    Args:
        keypoints: `[B, 17, 2]` input pixels (x, y).
        visible: bool `[B, 17]`.

    Returns:
        float32 `[B, 17, 32, 32]` and float32 `[B, 17]`.
    """
    centre = keypoints * (HEATMAP_SIZE - 1) / (INPUT_SIZE - 1)
    grid = np.arange(HEATMAP_SIZE)
    profile = np.exp(-((grid - centre[..., None]) ** 2) / (2 * _SIGMA**2))  # [B, 17, 2, 32]
    maps = profile[..., 1, :, None] * profile[..., 0, None, :]  # [B, 17, 32, 32]
    inside = ((keypoints >= 0) & (keypoints <= INPUT_SIZE - 1)).all(axis=-1)
    maps *= np.where(visible, 1.0, _HIDDEN_PEAK)[..., None, None] * inside[..., None, None]
    weights = np.where(visible | ~inside, 1.0, _HIDDEN_WEIGHT)
    return maps.astype(np.float32), weights.astype(np.float32)


def batches(samples: Samples, seed: int) -> Iterator[dict[str, torch.Tensor]]:
    """Endless augmented batches of single frames."""
    rng = np.random.default_rng(seed)
    while True:
        rows = rng.integers(len(samples), size=_BATCH)
        columns = rng.integers(samples.frames.shape[1], size=_BATCH)
        examples = [
            _example(
                samples.frames[row, column],
                samples.keypoints[row, column].astype(np.float64),
                samples.visible[row, column],
                rng,
            )
            for row, column in zip(rows, columns, strict=True)
        ]
        images, keypoints, visible = (np.stack(parts) for parts in zip(*examples, strict=True))
        maps, weights = heatmap_targets(keypoints, visible)
        yield {
            "pixels": torch.from_numpy(normalise(images, IMAGENET_MEAN, IMAGENET_STD)),
            "maps": torch.from_numpy(maps),
            "weights": torch.from_numpy(weights),
        }


def train(samples: Samples, steps: int, folder: Path, seed: int = 0) -> None:
    """Trains the pose encoder by regression of Gaussian heat maps and saves it to `folder`."""
    torch.manual_seed(seed)
    model = build_model()
    model.head.to(memory_format=torch.channels_last)  # halves the time of its convolution

    def losses(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        error = (model(batch["pixels"]).heatmaps - batch["maps"]) ** 2  # [B, 17, 32, 32]
        return {"heatmaps": _LOSS_SCALE * (error.mean(dim=(2, 3)) * batch["weights"]).mean()}

    fit(
        nn.ModuleDict({"model": model}),
        batches(samples, seed),
        losses,
        steps,
        _LEARNING_RATE,
        checkpoint=lambda modules: save(modules["model"], folder),
    )


def save(model: VitPoseForPoseEstimation, folder: Path) -> None:
    """Writes the checkpoint with the settings of its image processor."""
    save_checkpoint(model, folder)
    processor = {
        "image_processor_type": "VitPoseImageProcessor",
        "do_affine_transform": True,
        "do_rescale": True,
        "do_normalize": True,
        "normalize_factor": 200.0,
        "rescale_factor": 1 / 255,
        "image_mean": list(IMAGENET_MEAN),
        "image_std": list(IMAGENET_STD),
        "size": {"height": INPUT_SIZE, "width": INPUT_SIZE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


@torch.inference_mode()
def predict(
    model: VitPoseForPoseEstimation, frames: np.ndarray, boxes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Key points of one person per frame, by the heat maps' peaks refined as in DARK.

    The refinement takes the vertex of a parabola through the logarithm of the peak and its
    neighbours (Zhang et al., CVPR 2020, without the mixed derivative).

    Args:
        frames: uint8 RGB `[F, H, W, 3]`.
        boxes: square boxes (x, y, side) in pixels `[F, 3]`; without them, the whole frame, which
            must then be square.

    Returns:
        Pixels (x, y) `[F, 17, 2]` and confidences (peak heights) `[F, 17]`.
    """
    if boxes is None:
        boxes = np.tile([0.0, 0.0, frames.shape[1]], (len(frames), 1))
    inputs = [
        cv2.warpAffine(frame, box_to_input(box), (INPUT_SIZE, INPUT_SIZE))
        for frame, box in zip(frames, boxes, strict=True)
    ]
    pixels = torch.from_numpy(normalise(np.stack(inputs), IMAGENET_MEAN, IMAGENET_STD))
    maps = torch.cat([model(part).heatmaps for part in pixels.split(_BATCH)]).numpy()
    count, joints, size, _ = maps.shape
    best = maps.reshape(count, joints, -1).argmax(axis=-1)
    peak = np.stack([best % size, best // size], axis=-1)  # [F, 17, 2] (x, y)
    logs = np.log(np.clip(np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge"), 1e-3, None))
    f, j = np.ogrid[:count, :joints]
    x, y = peak[..., 0] + 1, peak[..., 1] + 1
    middle = logs[f, j, y, x]
    offsets = []
    for dx, dy in ((1, 0), (0, 1)):
        after, before = logs[f, j, y + dy, x + dx], logs[f, j, y - dy, x - dx]
        curvature = np.minimum(after - 2 * middle + before, -1e-6)
        offsets.append(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5))
    refined = peak + np.stack(offsets, axis=-1)
    side = boxes[:, None, 2:]
    return refined / (size - 1) * side + boxes[:, None, :2], maps.max(axis=(2, 3))


def correct_fraction(
    predicted: np.ndarray, keypoints: np.ndarray, visible: np.ndarray, fraction: float = 0.1
) -> float:
    """PCK: the fraction of visible joints within `fraction` of the longer side of the person's box.

    Args:
        predicted, keypoints: `[F, 17, 2]`.
        visible: bool `[F, 17]`.
    """
    side = (keypoints.max(axis=1) - keypoints.min(axis=1)).max(axis=-1)  # [F]
    distance = np.linalg.norm(predicted - keypoints, axis=-1)
    return float((distance <= fraction * side[:, None])[visible].mean())
