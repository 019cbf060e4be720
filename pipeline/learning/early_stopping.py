"""The end of training: where validation no longer improves, with the weights that were best."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.store.atomic import StageError

# Part of a loss that is not its rounding: sums of float32 differ by less than this between processors.
LOSS_ROUNDING = 1e-6


@dataclass(frozen=True)
class Schedule:
    """How something is trained by Adam on mini-batches, and when that ends.

    Attributes:
        max_steps: upper limit.
        eval_every: steps between two evaluations.
        patience: evaluations without improvement before stopping; the best weights are restored.
        seed: of the mini-batches.
    """

    learning_rate: float = 1e-3
    batch_size: int = 512
    max_steps: int = 10_000
    eval_every: int = 50
    patience: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Stopped:
    """What a training came to.

    Attributes:
        weight: the best one.
        n_steps: optimizer steps before it.
        steps, losses: ``[n_evaluations]``, optimizer steps before each evaluation, the first 0, and what it said.
    """

    weight: torch.Tensor
    n_steps: int
    steps: np.ndarray
    losses: np.ndarray


class NotFinite(StageError, ValueError):
    """A training that leads nowhere; which settings and features do, only the data tell."""


def is_lower(loss: float, best: float, plateau: float = -LOSS_ROUNDING) -> bool:
    """Whether a validation loss is an improvement, and not the same one in other last digits.

    On a plateau, which evaluation is the best would otherwise be decided by the processor's way of adding.

    Args:
        plateau: part of the loss by which it may be above the best; a negative one asks for so much improvement.
    """
    return best - loss > -plateau * abs(loss)


def descent(
    weights: list[torch.Tensor], objective: Callable[[], torch.Tensor], schedule: Schedule
) -> Callable[[int], int]:
    """``advance`` of `train_until_worse`: steps of Adam on an objective, which draws its own batch."""
    optimizer = torch.optim.Adam(weights, lr=schedule.learning_rate)

    def advance(limit: int) -> int:
        for _ in range(min(schedule.eval_every, limit)):
            optimizer.zero_grad()
            objective().backward()
            optimizer.step()
        return min(schedule.eval_every, limit)

    return advance


def train_until_worse(
    weight: torch.Tensor,
    advance: Callable[[int], int],
    validation: Callable[[], float],
    schedule: Schedule,
    plateau: float = -LOSS_ROUNDING,
) -> Stopped:
    """Train until the validation loss no longer improves, as the schedule says.

    Args:
        weight: what is trained, in place.
        advance: takes some steps between two evaluations, at most as many as it is given, and returns how many it took;
            0 where nothing is left to learn.
        validation: the loss now.
        plateau: see `is_lower`.

    Raises:
        NotFinite: the loss is not.
    """
    steps, losses = [0], []
    best, chosen, lowest = weight, 0, math.inf
    while True:
        with torch.no_grad():
            losses.append(validation())
        if not math.isfinite(losses[-1]):
            raise NotFinite(
                f"the loss is not finite after {steps[-1]} steps; lower learning_rate or look at the features"
            )
        if is_lower(losses[-1], lowest, plateau):
            best, chosen, lowest = weight.detach().clone(), len(losses) - 1, min(lowest, losses[-1])
        if len(losses) - 1 - chosen >= schedule.patience:
            break
        left = schedule.max_steps - steps[-1]
        taken = advance(left) if left > 0 else 0
        if not taken:
            break
        steps.append(steps[-1] + taken)
    return Stopped(best, steps[chosen], np.array(steps), np.array(losses))
