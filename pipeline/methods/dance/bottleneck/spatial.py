"""Spatial concept layers: a 1×1 convolution without bias from feature maps to concept maps (SALF-CBM 3.3 and 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from pipeline.learning.early_stopping import Schedule, descent, train_until_worse
from pipeline.methods.dance.bottleneck.layers import ConceptLayer, cubed_cosine_columns, epochs

# Validation pictures that a look at the loss takes at most: a similarity over so many is sure enough.
EVALUATED = 2048
# Pictures at a time where sums over all of them are formed.
BLOCK = 512


def slices_of_frames(frames: np.ndarray, n_frames: int, n_slices: int) -> np.ndarray:
    """The slice of the feature maps in which each prompted frame lies.

    Args:
        frames: positions in the clip, ``[K]``; n_frames: of the clip; n_slices: S of the feature maps.

    Returns:
        int64 ``[K]`` in [0, S).
    """
    return np.asarray(frames) * n_slices // n_frames


@dataclass(frozen=True)
class SpatialData:
    """Pictures with their prompts: feature maps and region embeddings of the same places.

    Attributes:
        maps: float16 ``[n, p, D]``; regions: float16 ``[n, p, E]``; texts: float32 ``[t, E]``.
        text_of: the concept of each text, int64 ``[t]``, the texts of a concept behind each other.
    """

    maps: torch.Tensor
    regions: torch.Tensor
    texts: torch.Tensor
    text_of: torch.Tensor

    @classmethod
    def of(
        cls,
        maps: np.ndarray,
        regions: np.ndarray,
        texts: np.ndarray,
        slices: np.ndarray,
        text_of: np.ndarray | None = None,
    ) -> SpatialData:
        """Every prompted frame of every clip as one picture.

        Args:
            maps: ``[n, S, h, w, D]``; regions: ``[n, K, h, w, E]``; texts: ``[t, E]``.
            slices: the slice of each prompted frame, ``[K]``.
            text_of: the concept of each text; without it each is one.
        """
        return cls(
            torch.from_numpy(np.ascontiguousarray(maps[:, slices])).flatten(0, 1).flatten(1, 2),
            torch.from_numpy(np.ascontiguousarray(regions)).flatten(0, 1).flatten(1, 2),
            torch.from_numpy(np.ascontiguousarray(texts, np.float32)),
            torch.from_numpy(np.arange(len(texts)) if text_of is None else np.asarray(text_of, np.int64)),
        )

    @property
    def n_concepts(self) -> int:
        return int(self.text_of[-1]) + 1

    def __len__(self) -> int:
        return len(self.maps)

    def rows(self, chosen: torch.Tensor | slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps ``[b, p, D]`` and similarities ``[b, p, M]``, P of SALF-CBM 3.2, formed only here."""
        regions = functional.normalize(self.regions[chosen].float(), dim=-1)
        scores = regions @ self.texts.T
        if self.n_concepts < len(self.texts):  # a concept of several texts is where any of them is
            place = self.text_of.expand(scores.shape)
            scores = scores.new_zeros(*scores.shape[:-1], self.n_concepts).scatter_reduce(
                -1, place, scores, "amax", include_self=False
            )
        return self.maps[chosen].float(), scores

    def blocks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for start in range(0, len(self), BLOCK):
            yield self.rows(slice(start, start + BLOCK))


def similarity(z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The similarity in loss (1) of SALF-CBM, over pictures, per place and concept.

    Args:
        z: concept maps ``[n, p, M]``; target: prompt similarities ``[n, p, M]``.

    Returns:
        ``[p, M]``; 0 where a column is constant.
    """
    return cubed_cosine_columns(z.flatten(1), target.flatten(1)).unflatten(0, z.shape[1:])


@dataclass(frozen=True)
class _Moments:
    """Within-place second moments of the training pictures: covariance ``[D, D]``, cross ``[D, M]``, spread ``[M]``."""

    covariance: torch.Tensor
    cross: torch.Tensor
    spread: torch.Tensor

    @property
    def variance(self) -> float:
        return float(self.covariance.diagonal().mean())


def _moments(data: SpatialData, projection: torch.Tensor) -> _Moments:
    """Moments of the maps as they are after the projection ``[D, D]``."""
    (places, width), concepts = data.maps.shape[1:], data.n_concepts
    gram = torch.zeros(width, width, dtype=torch.float64)
    cross = torch.zeros(width, concepts, dtype=torch.float64)
    square = torch.zeros(concepts, dtype=torch.float64)
    sum_x = torch.zeros(places, width, dtype=torch.float64)
    sum_t = torch.zeros(places, concepts, dtype=torch.float64)
    for x, target in data.blocks():
        x, target = x.double(), target.double()
        gram += torch.einsum("npd,npe->de", x, x)
        cross += torch.einsum("npd,npm->dm", x, target)
        square += (target**2).sum((0, 1))
        sum_x += x.sum(0)
        sum_t += target.sum(0)
    total = len(data) * places
    gram -= sum_x.T @ sum_x / len(data)
    cross -= sum_x.T @ sum_t / len(data)
    square -= (sum_t**2).sum(0) / len(data)
    gram, cross = projection @ gram @ projection.T, projection @ cross
    return _Moments(gram / total, cross / total, (square / total).clamp_min(0).sqrt())


def train_spatial_layer(
    train: SpatialData,
    val: SpatialData,
    *,
    projection: np.ndarray | None = None,
    weight_decay: float = 0.0,
    ridge: float = 0.1,
    **schedule: Any,
) -> ConceptLayer:
    """Minimise loss (1) of SALF-CBM by Adam on mini-batches of pictures; its mean over places and concepts.

    Places and concepts are independent in the loss but share the weights of a concept over all places. The start is the
    ridge regression of the similarities within each place, because the loss has no gradient at zero.

    Args:
        train, val: pictures; val decides when to stop. The best weights are restored.
        projection: ``[D, D]`` that the layer sees every place through, see `pipeline.methods.dance.bottleneck.leakage`.
        weight_decay: λ of λ/2 ‖w‖² s² / var(z), as of `pipeline.methods.dance.bottleneck.layers.train_text_layer`.
        ridge: regularisation of the start, as a part of the mean variance of a feature.
        schedule: see `pipeline.learning.early_stopping.Schedule`.

    Returns:
        weights scaled so that a concept's map varies by a standard deviation of 1 within a place.

    Raises:
        ValueError: there are fewer than two pictures in a split, or the loss is not finite.
    """
    if min(len(train), len(val)) < 2:
        raise ValueError(
            f"a similarity over pictures needs at least 2 of them; there are {len(train)} training and {len(val)} "
            f"validation pictures with prompts"
        )
    onto = torch.eye(train.maps.shape[-1]).double() if projection is None else torch.from_numpy(projection).double()
    moments = _moments(train, onto)
    # A step projects the weights: there are far fewer of them than places.
    onto = onto.float()
    regular = moments.covariance + max(ridge * moments.variance, 1e-12) * torch.eye(len(moments.covariance)).double()
    flat = moments.spread <= 1e-9
    scaled = moments.cross / torch.where(flat, torch.ones_like(moments.spread), moments.spread)
    weight = torch.linalg.solve(regular, scaled).T.float().contiguous().requires_grad_()  # [M, D]

    plan = Schedule(**schedule)
    generator = torch.Generator().manual_seed(plan.seed)
    chosen_val = torch.randperm(len(val), generator=generator)[:EVALUATED]
    x_val, target_val = val.rows(chosen_val)
    batches = (rows for epoch in epochs(len(train), plan.batch_size, generator) for rows in reversed(epoch))

    def objective() -> torch.Tensor:
        x, target = train.rows(next(batches))
        z = x @ (weight @ onto).T  # [b, p, M]
        penalty = weight_decay / 2 * moments.variance * (weight**2).sum(1)
        penalty = penalty / z.var(0).mean(0).clamp_min(1e-12)
        return penalty.mean() - similarity(z, target).mean()

    def validation() -> float:
        return -similarity(x_val @ (weight @ onto).T, target_val).mean().item()

    stopped = train_until_worse(weight, descent([weight], objective, plan), validation, plan)
    best = stopped.weight
    # The loss leaves the length of a weight open; softmax pooling and interventions need one scale for all concepts.
    spread = torch.einsum("md,de,me->m", best.double(), moments.covariance, best.double()).clamp_min(0).sqrt()
    best = best / torch.where(spread > 0, spread, torch.ones_like(spread))[:, None].float()
    best = best @ onto
    quality = similarity(x_val @ best.T, target_val).mean(0)
    return ConceptLayer(best.numpy(), stopped.n_steps, stopped.steps, stopped.losses, quality.double().numpy())
