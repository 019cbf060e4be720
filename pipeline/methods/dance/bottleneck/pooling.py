"""Concept maps and what they become for a whole clip (SALF-CBM 3.3 and 3.4)."""

from __future__ import annotations

from typing import Literal

import numpy as np

Pooling = Literal["mean", "softmax", "max"]
POOLINGS: tuple[Pooling, ...] = ("mean", "softmax", "max")


def concept_maps(maps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """c of SALF-CBM 3.3: feature maps ``[..., D]`` through a convolution ``[M, D]``, float32 ``[..., M]``."""
    return maps.astype(np.float32) @ weight.T.astype(np.float32)


def pool(maps: np.ndarray, pooling: Pooling) -> np.ndarray:
    """One activation per clip and concept, c* of SALF-CBM 3.4: over the places of each slice, then the mean of slices.

    ``softmax`` weighs each place by the softmax of its own values, between ``mean`` and ``max``. It depends on the
    scale of the map, which `pipeline.methods.dance.bottleneck.spatial.train_spatial_layer` sets to 1.

    Args:
        maps: concept maps ``[n, S, h, w, M]``.

    Returns:
        ``[n, M]``.
    """
    # Not -1 for the places: there may be no concept left.
    flat = maps.reshape(*maps.shape[:2], maps.shape[2] * maps.shape[3], maps.shape[-1])  # [n, S, p, M]
    if pooling == "max":
        slices = flat.max(2)
    elif pooling == "mean":
        slices = flat.mean(2)
    else:
        weights = np.exp(flat - flat.max(2, keepdims=True))
        slices = (weights * flat).sum(2) / weights.sum(2)
    return slices.mean(1)
