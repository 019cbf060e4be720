"""How much each concept type knows beyond its own concepts, by the rank that is hidden from its layer.

python bench/leakage.py                        # after `make demo`: half a minute
python bench/leakage.py --dataset demo --ranks 0 2 4 8

Trains concept layers and classifier again for every rank, in a temporary folder, and prints validation accuracy; test
videos are not looked at. Choose the smallest rank for which no type exceeds what it can know.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[0] = str(PROJECT)


from pipeline import config as configuration  # noqa: E402
from pipeline.methods.dance.bottleneck.activations import TYPES  # noqa: E402
from pipeline.rules.graph import settings_json  # noqa: E402
from pipeline.store.arrays import read_arrays  # noqa: E402


def run(stage: str, arguments: list[str]) -> None:
    """Call a stage as its rule does."""
    command = [sys.executable, "-m", f"pipeline.methods.dance.bottleneck.{stage}", *arguments]
    subprocess.run(command, check=True, cwd=PROJECT, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--ranks", type=int, nargs="+", default=[0, 1, 2, 4, 8, 12])
    options = parser.parse_args()
    results = PROJECT / "results" / options.dataset
    raw = {"datasets": {options.dataset: configuration.load(PROJECT / "config.yaml").datasets.raw(options.dataset)}}
    common = ["--dataset", options.dataset, "--threads", "2"]
    features = sorted(map(str, (results / "backbone/features").glob("*.zarr.zip")))
    common += ["--input", "index", str(results / "data/index.parquet"), "--input", "features", *features]
    print("rank   " + "".join(f"{name:>9}" for name in (*TYPES, "all")))
    for rank in options.ranks:
        bottleneck = raw["datasets"][options.dataset].setdefault("bottleneck", {})
        # The table is about concepts that see whole clips, and those of maps would need more inputs.
        bottleneck.setdefault("concept_layers", {}).update(leakage_rank=rank, kinds=["dance"])
        settings = configuration.validate(raw)
        with tempfile.TemporaryDirectory() as folder:
            layers, table, classifier = (f"{folder}/{name}" for name in ("l.zarr.zip", "l.parquet", "c.zarr.zip"))
            inputs = {
                "motion_concepts": "motion/motion_concepts.zarr.zip",
                "motion_labels": "motion/motion_labels.parquet",
                "concepts": "context/concepts.parquet",
                "pseudo_labels": "context/pseudo_labels.zarr.zip",
            }
            given = [part for name, path in inputs.items() for part in ("--input", name, str(results / path))]
            chosen = ["--settings", settings_json(settings.datasets[options.dataset], "concept_layers")]
            outputs = ["--output", "concept_layers", layers, "--output", "concept_table", table]
            run("concept_layers", [*common, *chosen, "--log", f"{folder}/log", *given, *outputs])
            chosen = ["--settings", settings_json(settings.datasets[options.dataset], "classifier")]
            outputs = ["--input", "concept_layers", layers, "--output", "classifier", classifier]
            run("classifier", [*common, *chosen, "--log", f"{folder}/log", *outputs])
            certificates = read_arrays(Path(classifier))[1]["certificates"]
        print(f"{rank:<7}" + "".join(f"{certificates[name]['val_top1']:9.3f}" for name in (*TYPES, "all")), flush=True)


if __name__ == "__main__":
    main()
