"""Further objects pasted into training pictures.

A clip shows one object, which covers few pixels and changes little within the clip. Pasting five
more of random kinds, places and colours lets every picture teach six objects instead of one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.demo.classes import OBJECTS
from pipeline.demo.scenery import OBJECT_KINDS, Sprite, draw_object, paint_sprite
from tools.demo_encoders.samples import FRAME_SIZE, MASK_STRIDE, OBJECT, PERSON

# Labels of pixels and patches: background, person, then the kinds of object.
BACKGROUND_LABEL, PERSON_LABEL, FIRST_OBJECT_LABEL = 0, 1, 2
N_LABELS = FIRST_OBJECT_LABEL + len(OBJECTS)

_SPRITES_PER_KIND = 300
_PASTED = 5
_MIN_OBJECT, _MIN_PERSON = 0.12, 0.2
_SUBCELLS = 4


@functools.cache
def _sprites() -> tuple[tuple[Sprite, ...], ...]:
    """A bank of drawn objects: for each kind, sprites of random size and colours."""
    rng = np.random.default_rng(7101)
    return tuple(
        tuple(
            draw_object(kind, FRAME_SIZE * rng.uniform(*OBJECT_KINDS[kind].extent), rng)
            for _ in range(_SPRITES_PER_KIND)
        )
        for kind in OBJECTS
    )


def pixel_labels(masks: np.ndarray, kind: int) -> np.ndarray:
    """Labels at full size, uint8 `[..., 128, 128]`, from cached masks `[..., 64, 64]`."""
    table = np.zeros(3, np.uint8)
    table[PERSON], table[OBJECT] = PERSON_LABEL, FIRST_OBJECT_LABEL + kind
    return table[masks].repeat(MASK_STRIDE, axis=-1).repeat(MASK_STRIDE, axis=-2)


def paste_objects(images: Sequence[np.ndarray], labels: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Pastes the same random objects into every frame, in place, and returns where.

    Args:
        images: RGB frames `[H, W, 3]` uint8; labels: their pixel labels `[H, W]` uint8.

    Returns:
        The objects' centres, pixels (x, y), `[5, 2]`.
    """
    size = images[0].shape[0]
    centres = rng.uniform(0.06, 0.94, (_PASTED, 2)) * size
    for centre in centres:
        kind = int(rng.integers(len(OBJECTS)))
        sprite = _sprites()[kind][rng.integers(_SPRITES_PER_KIND)]
        degrees = rng.uniform(-180, 180) if rng.uniform() < 0.25 else rng.normal(0, 20)
        stretch = rng.uniform(0.7, 1.0)
        for image, label in zip(images, labels, strict=True):
            paint_sprite(
                image,
                label,
                FIRST_OBJECT_LABEL + kind,
                sprite,
                (0.5, 0.5),
                centre,
                float(degrees),
                float(stretch),
            )
    return centres


def patch_labels(labels: np.ndarray, matrix: np.ndarray, grid: int, patch: int) -> np.ndarray:
    """What each patch of the model's input shows, int64 `[grid, grid]`.

    An object that covers an eighth of the patch, else the person, else the background.

    Args:
        labels: pixel labels `[H, W]`.
        matrix: affine matrix `[2, 3]` from image pixels to input pixels.
    """
    fine = grid * _SUBCELLS
    small = matrix * (_SUBCELLS / patch)
    resized = cv2.warpAffine(labels, small, (fine, fine), flags=cv2.INTER_NEAREST)
    cells = resized.reshape(grid, _SUBCELLS, grid, _SUBCELLS).swapaxes(1, 2).reshape(grid, grid, -1)
    share = (cells[..., None] == np.arange(N_LABELS)).mean(axis=2)  # [grid, grid, N_LABELS]
    objects = share[..., FIRST_OBJECT_LABEL:]
    result = np.where(share[..., PERSON_LABEL] > _MIN_PERSON, PERSON_LABEL, BACKGROUND_LABEL)
    covered = objects.sum(axis=-1) > _MIN_OBJECT
    return np.where(covered, FIRST_OBJECT_LABEL + objects.argmax(axis=-1), result).astype(np.int64)
