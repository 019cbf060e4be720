"""Runs of motion transferability in the explorer: what each model says of every video, over all its trainings."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from pipeline.methods.explored import Figures, Rows
from pipeline.methods.registry import Method
from pipeline.store.tables import read_table


def rows(folder: Path) -> Rows | None:
    """One row per model, role and video, of the coarse classes: what most trainings say, and how many are right."""
    path = folder / "transfer" / "predictions.parquet"
    if not path.is_file():
        return None
    table, about = read_table(path)
    said: dict[tuple, list[int]] = defaultdict(list)
    label: dict[tuple, int] = {}
    for row in table.to_pylist():
        if row["level"] == "coarse":
            key = row["video_id"], row["model"], row["role"], row["background"]
            said[key].append(row["predicted"])
            label[key] = row["label"]
    columns = list(zip(*said, strict=True)) or [()] * 4
    names = ("clip", "model", "role", "background")
    return Rows(
        about["class_names"],
        {
            **{name: ("text", list(values)) for name, values in zip(names, columns, strict=True)},
            "label": ("class", list(label.values())),
            "said most": ("class", [Counter(own).most_common(1)[0][0] for own in said.values()]),
            "trainings": ("number", [len(own) for own in said.values()]),
            "right": ("number", [round(own.count(label[key]) / len(own), 4) for key, own in said.items()]),
        },
    )


def open_run(folder: Path, method: Method) -> Figures:
    """The run below ``results/<data set>``."""
    return Figures(folder, method, rows)
