"""Rows that the bottleneck trains on: features joined with labels by video id, and the concept layer applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.entries import DEVELOPMENT
from pipeline.data.table import Rows, VideoTable, join_shards, read_index
from pipeline.jobs.stage import Job, StageError
from pipeline.learning.metrics import accuracy
from pipeline.methods.dance.bottleneck.pooling import POOLINGS

TYPES = ("motion", "object", "scene")


@dataclass(frozen=True)
class Samples:
    """Videos that have a feature.

    Attributes:
        videos: their rows of the index.
        label: int32 ``[n]``, index into the class names.
        features: float32 ``[n, D]``.
        failed: id → reason of the videos without a feature.
    """

    videos: VideoTable
    label: np.ndarray
    features: np.ndarray
    failed: dict[str, str]

    def split(self, *names: str) -> np.ndarray:
        """bool ``[n]``: the video belongs to one of these splits."""
        return np.isin(self.videos.split, names)

    def align(self, ids: list[str], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of ``values``, whose videos are ``ids``, for the samples.

        Returns:
            values ``[n, ...]``, zeros where a sample has no row, and has_row bool ``[n]``.
        """
        row_of = {key: row for row, key in enumerate(ids)}
        rows = np.array([row_of.get(key, -1) for key in self.videos.video_id])
        has_row = rows >= 0
        result = np.zeros((len(rows), *values.shape[1:]), values.dtype)
        result[has_row] = values[rows[has_row]]
        return result, has_row

    @property
    def result_splits(self) -> list[str]:
        """Test and every further split that models were not developed on."""
        return sorted(set(self.videos.split) - {*DEVELOPMENT} | {"test"})

    def top1(self, z: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> dict[str, float]:
        """Accuracies of a classifier on `result_splits`: ``top1`` of test, ``<split>_top1`` of the others."""
        masks = {split: self.split(split) for split in self.result_splits}
        return {
            "top1" if split == "test" else f"{split}_top1": accuracy(z[rows], self.label[rows], weight, bias)
            for split, rows in masks.items()
        }


def read_samples(job: Job) -> Samples:
    """Join index and features by id.

    Raises:
        StageError: train or validation have no video left, a class has none in train, or a video has not one label.
    """
    videos = read_index(job)
    rows: Rows = join_shards(job, "features", "features")
    where = videos.rows_of(rows.video_id)
    known = where >= 0
    order = np.argsort(where[known], kind="stable")
    taken = videos.take(where[known][order])
    samples = Samples(taken, taken.single_label("DANCE"), rows.values[known][order], rows.failed)
    if not np.isfinite(samples.features).all():
        raise StageError("a feature is not finite; look at the features with `conceptreel inspect`")
    for name in DEVELOPMENT:
        if not samples.split(name).any():
            raise StageError(
                f"no video of split `{name}` has a feature; check index and decode with `conceptreel inspect`"
            )
    absent = sorted(set(range(len(taken.class_names))) - set(samples.label[samples.split("train")].tolist()))
    if absent:
        raise StageError(
            f"DANCE cannot learn the class `{taken.class_names[absent[0]]}`: no train video of it has a feature "
            f"({len(absent)} of {len(taken.class_names)} classes); add videos or take it off the class list"
        )
    return samples


def activations(features: np.ndarray, layer: dict[str, np.ndarray], pooled: np.ndarray | None = None) -> np.ndarray:
    """Standardised concept activations z (DANCE supplement 1.1).

    Args:
        features: ``[n, D]``.
        layer: ``weight`` ``[m, D]`` of the concepts that see the whole clip, ``mean`` and ``std`` ``[M]`` of the
            training activations of all concepts.
        pooled: activations of the located concepts ``[n, M - m]``, where there are any; they stand behind the others.

    Returns:
        float64 ``[n, M]``.
    """
    raw = features.astype(np.float64) @ layer["weight"].T.astype(np.float64)
    if pooled is not None:
        raw = np.concatenate([raw, pooled.astype(np.float64)], 1)
    return (raw - layer["mean"]) / layer["std"]


@dataclass(frozen=True)
class KindConcepts:
    """The concepts of one model kind, out of the layers that all kinds share.

    Attributes:
        kind: dance, salf or dance+salf.
        names, types: of the ``M`` concepts; those with maps stand last.
        layer: ``weight`` ``[m, D]``, ``mean`` and ``std`` ``[M]``, and ``map_weight`` ``[M - m, D']`` where the kind
            has maps.
        pooling: how the maps become activations; None without maps.
        pooled: ``[n, M - m]`` of the samples, None without maps.
    """

    kind: str
    names: list[str]
    types: list[str]
    layer: dict[str, np.ndarray]
    pooling: str | None
    pooled: np.ndarray | None

    def activations(self, features: np.ndarray) -> np.ndarray:
        """Standardised activations ``[n, M]`` of the samples with these features ``[n, D]``."""
        return activations(features, self.layer, self.pooled)


def concepts_of(
    kind: str,
    arrays: dict[str, np.ndarray],
    described: dict[str, Any],
    videos: VideoTable,
    pooling: str | None = None,
) -> KindConcepts:
    """Choose the concepts of a model kind from the artifact of the stage `concept_layers`.

    Args:
        arrays, described: of that artifact.
        videos: the samples that pooled activations are wanted for.
        pooling: of the maps, for the kinds that have them.
    """
    types = np.array(described["types"], object)
    whole = {"dance": types != "", "salf": types == "", "dance+salf": types == "motion"}[kind]
    names = [name for name, chosen in zip(described["names"], whole, strict=True) if chosen]
    layer = {"weight": arrays["weight"][whole], "mean": arrays["mean"][whole], "std": arrays["std"][whole]}
    if kind == "dance":
        return KindConcepts(kind, names, types[whole].tolist(), layer, None, None)
    which = POOLINGS.index(pooling)
    layer["map_weight"] = arrays["map_weight"]
    layer["mean"] = np.concatenate([layer["mean"], arrays["map_mean"][which]])
    layer["std"] = np.concatenate([layer["std"], arrays["map_std"][which]])
    row_of = {key: row for row, key in enumerate(described["video_id"])}
    return KindConcepts(
        kind,
        names + described["map_names"],
        types[whole].tolist() + described["map_types"],
        layer,
        pooling,
        arrays["map_activations"][which][[row_of[key] for key in videos.video_id]],
    )


def kept_motion_concepts(described: dict[str, Any], about_motion: dict[str, Any]) -> np.ndarray:
    """Rows of the discovered motion concepts that the concept layers kept, in the layers' order, int64 ``[n_motion]``.

    A concept that no training video shows is discovered, but no layer learns it.

    Args:
        described: attributes of the concept layers (``names``, ``types``); about_motion: of the motion concepts.
    """
    row_of = {name: row for row, name in enumerate(about_motion["names"])}
    kept = [row_of[name] for name, kind in zip(described["names"], described["types"], strict=True) if kind == "motion"]
    return np.array(kept, np.int64)


def motion_of(job: Job, described: dict[str, Any] | None) -> tuple[np.ndarray, dict[str, Any]]:
    """Medoids ``[n_motion, L, J, 2]`` of the kept motion concepts, and their skeleton and numbers of videos.

    Args:
        described: attributes of the concept layers; None for a model without motion concepts.
    """
    if described is None:
        return np.zeros((0, 2, 1, 2), np.float32), {"skeleton": "coco", "n_videos": []}
    ((concepts, about),) = job.read_arrays("motion_concepts")
    rows = kept_motion_concepts(described, about)
    medoids = concepts["medoids"][rows] if len(concepts["medoids"]) else concepts["medoids"]
    return medoids, {"skeleton": about["skeleton"], "n_videos": concepts["n_videos"][rows].tolist()}
