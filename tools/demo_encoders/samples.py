"""Rendered training clips, kept on disk so that they are drawn once, and image augmentation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.demo import clips, figure, scenery
from pipeline.demo.classes import MOTIONS, OBJECTS, SCENES
from pipeline.demo.clips import TRAINING_SEEDS, ClipSpec, render, sample_spec

FRAME_SIZE = 128
FRAMES_PER_CLIP = 16
MASK_STRIDE = 2
PERSON, OBJECT = 1, 2

# Held-out clips for measurements: the far end of the seeds that the demo never uses, and actors
# that neither the training clips (1000 and above) nor the demo (below 200) show.
HELD_OUT_SEEDS = range(TRAINING_SEEDS.stop - 100_000, TRAINING_SEEDS.stop)
HELD_OUT_ACTORS = range(500, 1000)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_FIELDS = {
    "frames": (np.uint8, (FRAMES_PER_CLIP, FRAME_SIZE, FRAME_SIZE, 3)),
    "masks": (
        np.uint8,
        (FRAMES_PER_CLIP, FRAME_SIZE // MASK_STRIDE, FRAME_SIZE // MASK_STRIDE),
    ),
    "keypoints": (np.float32, (FRAMES_PER_CLIP, 17, 2)),
    "visible": (np.bool_, (FRAMES_PER_CLIP, 17)),
    "factors": (np.int64, (3,)),
}
_CLIPS_PER_JOB = 32


@dataclass(frozen=True)
class Samples:
    """Sixteen frames of each of N clips, with ground truth.

    Attributes:
        frames: uint8 RGB `[N, 16, 128, 128, 3]`.
        masks: uint8 `[N, 16, 64, 64]`, 1 where the person is, 2 where the object is.
        keypoints: float32 `[N, 16, 17, 2]` pixels (x, y) of the 128-pixel frame.
        visible: bool `[N, 16, 17]`.
        factors: int64 `[N, 3]`, positions in MOTIONS, OBJECTS and SCENES.
    """

    frames: np.ndarray
    masks: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray
    factors: np.ndarray

    def __len__(self) -> int:
        return len(self.factors)


def training_spec(index: int) -> ClipSpec:
    """Returns training clip `index`: every factor drawn uniformly and independently."""
    return sample_spec(TRAINING_SEEDS[index])


def held_out_spec(index: int) -> ClipSpec:
    """Returns clip `index` for measurements: seeds and actors that no training clip has."""
    actor = HELD_OUT_ACTORS[index * 7 % len(HELD_OUT_ACTORS)]
    return sample_spec(HELD_OUT_SEEDS[index], actor=actor)


def frame_positions(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Sixteen increasing frame indices over the whole clip, int64 `[16]`.

    Half of the draws run from the first to the last frame, half take one place, the same random
    one, in each of sixteen equal segments: a user of the encoders may do either.
    """
    if rng.uniform() < 0.5:
        return np.linspace(0, n_frames - 1, FRAMES_PER_CLIP).round().astype(np.int64)
    starts = np.arange(FRAMES_PER_CLIP) + rng.uniform()
    return (starts * n_frames / FRAMES_PER_CLIP).astype(np.int64)


def factor_indices(spec: ClipSpec) -> tuple[int, int, int]:
    """Positions of a clip's motion, object and scene in their vocabularies."""
    return (
        MOTIONS.index(spec.motion),
        OBJECTS.index(spec.object),
        SCENES.index(spec.scene),
    )


def render_samples(specs: Sequence[ClipSpec]) -> Samples:
    """Renders sixteen frames of each clip into memory."""
    arrays = {name: np.empty((len(specs), *shape), dtype) for name, (dtype, shape) in _FIELDS.items()}
    for row, spec in enumerate(specs):
        positions = frame_positions(spec.n_frames, np.random.default_rng(spec.seed))
        clip = render(spec, size=FRAME_SIZE, frame_indices=positions)
        masks = PERSON * clip.person_mask.astype(np.uint8) + OBJECT * clip.object_mask
        arrays["frames"][row] = clip.frames
        arrays["masks"][row] = masks[:, ::MASK_STRIDE, ::MASK_STRIDE]
        arrays["keypoints"][row] = clip.keypoints
        arrays["visible"][row] = clip.visible
        arrays["factors"][row] = factor_indices(spec)
    return Samples(**arrays)


def renderer_digest() -> str:
    """Names the renderer's code, so that clips of an older renderer are never taken for its own."""
    digest = hashlib.sha256()
    for module in (figure, scenery, clips):
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()[:12]


def _render_into(folder: Path, start: int, stop: int) -> None:
    cv2.setNumThreads(1)
    samples = render_samples([training_spec(index) for index in range(start, stop)])
    for name in _FIELDS:
        array = np.load(folder / f"{name}.npy", mmap_mode="r+")
        array[start:stop] = getattr(samples, name)
        array.flush()


def training_samples(cache: Path, n_clips: int, workers: int = 2) -> Samples:
    """Opens the training clips below `cache`, rendering them first where they are absent.

    A folder appears under its name only when all of its clips have been rendered.
    """
    folder = cache / f"clips-{renderer_digest()}-{n_clips}"
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
        unfinished.mkdir(parents=True)
        for name, (dtype, shape) in _FIELDS.items():
            np.lib.format.open_memmap(unfinished / f"{name}.npy", mode="w+", dtype=dtype, shape=(n_clips, *shape))
        with ProcessPoolExecutor(workers) as pool:
            jobs = [
                pool.submit(_render_into, unfinished, start, min(start + _CLIPS_PER_JOB, n_clips))
                for start in range(0, n_clips, _CLIPS_PER_JOB)
            ]
            for job in jobs:
                job.result()
        unfinished.rename(folder)
    return Samples(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _FIELDS})


def degrade(image: np.ndarray, rng: np.random.Generator, grey: float = 0.0) -> np.ndarray:
    """Changes an RGB image `[H, W, 3]` uint8 the way cameras and codecs do.

    Contrast and brightness, a tint, blur or lossy compression, noise; and with probability `grey`
    the loss of colour.
    """
    image = image.astype(np.float32)
    if rng.uniform() < 0.6:
        gain = rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
        image = (image - 128) * gain + 128 + rng.uniform(-25, 25)
    if rng.uniform() < grey:
        image = np.repeat(image @ np.float32([0.299, 0.587, 0.114])[:, None], 3, axis=-1)
    if rng.uniform() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.0))
    if rng.uniform() < 0.2:
        image += rng.uniform(2, 9) * rng.standard_normal(image.shape, dtype=np.float32)
    image = np.clip(image, 0, 255).astype(np.uint8)
    if rng.uniform() < 0.3:
        quality = int(rng.integers(40, 95))
        _, code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1]
    return image


def normalise(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Scales uint8 images `[..., H, W, 3]` to float32 with channels first `[..., 3, H, W]`."""
    result = np.empty((*images.shape[:-3], 3, *images.shape[-3:-1]), np.float32)
    for channel in range(3):
        target = result[..., channel, :, :]
        np.multiply(images[..., channel], np.float32(1 / (255 * std[channel])), out=target)
        target -= np.float32(mean[channel] / std[channel])
    return result
