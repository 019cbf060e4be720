"""What fine-tuning adds, on validation: the frozen backbone under a linear probe against the tuned network.

Every fold holds out some groups (actors) of train and validation together; test clips are never read. The probe is a
logistic regression on standardised features. "last epoch" is chosen by nobody; "chosen epoch" is what the rule takes,
and looks at the clips that it is measured on. Before each row stand the clips that are named rightly after every epoch,
beginning with epoch 0 where the head is a probe. `--folds 0` takes the split of the data set itself, as the rule does.

snakemake --cores 2 --config data_root=… -- results/weizmann_finetuned/backbone/finetune.parquet
python bench/finetune_gain.py weizmann_finetuned --folds 6
python bench/finetune_gain.py demo_finetuned --results results/demo --per-class 2
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from pipeline.backbone.encoders import encode, load_backbone  # noqa: E402
from pipeline.backbone.finetuning import checkpoint  # noqa: E402
from pipeline.backbone.finetuning.loop import FRAMES, Plan, Training  # noqa: E402
from pipeline.config import load  # noqa: E402
from pipeline.store.arrays import read_arrays  # noqa: E402
from pipeline.store.tables import read_table  # noqa: E402


def clips_of(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Frames, labels, groups and splits of train and validation, and the class names."""
    table, attributes = read_table(folder / "data/index.parquet")
    rows = {row["video_id"]: row for row in table.to_pylist() if row["split"] in ("train", "val")}
    frames, ids = [], []
    for path in sorted((folder / "data/clips").glob("*.zarr.zip")):
        arrays, described = read_arrays(path)
        for video_id, clip in zip(described["video_id"], arrays["frames"], strict=True):
            if video_id in rows:
                frames.append(clip)
                ids.append(video_id)
    order = np.argsort(ids)
    known = [rows[ids[row]] for row in order]
    return (
        np.stack([frames[row] for row in order]),
        np.array([row["label"] for row in known]),
        np.array([row["group"] or row["video_id"] for row in known]),
        np.array([row["split"] for row in known]),
        attributes["class_names"],
    )


def probe(features: np.ndarray, labels: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> int:
    """Held-out clips that a linear probe names rightly."""
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(features[train], labels[train])
    return int((fitted.predict(features[held_out]) == labels[held_out]).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", help="of config.yaml; its clips must have been decoded")
    parser.add_argument("--results", type=Path, help="folder of the decoded clips, results/DATASET by default")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other settings of the recipe")
    parser.add_argument("--per-class", type=int, help="train clips of each class, all by default")
    parser.add_argument("--model", help="another backbone to begin with")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    section = load().datasets[arguments.dataset].backbone
    changes = dict(item.split("=", 1) for item in arguments.set)
    recipe = type(section.finetune).model_validate(
        {**section.finetune.model_dump(), **{key: yaml.safe_load(value) for key, value in changes.items()}}
    )
    model = arguments.model or section.features.model
    frames, labels, groups, split, names = clips_of(arguments.results or Path("results") / arguments.dataset)
    frozen = encode(load_backbone(model), frames, 8)
    if arguments.folds:
        fold_of = {group: number % arguments.folds for number, group in enumerate(sorted(set(groups)))}
        fold = np.array([fold_of[group] for group in groups])
    else:
        fold = np.where(split == "val", 0, 1)

    print(f"{arguments.dataset}: {len(labels)} clips, {len(set(groups))} groups, {arguments.folds} folds, {model}")
    print("fold  clips  frozen probe  tuned: last epoch  chosen epoch  probe on tuned features", flush=True)
    sums = np.zeros(5, int)
    for number in range(arguments.folds or 1):
        train, held_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if arguments.per_class:
            shuffled = np.random.default_rng(number).permutation(train)
            few = [shuffled[labels[shuffled] == label][: arguments.per_class] for label in np.unique(labels)]
            train = np.sort(np.concatenate(few))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            np.save(folder / FRAMES, frames)
            splits = {
                split: {"rows": rows.tolist(), "labels": labels[rows].tolist()}
                for split, rows in (("train", train), ("val", held_out))
            }
            Plan("gain", model, section.features.revision, recipe, names, splits, 8, 1).save(folder)
            training = Training(folder)
            began = time.monotonic()
            progress = training.run()
            seconds = time.monotonic() - began
            top1 = {row["epoch"]: row["val_top1"] for row in progress.curve}
            right = " ".join(f"{value * len(held_out):.0f}" for value in top1.values())
            print(f"      {right}   ({len(train)} train clips, {seconds:.0f} s)", flush=True)
            checkpoint.load_weights(folder, progress.best, training.model)
            tuned = encode(training.backbone, frames, 8)
        row = [
            len(held_out),
            probe(frozen, labels, train, held_out),
            round(top1[recipe.epochs] * len(held_out)),
            round(top1[progress.best] * len(held_out)),
            probe(tuned, labels, train, held_out),
        ]
        sums += row
        print("{:>4}  {:>5}  {:>12}  {:>17}  {:>12}  {:>23}".format(number + 1, *row), flush=True)
    shares = sums[1:] / sums[0]
    print("all   {:>5}  {:>12.3f}  {:>17.3f}  {:>12.3f}  {:>23.3f}".format(sums[0], *shares))


if __name__ == "__main__":
    main()
