"""What a page is told of a model and of the clips of its run: ``data/explore.json`` and ``data/clips.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.learning.metrics import wilson
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.bottleneck.words import words_of
from pipeline.methods.dance.explain.cached import Cached
from pipeline.motion.skeleton import skeleton

# Concepts that a concept may be taken for, and how alike their activations must be.
ALIKE, LEAST_ALIKE = 5, 0.3
DIGITS = 5
# What of a row of the curation goes with a concept.
SAID = ("name", "was", "state", "into", "approved", "note")


def look_alikes(z: np.ndarray, count: int = ALIKE, least: float = LEAST_ALIKE) -> list[list[list[float]]]:
    """For each concept the others whose activations ``[n, M]`` go with its own: ``[m, correlation]``."""
    centred = (z - z.mean(0)).astype(np.float32)
    norm = np.linalg.norm(centred, axis=0)
    centred /= np.where(norm > 0, norm, 1)
    alike = centred.T @ centred
    np.fill_diagonal(alike, -1)
    order = np.argsort(-alike, 1, kind="stable")[:, :count]
    return [
        [[int(m), round(float(alike[own, m]), 3)] for m in row if alike[own, m] >= least]
        for own, row in enumerate(order)
    ]


def concepts(core: ConceptModel, alike: list[Any], curated: Mapping[int, Any]) -> list[dict[str, Any]]:
    """What is known of each of the ``M`` concepts.

    Args:
        alike: see `look_alikes`; curated: concept → what people said of it.
    """
    levels = core.layer.get("levels", np.full((5, len(core.concepts)), np.nan))
    found = []
    for m, name in enumerate(core.concepts):
        words = words_of(core.types, core.about, m)
        place = core.types[:m].count("motion")
        medoid = core.types[m] == "motion" and place < len(core.medoids)
        located = m >= core.n_whole
        row = curated.get(m)
        found.append(
            {
                "index": m,
                "name": name,
                "id": f"{row['type']}:{row['digest']}" if row else None,
                "label": label_of(core, m, row),
                "type": core.types[m],
                "sentence": words["sentence"] if words else "",
                "doubt": core.doubt[m],
                "quality": core.about["quality"][m] if "quality" in core.about else None,
                "absent": float(levels[0, m]),
                "present": float(levels[1, m]),
                "present_above": float(levels[2, m]),
                "n_positive": float(levels[3, m]),
                # Of the activation before it is standardised: (value − mean) / std.
                "mean": float(core.layer["mean"][m]),
                "std": float(core.layer["std"][m]),
                "located": located,
                "map": m - core.n_whole if located else None,
                "medoid": f"media/medoid/{m}.webp" if medoid else None,
                "frames": len(core.medoids[place]) if medoid else None,
                "medoid_clip": (core.about.get("medoid_video_id") or [None] * len(core.medoids))[place]
                if medoid
                else None,
                "look_alikes": alike[m],
                "curated": {key: row[key] for key in SAID} if row else None,
            }
        )
    return found


def label_of(core: ConceptModel, m: int, row: Mapping[str, Any] | None) -> str:
    """What a concept is called on the page: as people have named it, at once, or as the model says."""
    if row is None or row["name"] in ("", row["was"], core.concepts[m]):
        return core.named(m)
    return row["name"]


def accuracy(core: ConceptModel, cached: Cached) -> dict[str, dict[str, Any]]:
    """Right decisions of every split as a count with its Wilson interval."""
    right = core.logits(cached.z).argmax(1) == cached.label
    found = {}
    for split in splits_of(cached.split):
        own = right[cached.split == split]
        count = int(own.sum())
        found[split] = {"right": count, "of": len(own), "interval": wilson(count, len(own))}
    return found


def splits_of(split: Sequence[str]) -> list[str]:
    """The splits there are, those of development first."""
    known = list(dict.fromkeys(split))
    first = [name for name in ("train", "val", "test") if name in known]
    return [*first, *sorted(set(known) - set(first))]


def clips(cached: Cached, seconds: Mapping[str, float], kept: list[bool] | None) -> dict[str, Any]:
    """The clips of the run by column; a split is its place in `splits_of`.

    Args:
        seconds: that each video lasts, of those that are known.
        kept: whether there are pictures of each clip; None where that is so of all or of none.
    """
    place = {name: number for number, name in enumerate(splits_of(cached.split))}
    known = cached.distance[0] is not None if len(cached.distance) else False
    return {
        "id": cached.video_id,
        "split": [place[name] for name in cached.split],
        "label": cached.label.tolist(),
        "distance": [round(float(far), DIGITS) for far in cached.distance] if known else None,
        "seconds": [seconds.get(key) for key in cached.video_id] if seconds else None,
        "kept": kept,
    }


def joints_of(core: ConceptModel) -> dict[str, Any] | None:
    """Names, bones and sides of the skeleton that the player draws; None for a model without one."""
    joints = skeleton(core.about["skeleton"]) if core.about.get("skeleton") else None
    if joints is None:
        return None
    sides = [""] * len(joints.joints)
    for left, right in joints.pairs:
        sides[left], sides[right] = "left", "right"
    return {"joints": joints.joints, "bones": joints.edges, "sides": sides, "head": joints.head}
