"""Rows that the bottleneck trains on: features joined with labels by video id, and the concept layer applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.table import Rows, VideoTable, join_shards, read_index
from pipeline.stage import Job, StageError

TYPES = ("motion", "object", "scene")


@dataclass(frozen=True)
class Samples:
    """Videos that have a feature.

    Attributes:
        videos: their rows of the index.
        features: float32 ``[n, D]``.
        failed: id → reason of the videos without a feature.
    """

    videos: VideoTable
    features: np.ndarray
    failed: dict[str, str]

    def split(self, *names: str) -> np.ndarray:
        """bool ``[n]``: the video belongs to one of these splits."""
        return np.isin(self.videos.split, names)


def read_samples(job: Job) -> Samples:
    """Join index and features by id.

    Raises:
        StageError: train or validation have no video left.
    """
    videos = read_index(job)
    rows: Rows = join_shards(job, "features", "features")
    where = videos.rows_of(rows.video_id)
    known = where >= 0
    order = np.argsort(where[known], kind="stable")
    taken = videos.take(where[known][order])
    samples = Samples(taken, rows.values[known][order], rows.failed)
    if not np.isfinite(samples.features).all():
        raise StageError("a feature is not finite; look at the features with `conceptreel inspect`")
    for name in ("train", "val"):
        if not samples.split(name).any():
            raise StageError(
                f"no video of split `{name}` has a feature; check index and decode with `conceptreel inspect`"
            )
    return samples


def activations(features: np.ndarray, layer: dict[str, np.ndarray]) -> np.ndarray:
    """Standardised concept activations z (DANCE supplement 1.1).

    Args:
        features: ``[n, D]``.
        layer: ``weight`` ``[M, D]``, ``mean`` and ``std`` ``[M]`` of the training activations.

    Returns:
        float64 ``[n, M]``.
    """
    raw = features.astype(np.float64) @ layer["weight"].T.astype(np.float64)
    return (raw - layer["mean"]) / layer["std"]


def kept_motion_concepts(described: dict[str, Any], about_motion: dict[str, Any]) -> np.ndarray:
    """Rows of the discovered motion concepts that the concept layers kept, in the layers' order, int64 ``[n_motion]``.

    A concept that no training video shows is discovered, but no layer learns it.

    Args:
        described: attributes of the concept layers (``names``, ``types``); about_motion: of the motion concepts.
    """
    row_of = {name: row for row, name in enumerate(about_motion["names"])}
    kept = [row_of[name] for name, kind in zip(described["names"], described["types"], strict=True) if kind == "motion"]
    return np.array(kept, np.int64)
