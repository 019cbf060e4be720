"""Relations that boxes alone tell."""

from __future__ import annotations

import numpy as np

NAMES = ("near", "contact", "above", "below", "inside", "around")
# Gap between two boxes, as a part of the picture's side, below which they are near.
NEAR = 0.1
# Part of a box that must lie in the other one for inside.
INSIDE = 0.9


def relations(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What holds between boxes: bool ``[..., 6]`` in the order of `NAMES`, of x1, y1, x2, y2 ``[..., 4]``.

    ``near`` leaves a gap, ``contact`` none; ``above`` and ``inside`` are of the source, ``below`` and ``around`` their
    inverses. The vertical ones want boxes that overlap horizontally, and their centres outside of each other.
    """
    gap = np.maximum(np.maximum(source[..., :2] - target[..., 2:], target[..., :2] - source[..., 2:]), 0)
    distance = np.linalg.norm(gap, axis=-1)
    contact = distance == 0
    beside = gap[..., 0] > 0
    middle = [(box[..., 1] + box[..., 3]) / 2 for box in (source, target)]
    above = ~beside & (middle[0] < target[..., 1])
    below = ~beside & (middle[1] < source[..., 1])
    inner, outer = _part_in(source, target) >= INSIDE, _part_in(target, source) >= INSIDE
    return np.stack([~contact & (distance < NEAR), contact, above, below, inner, outer], -1)


def _part_in(box: np.ndarray, other: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[..., :2], other[..., :2]), np.minimum(box[..., 2:], other[..., 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    return common / np.maximum((box[..., 2:] - box[..., :2]).prod(-1), 1e-9)
