"""The concept layer applied: activations of the concepts of a model kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.table import VideoTable
from pipeline.jobs.stage import Job
from pipeline.methods.dance.bottleneck.levels import doubt_in_words, doubt_of
from pipeline.methods.dance.bottleneck.pooling import POOLINGS

TYPES = ("motion", "object", "scene")


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
        layer: ``weight`` ``[m, D]``, ``mean`` and ``std`` ``[M]``, ``levels`` ``[5, M]``, and ``map_weight``
            ``[M - m, D']`` and ``heat`` ``[2, M - m]`` where the kind has maps.
        doubts: why one should not rely on each concept, ``M`` keys of
            `pipeline.methods.dance.bottleneck.levels.DOUBTS`; empty where one may.
        pooling: how the maps become activations; None without maps.
        pooled: ``[n, M - m]`` of the samples, None without maps.
    """

    kind: str
    names: list[str]
    types: list[str]
    layer: dict[str, np.ndarray]
    doubts: list[str]
    pooling: str | None
    pooled: np.ndarray | None

    @property
    def doubt(self) -> list[str]:
        """The doubts in words."""
        return [doubt_in_words(doubt, own) for doubt, own in zip(self.doubts, self.layer["levels"].T, strict=True)]

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
    levels, dead, pooled = arrays["levels"][:, whole], np.array(described["dead"], bool)[whole], None
    own_types = types[whole].tolist()
    if kind != "dance":
        which = POOLINGS.index(pooling)
        layer |= {"map_weight": arrays["map_weight"], "heat": arrays["heat"]}
        layer["mean"] = np.concatenate([layer["mean"], arrays["map_mean"][which]])
        layer["std"] = np.concatenate([layer["std"], arrays["map_std"][which]])
        levels = np.concatenate([levels, arrays["map_levels"][which]], 1)
        dead = np.concatenate([dead, np.array(described["map_dead"], bool)])
        names, own_types = names + described["map_names"], own_types + described["map_types"]
        row_of = {key: row for row, key in enumerate(described["video_id"])}
        pooled = arrays["map_activations"][which][[row_of[key] for key in videos.video_id]]
    least = described["min_positives"]
    doubts = [doubt_of(own, bool(is_dead), least) for own, is_dead in zip(levels.T, dead, strict=True)]
    standardised = np.concatenate([(levels[:3] - layer["mean"]) / layer["std"], levels[3:]])
    return KindConcepts(
        kind, names, own_types, {**layer, "levels": standardised}, doubts, None if kind == "dance" else pooling, pooled
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
    """Medoids ``[n_motion, L, J, 2]`` of the kept motion concepts; their skeleton, numbers of videos, sources, words.

    Args:
        described: attributes of the concept layers; None for a model without motion concepts.
    """
    if described is None:
        none = {"skeleton": "coco", "n_videos": [], "medoid_video_id": [], "motion_words": []}
        return np.zeros((0, 2, 1, 2), np.float32), none
    ((concepts, about),) = job.read_arrays("motion_concepts")
    rows = kept_motion_concepts(described, about)
    known = rows if len(concepts["medoids"]) else rows[:0]
    return concepts["medoids"][known], {
        "skeleton": about["skeleton"],
        "n_videos": concepts["n_videos"][rows].tolist(),
        "medoid_video_id": [about["medoid_video_id"][row] for row in known],
        "motion_words": [about["words"][row] for row in known],
    }
