"""Random views of clips: crop, flip, RandAugment, colour jitter; drawn per clip, applied in batches on the device.

Magnitudes are those of the "increasing" set of RandAugment (Cubuk et al. 2020) that VideoMAE trains with: from 0 to 10,
more is always further from the picture. Which numbers a clip draws depends on its own generator alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from pipeline.backbone.finetuning import operations
from pipeline.backbone.settings import Finetune

MAX_LEVEL = 10.0
# Each chosen operation is applied with this probability, as in the implementation that VideoMAE uses.
APPLY = 0.5
ASPECT_RATIO = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10


@dataclass(frozen=True)
class Operation:
    """One operation of RandAugment.

    Attributes:
        apply: see `operations`.
        strength: level in 0…1 and a sign → its argument.
        moves: it moves pixels, so it needs a colour for what comes in from outside.
    """

    apply: Callable[..., torch.Tensor]
    strength: Callable[[float, int], float]
    moves: bool = False


def _enhance(level: float, sign: int) -> float:
    return 1 + sign * 0.9 * level


def _nothing(level: float, sign: int) -> float:
    return 0.0


RAND_AUGMENT: tuple[Operation, ...] = (
    Operation(operations.autocontrast, _nothing),
    Operation(operations.equalise, _nothing),
    Operation(operations.invert, _nothing),
    Operation(operations.rotate, lambda level, sign: sign * 30 * level, moves=True),
    Operation(operations.posterise, lambda level, sign: max(1, 4 - int(4 * level))),  # without any bit all is black
    Operation(operations.solarise, lambda level, sign: 256 - int(256 * level)),
    Operation(operations.solarise_add, lambda level, sign: int(110 * level)),
    Operation(operations.colour, _enhance),
    Operation(operations.contrast, _enhance),
    Operation(operations.brightness, _enhance),
    Operation(operations.sharpness, _enhance),
    Operation(operations.shear_x, lambda level, sign: sign * 0.3 * level, moves=True),
    Operation(operations.shear_y, lambda level, sign: sign * 0.3 * level, moves=True),
    Operation(operations.translate_x, lambda level, sign: sign * 0.45 * level, moves=True),
    Operation(operations.translate_y, lambda level, sign: sign * 0.45 * level, moves=True),
)
JITTER = (operations.brightness, operations.contrast, operations.colour)


@dataclass(frozen=True)
class View:
    """What happens to one clip.

    Attributes:
        box: top, left, height, width of the crop in pixels; flip: mirrored or not.
        steps: operations in their order, with their arguments.
    """

    box: tuple[int, int, int, int]
    flip: bool
    steps: list[tuple[Callable[..., torch.Tensor], float, bool]] = field(default_factory=list)


def random_box(
    height: int, width: int, scale: tuple[float, float], random: np.random.Generator
) -> tuple[int, int, int, int]:
    """A part of the picture: area uniform in ``scale``, aspect ratio log-uniform in 3/4…4/3 (Szegedy et al. 2015)."""
    for _ in range(CROP_ATTEMPTS):
        area = random.uniform(*scale) * height * width
        ratio = math.exp(random.uniform(*map(math.log, ASPECT_RATIO)))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1)), h, w
    side = min(height, width)  # nothing fitted: the middle square
    return (height - side) // 2, (width - side) // 2, side, side


def draw_view(settings: Finetune, height: int, width: int, random: np.random.Generator) -> View:
    """The view of one clip in one epoch, in the order of the supplement: crop, flip, RandAugment, colour jitter."""
    box = random_box(height, width, settings.crop_scale, random)
    flip = settings.flip and random.random() < 0.5
    steps = []
    for number in random.integers(0, len(RAND_AUGMENT), settings.rand_augment_operations):
        operation = RAND_AUGMENT[number]
        level = random.normal(settings.rand_augment_magnitude, settings.rand_augment_std)
        sign = -1 if random.random() < 0.5 else 1
        if random.random() < APPLY:
            strength = operation.strength(min(max(level, 0.0), MAX_LEVEL) / MAX_LEVEL, sign)
            steps.append((operation.apply, float(strength), operation.moves))
    if settings.colour_jitter:
        low, high = max(0.0, 1 - settings.colour_jitter), 1 + settings.colour_jitter
        steps += [(JITTER[number], random.uniform(low, high), False) for number in random.permutation(len(JITTER))]
    return View(box, flip, steps)


def augment(clips: torch.Tensor, views: list[View], size: int, fill: torch.Tensor) -> torch.Tensor:
    """Clips as their views show them.

    Args:
        clips: uint8 ``[n, T, H, W, 3]``.
        views: of each clip.
        size: side of the result in pixels.
        fill: colour ``[3]`` in 0…255 of what comes in from outside the picture.

    Returns:
        uint8 ``[n, T, 3, size, size]``.
    """
    pictures = clips.movedim(-1, 2)  # [n, T, 3, H, W]
    result = torch.stack(
        [
            operations.crop_and_resize(clip, view.box, size, view.flip)
            for clip, view in zip(pictures, views, strict=True)
        ]
    )
    for position in range(max((len(view.steps) for view in views), default=0)):
        # Clips whose operation at this position is the same go through it together.
        together: dict[tuple[Callable[..., torch.Tensor], bool], list[int]] = {}
        for row, view in enumerate(views):
            if position < len(view.steps):
                apply, _, moves = view.steps[position]
                together.setdefault((apply, moves), []).append(row)
        for (apply, moves), rows in together.items():
            strength = torch.tensor([views[row].steps[position][1] for row in rows], device=clips.device)
            result[rows] = apply(result[rows], strength, fill) if moves else apply(result[rows], strength)
    return result
