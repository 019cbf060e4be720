"""How many videos a model takes for unlike all of training, in the splits of its run and in folders of other videos.

python bench/unseen.py results/demo/model.pt ../shared/data/weizmann ../shared/data/kth/videos
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402

from conceptreel import VideoError, load  # noqa: E402
from pipeline.data.entries import VIDEO_SUFFIXES  # noqa: E402
from pipeline.methods.dance.explain.editing import decisions  # noqa: E402


def row(name: str, distance: np.ndarray, limit: float) -> str:
    """One line of the table: how many lie beyond the limit, and where the others lie."""
    beyond = int((distance > limit).sum())
    low, middle, high = np.quantile(distance, [0, 0.5, 1])
    part = f"{beyond} of {len(distance)}"
    return f"{name:<28} {part:>11} {beyond / len(distance):9.3f} {low:9.1f} {middle:9.1f} {high:9.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="results/demo/model.pt")
    parser.add_argument("folders", nargs="*", type=Path)
    call = parser.parse_args()
    model = load(call.model)
    limit = model.core.reach.limit
    print(f"limit {limit:.2f}\n{'':<28} {'flagged':>11} {'part':>9} {'nearest':>9} {'median':>9} {'farthest':>9}")
    known = model.cached
    right = decisions(model.core, known.z) == known.label
    for split in dict.fromkeys(known.split):
        rows = known.split == split
        beyond = known.distance[rows] > limit
        told = f"right: {right[rows][beyond].sum()} of these, {right[rows][~beyond].sum()} of {(~beyond).sum()} others"
        print(row(split, known.distance[rows], limit), f"  {told}")
    for folder in call.folders:
        found = []
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES):
            try:
                found.append(model.predict(path).distance)
            except VideoError as error:
                print(f"{path}: {error}")
        print(row(str(folder), np.array(found), limit), flush=True)
    feature = model.core.reach.mean
    started = time.perf_counter()
    for _ in range(1000):
        model.core.distance(feature)
    print(f"one distance takes {1e3 * (time.perf_counter() - started):.1f} µs")


if __name__ == "__main__":
    main()
