"""The recipe as pure functions: schedule, layer-wise decay, groups of parameters, order of the clips.

Everything random is a function of (seed, epoch, clip): the result does not depend on how a batch is divided among
processes and micro-batches, and a training that was killed needs no state of a random generator to go on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.backbone.settings import Finetune

# The batch that base learning rates are given for (Goyal et al. 2017, as in VideoMAE and the supplement).
REFERENCE_BATCH = 256
# Floor of the warm-up and of the cosine (VideoMAE), as a base learning rate.
LOWEST_RATE = 1e-6


@dataclass(frozen=True)
class Course:
    """Sizes of one training.

    Attributes:
        batch: clips per step, all processes together.
        steps_per_epoch: whole batches of an epoch; the clips that are left over differ from epoch to epoch.
        epochs, warmup_epochs: as configured.
        peak: learning rate of the head at the end of the warm-up.
        lowest: learning rate at the very beginning and at the end.
    """

    batch: int
    steps_per_epoch: int
    epochs: int
    warmup_epochs: float
    peak: float
    lowest: float

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine; of the head, at one step."""
        warmup = min(round(self.warmup_epochs * self.steps_per_epoch), self.steps)
        if step < warmup:
            return self.lowest + (self.peak - self.lowest) * step / max(1, warmup - 1)
        done = (step - warmup) / max(1, self.steps - warmup - 1)
        return self.lowest + 0.5 * (self.peak - self.lowest) * (1 + math.cos(math.pi * done))


def course(settings: Finetune, n_train: int) -> Course:
    """Batches, and learning rates by the linear scaling rule: base rate × batch / 256."""
    batch = min(settings.batch_size, n_train)
    scale = batch / REFERENCE_BATCH
    return Course(
        batch,
        n_train // batch,
        settings.epochs,
        settings.warmup_epochs,
        settings.base_learning_rate * scale,
        LOWEST_RATE * scale,
    )


def layer_of(name: str, depth: int) -> int:
    """Depth of a parameter for layer-wise decay (BEiT): 0 the embedding, i + 1 block i, depth + 1 the head."""
    if ".embeddings." in name:
        return 0
    _, found, rest = name.partition(".encoder.layer.")
    return int(rest.partition(".")[0]) + 1 if found else depth + 1


def parameter_groups(
    named: Iterable[tuple[str, torch.nn.Parameter]], depth: int, layer_decay: float, weight_decay: float
) -> list[dict]:
    """Groups for AdamW: ``scale`` is the factor of the learning rate; biases and norms have no weight decay."""
    groups: dict[tuple[int, bool], dict] = {}
    for name, parameter in named:
        layer, free = layer_of(name, depth), parameter.ndim <= 1
        group = groups.setdefault(
            (layer, free),
            {
                "params": [],
                "scale": layer_decay ** (depth + 1 - layer),
                "weight_decay": 0.0 if free else weight_decay,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def drop_rates(depth: int, highest: float) -> np.ndarray:
    """Drop path rate of every block, rising linearly from 0 (Huang et al. 2016): float64 ``[depth]``."""
    return np.linspace(0, highest, depth)


def batch_of(step: int, plan: Course, n_train: int, seed: int) -> np.ndarray:
    """Clips of one step, int64 ``[batch]``, out of a permutation of every epoch's own."""
    epoch, position = divmod(step, plan.steps_per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(n_train)
    return order[position * plan.batch : (position + 1) * plan.batch]


def share(rows: np.ndarray, rank: int, processes: int, micro_batch: int) -> list[np.ndarray]:
    """The micro-batches of one process in a step.

    Args:
        rows: clips of the step, ``[batch]``.
        rank, processes: which process of how many.
        micro_batch: clips that go through the network at a time; gradients of all of them are summed.
    """
    own = np.array_split(rows, processes)[rank]
    return np.array_split(own, math.ceil(len(own) / micro_batch))


def draw_clip(n_views: int, n: int, sampling: str, random: np.random.Generator) -> np.ndarray:
    """Which view of a video each frame of a clip comes from, int64 ``[n]``; see `pipeline.data.views`.

    ``uniform``: some frame of each segment, independently of the others (VideoMAE on SSv2, after TSN,
    Wang et al. 2016); ``dense``: one view, which is a clip that begins somewhere (VideoMAE on Kinetics).
    """
    return random.integers(0, n_views, n) if sampling == "uniform" else np.full(n, random.integers(0, n_views))


def random_of(seed: int, epoch: int, row: int) -> np.random.Generator:
    """The random numbers of one clip in one epoch."""
    # The third number keeps clips apart from the epoch's permutation, which has two.
    return np.random.default_rng([seed, epoch, row + 1])


def random_of_frames(seed: int, epoch: int, row: int) -> np.random.Generator:
    """The random numbers that choose the frames of one video in one epoch."""
    # Apart from those of `random_of`: how many views there are changes no crop and no augmentation.
    return np.random.default_rng([seed, epoch, row + 1, 1])
