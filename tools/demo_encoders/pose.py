"""The demo's pose encoder: a small ViTPose (Xu et al., NeurIPS 2022) on 128 x 128 pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

from pipeline.demo.classes import OBJECTS, SCENES
from tools.demo_encoders.loop import fit, save_checkpoint
from tools.demo_encoders.samples import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MASK_STRIDE,
    OBJECT,
    Samples,
    degrade,
    normalise,
)

INPUT_SIZE = 128
HEATMAP_SIZE = 32
PATCH = 16
GRID = INPUT_SIZE // PATCH
HIDDEN_SIZE = 144
N_LAYERS = 5
# COCO joints after a mirror image: left and right change places.
MIRRORED = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15])

# 1.7 heat map pixels is the width of the hat function that the simple decoder's bilinear
# upsampling draws with, so it is the Gaussian that this decoder can fit best.
_SIGMA = 1.7
# A joint under an object is guessed from the rest of the body: its peak stays low, so that the
# confidence says so.
_HIDDEN_PEAK = 0.4
_HIDDEN_WEIGHT = 0.5
_MIN_COVERAGE = 0.12
_LOSS_SCALE = 300.0
_BOX_PADDING = 1.25
_BATCH = 32
_LEARNING_RATE = 1e-3


def build_model() -> VitPoseForPoseEstimation:
    """Returns an untrained pose model for 17 COCO joints with 32 x 32 heat maps."""
    backbone = VitPoseBackboneConfig(
        image_size=[INPUT_SIZE, INPUT_SIZE],
        patch_size=[PATCH, PATCH],
        hidden_size=HIDDEN_SIZE,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        mlp_ratio=3,
        layer_norm_eps=1e-6,
        out_indices=[N_LAYERS],
    )
    config = VitPoseConfig(backbone_config=backbone, use_simple_decoder=True, scale_factor=4, num_labels=17)
    model = VitPoseForPoseEstimation(config)
    # Small random positions, the default, delay by hundreds of steps that tokens learn their place.
    with torch.no_grad():
        positions = torch.from_numpy(planar_positions(GRID, HIDDEN_SIZE))
        model.backbone.embeddings.position_embeddings[0, 1:] = 0.5 * positions
    return model


def planar_positions(grid: int, size: int) -> np.ndarray:
    """Sines and cosines of the column and the row of each cell, float32 `[grid * grid, size]`."""
    frequencies = np.pi / 2 ** np.linspace(0, np.log2(2 * grid), size // 4)
    angles = (np.arange(grid) + 0.5)[:, None] * frequencies
    line = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # [grid, size / 2]
    columns, rows = np.tile(line, (grid, 1)), np.repeat(line, grid, axis=0)
    return np.concatenate([columns, rows], axis=1).astype(np.float32)


def decode(head: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """The simple decoder's heat maps, computed an order of magnitude faster than by itself.

    Upsampling and the 3 x 3 convolution after it are linear, so the convolution's channel mixing
    can be done on the small grid, and the rest is a product with two small matrices.

    Args:
        head: transformers' VitPoseSimpleDecoder.
        tokens: `[B, GRID * GRID, D]`.

    Returns:
        `[B, 17, 32, 32]`.
    """
    weight, bias = head.conv.weight, head.conv.bias  # [17, D, 3, 3], [17]
    unit = torch.eye(GRID)[None]  # each row upsampled along the other axis
    line = functional.interpolate(unit, HEATMAP_SIZE, mode="linear", align_corners=False)[0].T
    padded = functional.pad(line, (0, 0, 1, 1))  # [34, GRID]
    shifted = torch.stack([padded[k : k + HEATMAP_SIZE] for k in range(3)], dim=1)
    shifted = shifted.flatten(1)  # [32, 3 * GRID]
    mixed = head.activation(tokens) @ weight.permute(1, 0, 2, 3).flatten(1)  # [B, cells, 17 * 9]
    mixed = mixed.view(len(tokens), GRID, GRID, 17, 3, 3)
    mixed = mixed.permute(0, 3, 4, 1, 5, 2).flatten(4).flatten(2, 3)  # [B, 17, 3 y, 3 x]
    return shifted @ mixed @ shifted.T + bias[:, None, None]


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
    frame: np.ndarray,
    mask: np.ndarray,
    keypoints: np.ndarray,
    visible: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One augmented input image, its patches' object coverage, key points and visibility."""
    matrix = box_to_input(_random_box(keypoints, frame.shape[0], rng))
    if rng.uniform() < 0.4:
        turn = cv2.getRotationMatrix2D((INPUT_SIZE / 2, INPUT_SIZE / 2), rng.normal(0, 12), 1.0)
        matrix = turn @ np.vstack([matrix, [0, 0, 1]])
    border = cv2.BORDER_CONSTANT if rng.uniform() < 0.7 else cv2.BORDER_REPLICATE
    image = cv2.warpAffine(frame, matrix, (INPUT_SIZE, INPUT_SIZE), borderMode=border)
    keypoints = keypoints @ matrix[:, :2].T + matrix[:, 2]
    # From mask pixels to a quarter of the input's.
    small = matrix * [[MASK_STRIDE / 4, MASK_STRIDE / 4, 1 / 4]]
    coverage = cv2.warpAffine((mask == OBJECT).astype(np.float32), small, (4 * GRID, 4 * GRID))
    coverage = coverage.reshape(GRID, 4, GRID, 4).mean(axis=(1, 3))
    if rng.uniform() < 0.5:
        image, coverage = image[:, ::-1], coverage[:, ::-1]
        keypoints = keypoints[MIRRORED]
        keypoints[:, 0] = INPUT_SIZE - 1 - keypoints[:, 0]
        visible = visible[MIRRORED]
    if rng.uniform() < 0.15:
        image = image[..., rng.permutation(3)]
    return degrade(image, rng, grey=0.15), coverage.reshape(-1), keypoints, visible


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
                samples.masks[row, column],
                samples.keypoints[row, column].astype(np.float64),
                samples.visible[row, column],
                rng,
            )
            for row, column in zip(rows, columns, strict=True)
        ]
        parts = (np.stack(part) for part in zip(*examples, strict=True))
        images, coverage, keypoints, visible = parts
        maps, weights = heatmap_targets(keypoints, visible)
        cells = np.floor((keypoints + 0.5) / PATCH).astype(np.int64)  # [B, 17, 2] (x, y)
        inside = ((cells >= 0) & (cells < GRID)).all(axis=-1)
        objects = np.where(coverage > _MIN_COVERAGE, samples.factors[rows, 1, None] + 1, 0)
        yield {
            "pixels": torch.from_numpy(normalise(images, IMAGENET_MEAN, IMAGENET_STD)),
            "maps": torch.from_numpy(maps),
            "weights": torch.from_numpy(weights),
            "cells": torch.from_numpy(np.clip(cells, 0, GRID - 1) @ [1, GRID]),
            "located": torch.from_numpy(visible & inside),
            "objects": torch.from_numpy(objects),
            "scenes": torch.from_numpy(samples.factors[rows, 2]),
        }


def train(samples: Samples, steps: int, folder: Path, seed: int = 0) -> None:
    """Trains the pose encoder by regression of Gaussian heat maps and saves it to `folder`.

    Beside it, linear read-outs of the tokens, which are no part of the checkpoint, say which
    patch holds each joint (a far better guide than heat maps at first), and which object and
    scene they see: the other encoders start from this one.
    """
    torch.manual_seed(seed)
    model = build_model()
    heads = nn.ModuleDict(
        {
            "joints": nn.Linear(HIDDEN_SIZE, 17),
            "objects": nn.Linear(HIDDEN_SIZE, len(OBJECTS) + 1),
            "scenes": nn.Linear(HIDDEN_SIZE, len(SCENES)),
        }
    )
    object_weights = torch.tensor([0.1] + [1.0] * len(OBJECTS))

    def losses(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tokens = model.backbone(batch["pixels"]).feature_maps[-1]  # [B, 64, D]
        error = (decode(model.head, tokens) - batch["maps"]) ** 2  # [B, 17, 32, 32]
        places = heads["joints"](tokens).transpose(1, 2)[batch["located"]]  # [n, 64]
        return {
            "heatmaps": _LOSS_SCALE * (error.mean(dim=(2, 3)) * batch["weights"]).mean(),
            "joints": functional.cross_entropy(places, batch["cells"][batch["located"]]),
            "objects": functional.cross_entropy(
                heads["objects"](tokens).flatten(0, 1),
                batch["objects"].flatten(),
                weight=object_weights,
            ),
            "scenes": 0.3 * functional.cross_entropy(heads["scenes"](tokens.mean(dim=1)), batch["scenes"]),
        }

    fit(
        nn.ModuleDict({"model": model, "heads": heads}),
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


def correct_fraction(predicted: np.ndarray, keypoints: np.ndarray, visible: np.ndarray, fraction: float = 0.1) -> float:
    """PCK: the fraction of visible joints within `fraction` of the longer side of the person's box.

    Args:
        predicted, keypoints: `[F, 17, 2]`.
        visible: bool `[F, 17]`.
    """
    side = (keypoints.max(axis=1) - keypoints.min(axis=1)).max(axis=-1)  # [F]
    distance = np.linalg.norm(predicted - keypoints, axis=-1)
    return float((distance <= fraction * side[:, None])[visible].mean())
