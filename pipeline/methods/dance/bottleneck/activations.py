"""The concept layer applied: activations of the concepts of a model kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.entries import DEVELOPMENT
from pipeline.data.table import VideoTable, read_index
from pipeline.jobs.stage import Job
from pipeline.methods.dance.bottleneck.levels import doubt_in_words, doubt_of
from pipeline.methods.dance.bottleneck.pooling import POOLINGS
from pipeline.methods.dance.curation import kept_groups

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
        layer: ``weight`` ``[m, D]``, ``mean`` and ``std`` ``[M]``, ``levels`` ``[5, M]``, and ``map_weight``
            ``[l, D']`` and ``heat`` ``[2, l]`` where the kind has maps.
        doubts: why one should not rely on each concept, ``M`` keys of
            `pipeline.methods.dance.bottleneck.levels.DOUBTS`; empty where one may.
        pooling: how the maps become activations; None without maps.
        pooled: ``[n, l]`` of the samples, None without maps.
        read: ``[n, r]`` of the samples, NaN where nothing could be read; None where nothing is.
    """

    kind: str
    names: list[str]
    types: list[str]
    layer: dict[str, np.ndarray]
    doubts: list[str]
    pooling: str | None
    pooled: np.ndarray | None
    read: np.ndarray | None = None

    @property
    def doubt(self) -> list[str]:
        """The doubts in words."""
        return [doubt_in_words(doubt, own) for doubt, own in zip(self.doubts, self.layer["levels"].T, strict=True)]

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
    levels = np.concatenate([arrays[f"{prefix}levels"][:, own] for prefix, own in chosen], 1)
    dead = listed("dead")
    rows = []
    if read.any() or kind.endswith("salf"):
        row_of = {key: row for row, key in enumerate(described["video_id"])}
        rows = [row_of[key] for key in videos.video_id]
    readings = arrays["read_activations"][rows][:, read] if read.any() else None
    pooled = None
    if kind.endswith("salf"):
        which = POOLINGS.index(pooling)
        layer |= {"map_weight": arrays["map_weight"], "heat": arrays["heat"]}
        for name in STATISTICS:
            layer[name] = np.concatenate([layer[name], arrays[f"map_{name}"][which]])
        levels = np.concatenate([levels, arrays["map_levels"][which]], 1)
        names, kinds = names + described["map_names"], kinds + described["map_types"]
        dead = dead + described["map_dead"]
        pooled = arrays["map_activations"][which][rows]
    least = described["min_positives"]
    doubts = [doubt_of(own, bool(is_dead), least) for own, is_dead in zip(levels.T, dead, strict=True)]
    layer["levels"] = np.concatenate([(levels[:3] - layer["mean"]) / layer["std"], levels[3:]])
    return KindConcepts(kind, names, kinds, layer, doubts, pooling if kind.endswith("salf") else None, pooled, readings)


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


@dataclass(frozen=True)
class Motion:
    """The kept motion concepts of a model.

    Attributes:
        medoids: of the leading ones, ``[n_motion, L, J, 2]``.
        about: their skeleton, numbers of videos, sources, words.
        merged: the other medoids of merged concepts, ``[k, L, J, 2]``; merged_of: the concept of each.
        names: of the concepts that are merged into each, ``n_motion`` lists.
    """

    medoids: np.ndarray
    about: dict[str, Any]
    merged: np.ndarray
    merged_of: list[int]
    names: list[list[str]]


def motion_of(job: Job, described: dict[str, Any] | None) -> Motion:
    """The motion concepts of the model.

    Args:
        described: attributes of the concept layers; None for a model without motion concepts.
    """
    if described is None:
        none = {"skeleton": "coco", "n_videos": [], "medoid_video_id": [], "motion_words": []}
        nothing = np.zeros((0, 2, 1, 2), np.float32)
        return Motion(nothing, none, nothing, [], [])
    ((concepts, about),) = job.read_arrays("motion_concepts")
    rows = kept_motion_concepts(described, about)
    has_medoids = len(concepts["medoids"]) > 0
    known = rows if has_medoids else rows[:0]
    members = {own[0]: own for own in kept_groups(job, "motion", about["names"])}
    others = [(place, row) for place, leader in enumerate(rows) for row in members[leader][1:]]
    n_videos = concepts["n_videos"][rows].tolist()
    if others:  # a video that shows several of them counts once
        videos, table = read_index(job), job.read_table("motion_labels")[0]
        development = set(videos.video_id[np.isin(videos.split, DEVELOPMENT)])
        shown = [set(row["concepts"]) for row in table.to_pylist() if row["video_id"] in development]
        n_videos = [sum(not own.isdisjoint(members[leader]) for own in shown) for leader in rows]
    return Motion(
        concepts["medoids"][known],
        {
            "skeleton": about["skeleton"],
            "n_videos": n_videos,
            "medoid_video_id": [about["medoid_video_id"][row] for row in known],
            "motion_words": [about["words"][row] for row in known] if about["words"] else [],
        },
        concepts["medoids"][[row for _, row in others] if has_medoids else []],
        [place for place, _ in others] if has_medoids else [],
        [[about["names"][row] for row in members[leader][1:]] for leader in rows],
    )
