"""Runs of ProDA in the explorer: what it says of every clip of the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.methods.explored import Figures, Rows
from pipeline.methods.registry import Method
from pipeline.store.arrays import Arrays
from pipeline.store.places import shards_of
from pipeline.store.tables import read_table

# Probability from which on an action is said.
SAID = 0.5


def rows(folder: Path) -> Rows | None:
    """Actions that are labelled and actions that are said, clip by clip; None without predictions."""
    index = {row["video_id"]: row for row in read_table(folder / "data" / "index.parquet")[0].to_pylist()}
    ids: list[str] = []
    scores = []
    classes: list[str] = []
    for path in shards_of(folder, "proda/predictions"):
        with Arrays(path) as artifact:
            ids += artifact.attributes["video_id"]
            classes = artifact.attributes["class_names"]
            scores.append(artifact["headline"])
    if not ids:
        return None
    found = np.concatenate(scores)
    labels = [sorted(map(int, index[key]["labels"])) for key in ids]
    said = [np.flatnonzero(row >= SAID).tolist() for row in found]
    return Rows(
        classes,
        {
            "clip": ("text", ids),
            "split": ("text", [index[key]["split"] for key in ids]),
            "labels": ("classes", labels),
            "said": ("classes", said),
            "all right": ("flag", [own == true for own, true in zip(said, labels, strict=True)]),
            "most probable": ("class", found.argmax(1).tolist()),
            "probability": ("number", found.max(1).astype(float).round(4).tolist()),
        },
    )


def open_run(folder: Path, method: Method) -> Figures:
    """The run below ``results/<data set>``."""
    return Figures(folder, method, rows)
