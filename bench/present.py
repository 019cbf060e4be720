"""Is a motion there that is said to be present? ``python bench/present.py RESULTS…`` compares with clusters.

What a video shows is known from the clusters that its key clips are nearest to; motion layers learned from those of
train. Precision and recall are those of all motion concepts together.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pipeline.methods.dance.explain.api import load
from pipeline.store.arrays import read_arrays
from pipeline.store.tables import read_table


def main(runs: list[str]) -> None:
    print("| run | part of the way | split | videos | shown | precision | recall |\n|---|---|---|---|---|---|---|")
    for folder in map(Path, runs):
        model = load(folder / "model.pt")
        core, cached = model.core, model.cached
        table, about = read_table(folder / "motion" / "motion_labels.parquet")
        clusters = {row["video_id"]: set(row["concepts"]) for row in table.to_pylist()}
        motion = [m for m, kind in enumerate(core.types) if kind == "motion" and m >= core.n_read]
        own = [about["names"].index(core.concepts[m]) for m in motion]
        part = read_arrays(folder / "bottleneck" / "concept_layers.zarr.zip")[1].get("threshold_part", 1.0)
        threshold = core.layer["levels"][2, motion]
        for split in ("val", "test"):
            rows = [row for row in cached.rows(split) if cached.video_id[row] in clusters]
            shown = np.array([[k in clusters[cached.video_id[row]] for k in own] for row in rows])
            said = cached.z[rows][:, motion] >= threshold
            right = (said & shown).sum()
            print(
                f"| {folder.name} | {part:.2f} | {split} | {len(rows)} | {shown.sum()} | "
                f"{right / max(said.sum(), 1):.3f} | {right / max(shown.sum(), 1):.3f} |"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
