"""Ways to read motion from poses, by validation: what the defaults of `bottleneck.reading` were chosen with.

python bench/reading.py results/demo results/penn_action results/weizmann_small    # finished runs; a minute or two each

Each way reads all videos again; the sparse classifier is trained on motion concepts alone, and beside the objects and
scenes of the run's model, with several draws of the validation videos. Printed are means over the draws ± standard
deviations. Choose by the columns of validation. The last way is a check: the default's readings, of other videos.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
sys.path[0] = str(PROJECT)

from pipeline.data.entries import DEVELOPMENT  # noqa: E402
from pipeline.data.table import VideoTable  # noqa: E402
from pipeline.learning.scaling import standardise, standardise_fit  # noqa: E402
from pipeline.methods.dance.bottleneck.classifier import choose  # noqa: E402
from pipeline.methods.dance.bottleneck.reading import readings_of  # noqa: E402
from pipeline.methods.dance.explain.retrained import other_validation  # noqa: E402
from pipeline.methods.dance.settings import Classifier, Reading  # noqa: E402
from pipeline.store.arrays import read_arrays  # noqa: E402
from pipeline.store.places import shards_of  # noqa: E402
from pipeline.store.tables import read_table  # noqa: E402

WAYS = {
    "postures, τ 0.01": Reading(temperature=0.01, movement_temperature=None, among_concepts=False),
    "postures, τ 0.03": Reading(temperature=0.03, movement_temperature=None, among_concepts=False),
    "postures, τ 0.1": Reading(temperature=0.1, movement_temperature=None, among_concepts=False),
    "postures among concepts, τ 0.03": Reading(temperature=0.03, movement_temperature=None, among_concepts=True),
    "and movement, τ 0.03, 1": Reading(temperature=0.03, movement_temperature=1.0, among_concepts=False),
    "both among concepts, τ 0.03, 1": Reading(temperature=0.03, movement_temperature=1.0, among_concepts=True),
    "both among concepts, τ 0.1, 0.3": Reading(temperature=0.1, movement_temperature=0.3, among_concepts=True),
}
DEFAULT, SHUFFLED = "both among concepts, τ 0.03, 1", "the same, of other videos"
# A shorter path than a run's, solved less exactly: the order of ways is what counts.
CLASSIFIER = Classifier(n_lambdas=30, tolerance=1e-3, refit=False)


def read_all(results: Path, ids: list[str], way: Reading) -> np.ndarray:
    """Motion activations ``[n, M]`` of the videos, NaN where nothing can be read."""
    medoids = read_arrays(results / "motion/motion_concepts.zarr.zip")[0]["medoids"]
    found = {}
    for posed, clipped in zip(shards_of(results, "motion/poses"), shards_of(results, "motion/pose_clips"), strict=True):
        (poses, told), (clips, about) = read_arrays(posed), read_arrays(clipped)
        found |= dict(readings_of(poses, told["video_id"], clips, about["video_id"], medoids, way))
    nothing = np.full(len(medoids), np.nan)
    return np.stack([found.get(key, nothing) for key in ids])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--draws", type=int, default=5, help="of the validation videos, two or more")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS, SHUFFLED], default=[*WAYS, SHUFFLED])
    options = parser.parse_args()
    for results in options.results:
        arrays, about = read_arrays(results / "bottleneck/activations.zarr.zip")
        groups = {row["video_id"]: row["group"] for row in read_table(results / "data/index.parquet")[0].to_pylist()}
        ids, split = np.array(about["video_id"], object), np.array(about["split"], object)
        group = np.array([groups[key] for key in ids], object)
        videos = VideoTable(ids, ids, ids, ids, ids, split=split, group=group, class_names=about["class_names"])
        z, y = arrays["z"].astype(np.float64), arrays["label"].astype(np.int64)
        is_motion = np.array(about["types"]) == "motion"
        splits = sorted(set(about["split"]) - set(DEVELOPMENT))
        print(f"\n{results.name}\n\n| concepts | motion | validation | cross-entropy | {' | '.join(splits)} |")
        print("|---" * (4 + len(splits)) + "|")
        ways = {"of the run": z[:, is_motion]} | {
            name: read_all(results, about["video_id"], WAYS[name]) for name in WAYS if name in (*options.ways, DEFAULT)
        }
        ways[SHUFFLED] = ways[DEFAULT]
        ways = {name: values for name, values in ways.items() if name == "of the run" or name in options.ways}
        draws = [other_validation(videos, y, seed).split for seed in range(1, options.draws + 1)]
        for beside, context in (("motion alone", z[:, :0]), ("all", z[:, ~is_motion])):
            for name, motion in ways.items():
                rows = []
                for seed, split in enumerate(draws, 1):
                    order = np.random.default_rng(seed).permutation(len(y)) if name == SHUFFLED else slice(None)
                    values = np.concatenate([motion[order], context], 1)
                    train = split == "train"
                    known = np.where(np.isnan(values), np.nanmean(values[train], 0), values)
                    x = standardise(known, *standardise_fit(known[train]))
                    choice = choose(x, y, train, split == "val", len(about["class_names"]), CLASSIFIER)
                    right = (x @ choice.solution.weight.T + choice.solution.bias).argmax(1) == y
                    figures = [choice.accuracy[choice.chosen], choice.loss[choice.chosen]]
                    rows.append(figures + [right[split == part].mean() for part in splits])
                figures = zip(np.mean(rows, 0), np.std(rows, 0, ddof=1), strict=True)
                print(f"| {beside} | {name} | {' | '.join(f'{m:.3f} ± {s:.3f}' for m, s in figures)} |", flush=True)


if __name__ == "__main__":
    main()
