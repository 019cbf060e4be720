"""What is minimised: equations 5 and 7, and the specifications that a video is trained under."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.methods.proda.settings import Loss


class Specification(NamedTuple):
    """SAPs ``[B, C]`` of 0 and 1, and what each branch is to say ``[B, C + 1]``; the last is "no action"."""

    prompt: Tensor
    specified: Tensor
    unspecified: Tensor


def correlation(a: Tensor, b: Tensor, present: Tensor, over: str = "video") -> Tensor:
    """Pearson's coefficient of two branches ``[B, N, M, D]`` over all values that are present.

    Returns:
        ``[B]``, or ``[1]`` with ``over="batch"``; 0 where nothing varies.
    """
    mask = present[..., None].to(a).expand_as(a)
    axes = (1, 2, 3) if over == "video" else (0, 1, 2, 3)
    count = mask.sum(axes, keepdim=True).clamp(min=1)
    a = (a - (a * mask).sum(axes, keepdim=True) / count) * mask
    b = (b - (b * mask).sum(axes, keepdim=True) / count) * mask
    found = (a * b).sum(axes) / ((a**2).sum(axes) * (b**2).sum(axes)).clamp(min=1e-12).sqrt()
    return found.reshape(-1)


def disentanglement(a: Tensor, b: Tensor, present: Tensor, margin: float, settings: Loss) -> Tensor:
    """Equation 5."""
    return torch.relu(correlation(a, b, present, settings.correlation).abs() - margin).mean()


def reconstruction(target: Tensor, found: Tensor, present: Tensor, settings: Loss) -> Tensor:
    """Equation 7, the mean of squares per video; the target is not detached."""
    mask = present[..., None].to(found)
    squares = ((target - found) ** 2 * mask).sum((1, 2, 3))
    count = mask.sum((1, 2, 3)) * found.shape[-1]
    if settings.reconstruction == "batch":
        squares, count = squares.sum(0, keepdim=True), count.sum(0, keepdim=True)
    return torch.relu(squares / count.clamp(min=1) - settings.margin_reconstruct).mean()


def margin_at(settings: Loss, progress: float) -> float:
    """m₁ at a part of the training, 0 to 1."""
    return 0.7 - 0.5 * progress if settings.margins == "annealed" else settings.margin_disentangle


def draw_prompt(labels: np.ndarray, actions: int, asked: int, recipe: str, draw: np.random.Generator) -> np.ndarray:
    """One SAP as indices of actions: any of the 2L + 1 of a video (section C), or K of all actions.

    Args:
        labels: indices of the video's actions.
        recipe: ``independent``: K of all, labels unread; ``mixed``: every second time 1 to K of all, labels unread.
    """
    asked = min(asked, actions)
    if recipe == "independent":
        return draw.choice(actions, asked, replace=False)
    if recipe == "mixed" and draw.random() < 0.5:
        return draw.choice(actions, int(draw.integers(1, asked + 1)), replace=False)
    number = int(draw.integers(2 * len(labels) + 1))
    if number < len(labels):
        return draw.choice(labels, number + 1, replace=False)
    return injected(labels, number - len(labels), actions, asked, draw)


def injected(labels: np.ndarray, true: int, actions: int, asked: int, draw: np.random.Generator) -> np.ndarray:
    """A SAP of that many true labels, at most K, filled with absent ones up to K, as far as there are any."""
    true = min(true, asked)
    absent = np.setdiff1d(np.arange(actions), labels)
    filled = min(asked - true, len(absent))
    return np.concatenate(
        [draw.choice(labels, true, replace=False), draw.choice(absent, filled, replace=False)]
    ).astype(int)


def specify(truth: np.ndarray, ids: list[str], asked: int, recipe: str, seed: int, epoch: int) -> Specification:
    """One SAP per video and its targets.

    Args:
        truth: bool ``[B, C]``.
        ids: of the videos; the draw depends on seed, id and epoch alone.
    """
    actions = truth.shape[1]
    prompt = np.zeros(truth.shape, bool)
    for row, key in enumerate(ids):
        draw = np.random.default_rng([seed, epoch, *key.encode()])
        prompt[row, draw_prompt(np.flatnonzero(truth[row]), actions, asked, recipe, draw)] = True
    return targets(truth, prompt)


def targets(truth: np.ndarray, prompt: np.ndarray) -> Specification:
    """y∧SAP and y∧UAP, each with "no action" alone where it is empty."""

    def with_none(y: np.ndarray) -> Tensor:
        return torch.from_numpy(np.concatenate([y, ~y.any(1, keepdims=True)], 1).astype(np.float32))

    return Specification(
        torch.from_numpy(prompt.astype(np.float32)), with_none(truth & prompt), with_none(truth & ~prompt)
    )
