"""The demo's video encoder: a small ViT in VideoMAE's form on 16 frames of 112 x 112 pixels.

Unlike VideoMAE (Tong et al., NeurIPS 2022) it is trained with labels, because masked
reconstruction needs far more computation: motion, object and scene are read off the mean of its
last tokens by linear layers, and every token says which joints and which object it sees. The
linear layers are no part of the checkpoint.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import VideoMAEConfig, VideoMAEModel, VitPoseForPoseEstimation

from pipeline.demo.classes import MOTIONS, OBJECTS, SCENES
from pipeline.demo.training.loop import fit, save_checkpoint
from pipeline.demo.training.mosaic import N_LABELS, paste_objects, patch_labels, pixel_labels
from pipeline.demo.training.pose import HIDDEN_SIZE, MIRRORED, N_LAYERS
from pipeline.demo.training.samples import (
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
N_TUBELETS = N_FRAMES // TUBELET

_BATCH = 16
_LEARNING_RATE = 1e-3
_LABEL_SMOOTHING = 0.05
# Fraction of the clips into which objects are pasted.
_MOSAICS = 0.4
_MASKED_STEPS = 0.8
_HIDDEN_FRACTION = 0.75


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


def start_from_pose(model: VideoMAEModel, encoder: VitPoseForPoseEstimation) -> None:
    """Gives the video encoder the pose encoder's weights, which know a person and objects.

    Each frame of a tubelet gets half of the patch embedding. What is left out has no place in the
    video encoder: learned positions, the key bias (which attention ignores) and the last norm.
    """
    weights = {}
    for name, value in encoder.backbone.state_dict().items():
        renamed = name.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        weights[renamed] = value
    patches = weights.pop("embeddings.patch_embeddings.projection.weight")  # [D, 3, 16, 16]
    inflated = patches[:, :, None].expand(-1, -1, TUBELET, -1, -1) / TUBELET
    weights["embeddings.patch_embeddings.projection.weight"] = inflated
    missing, _ = model.load_state_dict(weights, strict=False)
    if missing:
        raise ValueError(f"the pose encoder has no {', '.join(missing)}")


class Heads(nn.Module):
    """Linear read-outs that exist during training only."""

    def __init__(self) -> None:
        super().__init__()
        self.motion = nn.Linear(HIDDEN_SIZE, len(MOTIONS))
        self.object = nn.Linear(HIDDEN_SIZE, len(OBJECTS))
        self.scene = nn.Linear(HIDDEN_SIZE, len(SCENES))
        self.spread = nn.Linear(HIDDEN_SIZE, 17 * 2)
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


def _example(samples: Samples, row: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """One augmented clip.

    Images, per token joints and label, the joints' spread, and whether the clip shows just its
    own object.
    """
    matrix = resize_matrix(crop_box(rng, samples.frames.shape[2]), INPUT_SIZE)
    flags = cv2.INTER_LINEAR if rng.uniform() < 0.6 else cv2.INTER_CUBIC
    frames = samples.frames[row]
    labels = pixel_labels(samples.masks[row], samples.factors[row, 1])  # [16, 128, 128]
    own = rng.uniform() >= _MOSAICS
    if not own:
        frames = frames.copy()
        paste_objects(frames, labels, rng)
    # One tall image, so that all frames of a clip are degraded alike.
    images = degrade(
        np.concatenate([cv2.warpAffine(f, matrix, (INPUT_SIZE, INPUT_SIZE), flags=flags) for f in frames]),
        rng,
        grey=0.03,
    )
    images = images.reshape(N_FRAMES, INPUT_SIZE, INPUT_SIZE, 3)
    patches = np.stack([patch_labels(label, matrix, GRID, PATCH) for label in labels[::TUBELET]])
    keypoints = samples.keypoints[row] @ matrix[:, :2].T + matrix[:, 2]  # [16, 17, 2]
    shown = samples.visible[row]
    if rng.uniform() < 0.5:
        images, patches = images[:, :, ::-1], patches[:, :, ::-1]
        keypoints, shown = keypoints[:, MIRRORED], shown[:, MIRRORED]
        keypoints[..., 0] = INPUT_SIZE - 1 - keypoints[..., 0]

    paired = keypoints.reshape(N_TUBELETS, TUBELET, 17, 2).mean(axis=1)
    cells = np.floor((paired + 0.5) / PATCH).astype(np.int64)  # [8, 17, 2] (x, y)
    valid = ((cells >= 0) & (cells < GRID)).all(axis=-1)
    valid &= shown.reshape(N_TUBELETS, TUBELET, 17).all(axis=1)
    joints = np.zeros((N_TUBELETS, GRID, GRID, 17), np.float32)
    tubelet, joint = np.nonzero(valid)
    x, y = cells[tubelet, joint].T
    joints[tubelet, y, x, joint] = 1

    hips = keypoints[:, 11:13].mean(axis=1, keepdims=True)
    spread = (keypoints - hips).std(axis=0).reshape(-1) / PATCH  # [34]
    return images, joints.reshape(-1, 17), patches.reshape(-1), spread.astype(np.float32), own


def batches(samples: Samples, seed: int) -> Iterator[dict[str, torch.Tensor]]:
    """Endless augmented batches; every clip is seen once before any is seen again."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(samples))
        for start in range(0, len(order) - _BATCH + 1, _BATCH):
            rows = order[start : start + _BATCH]
            parts = zip(*(_example(samples, row, rng) for row in rows), strict=True)
            images, joints, patches, spread, own = (np.stack(part) for part in parts)
            yield {
                "pixels": torch.from_numpy(normalise(images, IMAGENET_MEAN, IMAGENET_STD)),
                "joints": torch.from_numpy(joints),
                "patches": torch.from_numpy(patches),
                "spread": torch.from_numpy(spread),
                "own": torch.from_numpy(own),
                "factors": torch.from_numpy(samples.factors[rows]),
            }


def _hidden_tokens(count: int, generator: torch.Generator) -> torch.Tensor:
    """Hides random tokens of each clip, bool `[count, 392]`."""
    n_tokens = N_TUBELETS * GRID * GRID
    order = torch.rand(count, n_tokens, generator=generator).argsort(dim=1)
    return order < round(_HIDDEN_FRACTION * n_tokens)


def train(samples: Samples, steps: int, folder: Path, seed: int = 0) -> None:
    """Trains the video encoder on all read-outs at once and saves it to `folder`.

    It starts from the pose encoder, which must already be beside `folder`.
    For the first 80 % of the steps it sees a random quarter of each clip's tokens, as VideoMAE
    does: several times as many clips in the same time.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model, heads = build_model(), Heads()
    start_from_pose(model, VitPoseForPoseEstimation.from_pretrained(folder.parent / "pose"))
    patch_weights = torch.tensor([0.1, 0.2] + [1.0] * len(OBJECTS))
    smoothed = functools.partial(functional.cross_entropy, label_smoothing=_LABEL_SMOOTHING)
    step = iter(range(steps))

    def losses(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        joints, patches = batch["joints"], batch["patches"]  # [B, 392, 17], [B, 392]
        hidden = None
        if next(step) < _MASKED_STEPS * steps:
            hidden = _hidden_tokens(len(joints), generator)
            joints = joints[~hidden].view(len(joints), -1, 17)
            patches = patches[~hidden].view(len(patches), -1)
        tokens = model(batch["pixels"], bool_masked_pos=hidden).last_hidden_state  # [B, n, D]
        feature = tokens.mean(dim=1)  # [B, D]
        motion, thing, scene = batch["factors"].unbind(1)
        own = batch["own"].float()
        terms = {
            "motion": smoothed(heads.motion(feature), motion),
            # Pasted objects leave open which one is meant.
            "object": (smoothed(heads.object(feature), thing, reduction="none") * own).mean(),
            "scene": smoothed(heads.scene(feature), scene),
            "spread": functional.mse_loss(heads.spread(feature), batch["spread"]),
            "joints": 4 * functional.binary_cross_entropy_with_logits(heads.joints(tokens), joints),
            "patches": functional.cross_entropy(
                heads.patches(tokens).flatten(0, 1), patches.flatten(), weight=patch_weights
            ),
        }
        return terms

    fit(
        nn.ModuleDict({"model": model, "heads": heads}),
        batches(samples, seed),
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
