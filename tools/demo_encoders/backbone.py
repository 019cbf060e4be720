"""The demo's video encoder: a small ViT in VideoMAE's form on 16 frames of 112 x 112 pixels.

Unlike VideoMAE (Tong et al., NeurIPS 2022) it is trained with labels, because masked
reconstruction needs far more computation: motion, object and scene are read off the mean of its
last tokens by linear layers, the mean of one time slice says where the joints are, and every token
says which joints and which object it sees. The linear layers are no part of the checkpoint.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import VideoMAEConfig, VideoMAEModel

from pipeline.demo.classes import MOTIONS, OBJECTS, SCENES
from tools.demo_encoders.loop import fit, save_checkpoint
from tools.demo_encoders.mosaic import N_LABELS, paste_objects, patch_labels, pixel_labels
from tools.demo_encoders.pose import MIRRORED
from tools.demo_encoders.samples import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Samples,
    degrade,
    normalise,
)

INPUT_SIZE = 112
PATCH = 16
GRID = INPUT_SIZE // PATCH
N_FRAMES = 16
TUBELET = 2
N_SLICES = N_FRAMES // TUBELET
# VideoMAE tells tokens apart by sines of their position in one row of all 392 tokens. A token's
# column is then a linear function of them only where a sine has the length of a row: with 144
# channels columns explain 1 % of their variance, with 176, whose second sine repeats every 6.98
# tokens, their first harmonic is exact. A small network never finds the columns otherwise, and
# learns no motion.
HIDDEN_SIZE = 176
N_LAYERS = 5


@dataclass(frozen=True)
class Phase:
    """A stretch of the training: its share of the steps, and what one batch holds."""

    share: float
    slices: int
    clips: int


# Most of what the encoder must know, a single time slice tells, at an eighth of the cost of a clip.
_PHASES = (Phase(0.5, slices=1, clips=48), Phase(0.3, slices=3, clips=16), Phase(0.2, slices=8, clips=8))
_LEARNING_RATE = 1e-3
_LABEL_SMOOTHING = 0.05
# Fraction of the clips into which objects are pasted.
_MOSAICS = 0.4


def build_model() -> VideoMAEModel:
    """Returns an untrained video encoder; its feature is the mean of `last_hidden_state`."""
    return VideoMAEModel(
        VideoMAEConfig(
            image_size=INPUT_SIZE,
            patch_size=PATCH,
            num_frames=N_FRAMES,
            tubelet_size=TUBELET,
            hidden_size=HIDDEN_SIZE,
            num_hidden_layers=N_LAYERS,
            num_attention_heads=4,
            intermediate_size=3 * HIDDEN_SIZE,
            layer_norm_eps=1e-6,
        )
    )


def encode_slices(model: VideoMAEModel, pixels: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
    """Last tokens of some of a clip's time slices, as if the others were masked.

    `model(pixels, bool_masked_pos)` gives the same, but embeds the masked frames too.

    Args:
        pixels: `[B, 2 k, 3, 112, 112]`, the frames of k slices.
        slices: int64 `[B, k]`, which of the eight slices they are.

    Returns:
        `[B, k, 49, D]`.
    """
    batch, k = slices.shape
    patches = model.embeddings.patch_embeddings.projection(pixels.transpose(1, 2))  # [B, D, k, 7, 7]
    positions = model.embeddings.position_embeddings.view(N_SLICES, GRID * GRID, HIDDEN_SIZE)[slices]
    tokens = patches.flatten(3).permute(0, 2, 3, 1) + positions  # [B, k, 49, D]
    return model.encoder(tokens.flatten(1, 2)).last_hidden_state.view(batch, k, GRID * GRID, HIDDEN_SIZE)


def _standardised_linear(size: int) -> nn.Module:
    """A linear read-out of a mean token, whose channels are first standardised over the batch.

    What one of 49 tokens says changes their mean only a little; without this the read-outs of the
    mean, and what they teach the encoder, lag a thousand steps behind those of the tokens.
    """
    return nn.Sequential(nn.BatchNorm1d(HIDDEN_SIZE, affine=False), nn.Linear(HIDDEN_SIZE, size))


class Heads(nn.Module):
    """Linear read-outs that exist during training only."""

    def __init__(self) -> None:
        super().__init__()
        self.motion = _standardised_linear(len(MOTIONS))
        self.object = _standardised_linear(len(OBJECTS))
        self.scene = _standardised_linear(len(SCENES))
        self.posture = _standardised_linear(17 * 2)
        self.joints = nn.Linear(HIDDEN_SIZE, 17)
        self.patches = nn.Linear(HIDDEN_SIZE, N_LABELS)


def crop_box(rng: np.random.Generator, size: int) -> np.ndarray:
    """A square (x, y, side): the whole frame, or in half of the draws a large part of it."""
    if rng.uniform() < 0.5:
        return np.array([0.0, 0.0, size])
    side = rng.uniform(0.86, 1.0) * size
    return np.array([*rng.uniform(0, size - side, 2), side])


def resize_matrix(box: np.ndarray, size: int) -> np.ndarray:
    """Affine matrix `[2, 3]` that resizes a square box (x, y, side) to `size` x `size` pixels."""
    x, y, side = box
    scale = size / side
    return np.array([[scale, 0, (0.5 - x) * scale - 0.5], [0, scale, (0.5 - y) * scale - 0.5]])


def relative_to_hips(keypoints: np.ndarray) -> np.ndarray:
    """Key points `[..., 17, 2]` seen from the middle of the hips, `[..., 34]`, same unit."""
    return (keypoints - keypoints[..., 11:13, :].mean(axis=-2, keepdims=True)).reshape(*keypoints.shape[:-2], 34)


def usual_posture(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of joints relative to the hips, in input pixels, float32 `[34]` each."""
    keypoints = samples.keypoints.reshape(-1, 17, 2) * (INPUT_SIZE / samples.frames.shape[2])
    mirrored = keypoints[:, MIRRORED] * np.array([-1, 1], np.float32)
    posture = relative_to_hips(np.concatenate([keypoints, mirrored]))
    return posture.mean(axis=0), np.maximum(posture.std(axis=0), 1.0)


def _example(samples: Samples, row: int, slices: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Some slices of one clip, augmented.

    Images, per slice the tokens that hold the joints, per token the label, per slice the posture,
    and whether the clip shows just its own object.
    """
    shown_frames = (slices[:, None] * TUBELET + np.arange(TUBELET)).reshape(-1)  # [2 k]
    matrix = resize_matrix(crop_box(rng, samples.frames.shape[2]), INPUT_SIZE)
    flags = cv2.INTER_LINEAR if rng.uniform() < 0.6 else cv2.INTER_CUBIC
    frames = samples.frames[row, shown_frames]
    labels = pixel_labels(samples.masks[row, shown_frames], samples.factors[row, 1])  # [2 k, 128, 128]
    own = rng.uniform() >= _MOSAICS
    if not own:
        paste_objects(frames, labels, rng)
    # One tall image, so that all frames of a clip are degraded alike.
    images = degrade(
        np.concatenate([cv2.warpAffine(f, matrix, (INPUT_SIZE, INPUT_SIZE), flags=flags) for f in frames]),
        rng,
        grey=0.03,
    )
    images = images.reshape(-1, INPUT_SIZE, INPUT_SIZE, 3)
    patches = np.stack([patch_labels(label, matrix, GRID, PATCH) for label in labels[::TUBELET]])
    keypoints = samples.keypoints[row, shown_frames] @ matrix[:, :2].T + matrix[:, 2]  # [2 k, 17, 2]
    shown = samples.visible[row, shown_frames]
    if rng.uniform() < 0.5:
        images, patches = images[:, :, ::-1], patches[:, :, ::-1]
        keypoints, shown = keypoints[:, MIRRORED], shown[:, MIRRORED]
        keypoints[..., 0] = INPUT_SIZE - 1 - keypoints[..., 0]

    paired = keypoints.reshape(-1, TUBELET, 17, 2).mean(axis=1)  # [k, 17, 2]
    cells = np.floor((paired + 0.5) / PATCH).astype(np.int64)  # (x, y)
    valid = ((cells >= 0) & (cells < GRID)).all(axis=-1)
    valid &= shown.reshape(-1, TUBELET, 17).all(axis=1)
    cells = np.where(valid, cells @ [1, GRID], -1)  # [k, 17] token, or -1

    posture = relative_to_hips(paired).astype(np.float32)  # [k, 34]
    return images, cells, patches.reshape(len(slices), -1), posture, own


def phases(steps: int) -> Iterator[Phase]:
    """The phase of each of `steps` steps."""
    ends = np.cumsum([phase.share for phase in _PHASES]) * steps
    for step in range(steps):
        yield _PHASES[int((step >= ends[:-1]).sum())]


def batches(samples: Samples, steps: int, seed: int) -> Iterator[dict[str, torch.Tensor]]:
    """Augmented batches for `steps` steps; every clip is seen once before any is seen again."""
    rng = np.random.default_rng(seed)
    queue = np.empty(0, np.int64)
    for phase in phases(steps):
        if len(queue) < phase.clips:
            queue = np.concatenate([queue, rng.permutation(len(samples))])
        rows, queue = queue[: phase.clips], queue[phase.clips :]
        slices = np.sort(rng.permuted(np.tile(np.arange(N_SLICES), (phase.clips, 1)), axis=1)[:, : phase.slices])
        parts = zip(
            *(_example(samples, row, chosen, rng) for row, chosen in zip(rows, slices, strict=True)), strict=True
        )
        images, cells, patches, posture, own = (np.stack(part) for part in parts)
        yield {
            "pixels": torch.from_numpy(normalise(images, IMAGENET_MEAN, IMAGENET_STD)),
            "slices": torch.from_numpy(slices),
            "cells": torch.from_numpy(cells),
            "patches": torch.from_numpy(patches),
            "posture": torch.from_numpy(posture),
            "own": torch.from_numpy(own),
            "factors": torch.from_numpy(samples.factors[rows]),
        }


def train(samples: Samples, steps: int, folder: Path, seed: int = 0) -> None:
    """Trains the video encoder on all read-outs at once and saves it to `folder`.

    First on single time slices of many clips, in the end on whole clips.
    """
    torch.manual_seed(seed)
    model, heads = build_model(), Heads()
    usual, spread = map(torch.from_numpy, usual_posture(samples))
    patch_weights = torch.tensor([0.1, 0.2] + [1.0] * len(OBJECTS))
    smoothed = functools.partial(functional.cross_entropy, label_smoothing=_LABEL_SMOOTHING)

    def losses(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tokens = encode_slices(model, batch["pixels"], batch["slices"])  # [B, k, 49, D]
        feature = tokens.mean(dim=(1, 2))  # [B, D]
        motion, thing, scene = batch["factors"].unbind(1)
        own = batch["own"].float()
        return {
            "motion": smoothed(heads.motion(feature), motion),
            # Pasted objects leave open which one is meant.
            "object": (smoothed(heads.object(feature), thing, reduction="none") * own).mean(),
            "scene": smoothed(heads.scene(feature), scene),
            "posture": functional.mse_loss(
                heads.posture(tokens.mean(dim=2).flatten(0, 1)),
                ((batch["posture"] - usual) / spread).flatten(0, 1),
            ),
            # Softmax over the tokens of a slice; -1 is nowhere.
            "joints": functional.cross_entropy(
                heads.joints(tokens).flatten(0, 1), batch["cells"].flatten(0, 1), ignore_index=-1
            ),
            "patches": functional.cross_entropy(
                heads.patches(tokens).flatten(0, 2), batch["patches"].flatten(), weight=patch_weights
            ),
        }

    fit(
        nn.ModuleDict({"model": model, "heads": heads}),
        batches(samples, steps, seed),
        losses,
        steps,
        _LEARNING_RATE,
        checkpoint=lambda modules: save(modules["model"], folder),
    )


def save(model: VideoMAEModel, folder: Path) -> None:
    """Writes the checkpoint with the settings of its image processor."""
    save_checkpoint(model, folder)
    processor = {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": INPUT_SIZE},
        "do_center_crop": True,
        "crop_size": {"height": INPUT_SIZE, "width": INPUT_SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(IMAGENET_MEAN),
        "image_std": list(IMAGENET_STD),
        "resample": 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


@torch.inference_mode()
def features(model: VideoMAEModel, clips: np.ndarray) -> np.ndarray:
    """Mean of the last tokens of each clip, float32 `[N, D]`.

    Args:
        clips: uint8 RGB `[N, 16, H, H, 3]`.
    """
    rows = []
    for clip in clips:
        images = np.stack([cv2.resize(f, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_AREA) for f in clip])
        pixels = torch.from_numpy(normalise(images[None], IMAGENET_MEAN, IMAGENET_STD))
        rows.append(model(pixels).last_hidden_state.mean(dim=1)[0].numpy())
    return np.stack(rows)
