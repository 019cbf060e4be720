"""The concept layer applied: activations of the concepts of a model kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.table import VideoTable
from pipeline.jobs.stage import Job
from pipeline.methods.dance.bottleneck.pooling import POOLINGS

TYPES = ("motion", "object", "scene")
STATISTICS = ("mean", "std")


def activations(
    features: np.ndarray,
    layer: dict[str, np.ndarray],
    pooled: np.ndarray | None = None,
    read: np.ndarray | None = None,
) -> np.ndarray:
    """Standardised concept activations z (DANCE supplement 1.1).

    Args:
        features: ``[n, D]``.
        layer: ``weight`` ``[m, D]`` of the concepts that see the whole clip, ``mean`` and ``std`` ``[M]`` of the
            training activations of all concepts.
        pooled: activations of the located concepts, where there are any; they stand behind the others.
        read: of the concepts that are read, where there are any; they stand before the others. NaN: nothing could be
            read, which says as much as the mean.

    Returns:
        float64 ``[n, M]``.
    """
    parts = [features.astype(np.float64) @ layer["weight"].T.astype(np.float64)]
    if pooled is not None:
        parts.append(pooled.astype(np.float64))
    if read is not None:
        parts.insert(0, np.where(np.isnan(read), layer["mean"][: read.shape[1]], read.astype(np.float64)))
    return (np.concatenate(parts, 1) - layer["mean"]) / layer["std"]


@dataclass(frozen=True)
class KindConcepts:
    """The concepts of one model kind, out of the layers that all kinds share.

    Attributes:
        kind: see `pipeline.methods.dance.settings.Kind`.
        names, types: of the ``M`` concepts; those that are read stand first, those with maps last.
        layer: ``weight`` ``[m, D]``, ``mean`` and ``std`` ``[M]``, and ``map_weight`` ``[l, D']`` where the kind has
            maps.
        pooling: how the maps become activations; None without maps.
        pooled: ``[n, l]`` of the samples, None without maps.
        read: ``[n, r]`` of the samples, NaN where nothing could be read; None where nothing is.
    """

    kind: str
    names: list[str]
    types: list[str]
    layer: dict[str, np.ndarray]
    pooling: str | None
    pooled: np.ndarray | None
    read: np.ndarray | None = None

    def activations(self, features: np.ndarray) -> np.ndarray:
        """Standardised activations ``[n, M]`` of the samples with these features ``[n, D]``."""
        return activations(features, self.layer, self.pooled, self.read)


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
    types, read_types = np.array(described["types"], object), np.array(described.get("read_types", []), object)
    # Which of the concepts that are read, and of those that see the whole clip, the kind has.
    whole, read = {
        "dance": (types != "", read_types == ""),
        "salf": (types == "", read_types == ""),
        "dance+salf": (types == "motion", read_types == ""),
        "read": (types == "", read_types != ""),
        "read+dance": (types != "motion", read_types == "motion"),
        "read+salf": (types == "", read_types == "motion"),
    }[kind]
    chosen = [("read_", read), ("", whole)] if read.any() else [("", whole)]

    def listed(name: str) -> list[str]:
        return [value for prefix, own in chosen for value in np.array(described[f"{prefix}{name}"], object)[own]]

    names, kinds = listed("names"), listed("types")
    layer = {name: np.concatenate([arrays[f"{prefix}{name}"][own] for prefix, own in chosen]) for name in STATISTICS}
    layer["weight"] = arrays["weight"][whole]
    rows = []
    if read.any() or kind.endswith("salf"):
        row_of = {key: row for row, key in enumerate(described["video_id"])}
        rows = [row_of[key] for key in videos.video_id]
    readings = arrays["read_activations"][rows][:, read] if read.any() else None
    if not kind.endswith("salf"):
        return KindConcepts(kind, names, kinds, layer, None, None, readings)
    which = POOLINGS.index(pooling)
    layer["map_weight"] = arrays["map_weight"]
    for name in STATISTICS:
        layer[name] = np.concatenate([layer[name], arrays[f"map_{name}"][which]])
    return KindConcepts(
        kind,
        names + described["map_names"],
        kinds + described["map_types"],
        layer,
        pooling,
        arrays["map_activations"][which][rows],
        readings,
    )


def kept_motion_concepts(described: dict[str, Any], about_motion: dict[str, Any]) -> np.ndarray:
    """Rows of the discovered motion concepts that the concept layers kept, in the layers' order, int64 ``[n_motion]``.

    A concept that no training video shows is discovered, but no layer learns it, and it is not read.

    Args:
        described: attributes of the concept layers (``names``, ``types``, and the same of what is read); about_motion:
            of the motion concepts.
    """
    row_of = {name: row for row, name in enumerate(about_motion["names"])}
    guessed = "motion" in described["types"]
    names, types = (described[name if guessed else f"read_{name}"] for name in ("names", "types"))
    kept = [row_of[name] for name, kind in zip(names, types, strict=True) if kind == "motion"]
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
