"""What fine-tuning adds, on validation: the frozen backbone under a linear probe against the tuned network.

Every fold holds out some groups (actors) of train and validation together; test clips are never read. A draw is a
division of the groups into folds, a choice of train clips where these are few, and a seed of the training; draw 0 has
the groups in the order of their names. The probe is a logistic regression on standardised features. "last epoch" is
chosen by nobody; "chosen epoch" is what the rule takes, and looks at the clips that it is measured on. Before each row
stand the clips that are named rightly after every epoch, beginning with epoch 0 where the head is a probe. `--folds 0`
takes the split of the data set itself, as the rule does.

Below the table: the gain of the last epoch over the frozen probe, and how likely chance alone gives one as large. A
clip's gain is its mean over the draws, because the draws share clips; under chance its sign is as likely the other one
(sign-flip test, one-sided).

snakemake --cores 2 --config data_root=… -- results/weizmann_finetuned/backbone/finetune.parquet
python bench/finetune_gain.py weizmann_finetuned --data-root … --draws 1 2 3
python bench/finetune_gain.py demo_finetuned --results results/demo --per-class 1 --draws 1 2 3
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
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
from pipeline.backbone.finetuning.loop import FRAMES, VIEWS, Plan, Training  # noqa: E402
from pipeline.config import Dataset, load  # noqa: E402
from pipeline.data.readers import open_video  # noqa: E402
from pipeline.data.views import decode_views  # noqa: E402
from pipeline.store.arrays import read_arrays  # noqa: E402
from pipeline.store.tables import read_table  # noqa: E402


def clips_of(folder: Path, section: Dataset, root: Path) -> tuple[np.ndarray, np.ndarray | None, dict, list[str]]:
    """Clips and views of train and validation, their labels, groups and splits by name, and the class names."""
    table, attributes = read_table(folder / "data/index.parquet")
    known = [row for row in table.to_pylist() if row["split"] in ("train", "val") and row["status"] == "ok"]
    known.sort(key=lambda row: row["video_id"])
    frames = {}
    for path in sorted((folder / "data/clips").glob("*.zarr.zip")):
        arrays, described = read_arrays(path)
        frames |= dict(zip(described["video_id"], arrays["frames"], strict=True))
    known = [row for row in known if row["video_id"] in frames]
    n_views = section.backbone.finetune.views
    views = None
    if n_views > 1:  # of validation too, which is trained on in other folds; so not those of stage `views`
        excerpts = [None if row["first_frame"] is None else (row["first_frame"], row["end_frame"]) for row in known]
        views = np.stack(
            [
                decode_views(root / row["path"], section.data.decode, n_views, partial(open_video, frames=excerpt))
                for row, excerpt in zip(known, excerpts, strict=True)
            ]
        )
    columns = {
        "label": np.array([label for row in known for (label,) in [row["labels"]]]),
        "group": np.array([row["group"] or row["video_id"] for row in known]),
        "split": np.array([row["split"] for row in known]),
    }
    return np.stack([frames[row["video_id"]] for row in known]), views, columns, attributes["class_names"]


def folds_of(groups: np.ndarray, n_folds: int, draw: int) -> np.ndarray:
    """Fold of every clip, ``[n]``: all clips of a group are in the same one."""
    names = np.array(sorted(set(groups)))
    if draw:
        names = np.random.default_rng(draw).permutation(names)
    fold = {group: number % n_folds for number, group in enumerate(names)}
    return np.array([fold[group] for group in groups])


def sign_flip(gains: np.ndarray, random: np.random.Generator, n: int = 100_000) -> float:
    """How often random signs give the gains of clips, ``[n]``, a mean at least as large."""
    gains = gains[gains != 0]
    signs = random.integers(0, 2, (n, len(gains)), np.int8) * 2 - 1
    return float((1 + (signs @ gains >= gains.sum() - 1e-9).sum()) / (1 + n))


def probe(features: np.ndarray, labels: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Whether a linear probe names each held-out clip rightly."""
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(features[train], labels[train])
    return fitted.predict(features[held_out]) == labels[held_out]


def tuned_names(training: Training) -> np.ndarray:
    """Whether the network as it is now names each held-out clip rightly."""
    training.model.eval()
    training.drop_path.set(None)
    clips = training.frames[training.rows["val"]]
    with torch.inference_mode():
        logits = [training.model(training.backbone.pixels(clip[None])).logits.float() for clip in clips]
    return torch.cat(logits).argmax(1).numpy() == training.labels["val"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", help="of config.yaml; its clips must have been decoded")
    parser.add_argument("--results", type=Path, help="folder of the decoded clips, results/DATASET by default")
    parser.add_argument("--data-root", type=Path, help="folder above the data sets, that of config.yaml by default")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--draws", type=int, nargs="+", default=[0], help="of folds, few clips and seed")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other settings of the recipe")
    parser.add_argument("--per-class", type=int, help="train clips of each class, all by default")
    parser.add_argument("--model", help="another backbone to begin with")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = load()
    section = config.datasets[arguments.dataset]
    changes = dict(item.split("=", 1) for item in arguments.set)
    recipe = type(section.backbone.finetune).model_validate(
        {**section.backbone.finetune.model_dump(), **{key: yaml.safe_load(value) for key, value in changes.items()}}
    )
    backbone = section.backbone.model_copy(update={"finetune": recipe})
    section = section.model_copy(update={"backbone": backbone})
    model, revision = arguments.model or backbone.features.model, backbone.features.revision
    results = arguments.results or Path("results") / arguments.dataset
    root = Path(arguments.data_root or config.data_root) / section.data.root
    if section.data.index.source == "generated":
        root = results / "demo"
    frames, views, columns, names = clips_of(results, section, root)
    labels, groups = columns["label"], columns["group"]
    frozen = encode(load_backbone(model), frames, 8)

    print(f"{arguments.dataset}: {len(labels)} clips, {len(set(groups))} groups, {arguments.folds} folds, {model}")
    print("draw fold  clips  frozen probe  tuned: last epoch  chosen epoch  probe on tuned features", flush=True)
    sums = np.zeros(5, int)
    right = np.zeros((2, len(labels)))  # of every clip over the draws: frozen, last epoch
    for draw in arguments.draws:
        whole = recipe.model_copy(update={"seed": recipe.seed + draw})
        fold = folds_of(groups, arguments.folds, draw) if arguments.folds else (columns["split"] == "train").astype(int)
        for number in range(arguments.folds or 1):
            train, held_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            if arguments.per_class:
                shuffled = np.random.default_rng([draw, number]).permutation(train)
                few = [shuffled[labels[shuffled] == label][: arguments.per_class] for label in np.unique(labels)]
                train = np.sort(np.concatenate(few))
            splits = {
                split: {"rows": rows.tolist(), "labels": labels[rows].tolist()}
                for split, rows in (("train", train), ("val", held_out))
            }
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                np.save(folder / FRAMES, frames)
                if views is not None:
                    np.save(folder / VIEWS, views)
                    splits["train"]["views"] = train.tolist()
                Plan("gain", model, revision, whole, names, splits, section.data.decode.sampling, 8, 1).save(folder)
                training = Training(folder)
                began = time.monotonic()
                progress = training.run()
                seconds = time.monotonic() - began
                top1 = {row["epoch"]: row["val_top1"] for row in progress.curve}
                counts = " ".join(f"{value * len(held_out):.0f}" for value in top1.values())
                print(f"          {counts}   ({len(train)} train clips, {seconds:.0f} s)", flush=True)
                last = tuned_names(training)
                checkpoint.load_weights(folder, progress.best, training.model)
                tuned = encode(training.backbone, frames, 8)
            before = probe(frozen, labels, train, held_out)
            right[:, held_out] += before, last
            row = [
                len(held_out),
                before.sum(),
                last.sum(),
                round(top1[progress.best] * len(held_out)),
                probe(tuned, labels, train, held_out).sum(),
            ]
            sums += row
            print("{:>4} {:>4}  {:>5}  {:>12}  {:>17}  {:>12}  {:>23}".format(draw, number + 1, *row), flush=True)
    shares = sums[1:] / sums[0]
    print("all       {:>5}  {:>12.3f}  {:>17.3f}  {:>12.3f}  {:>23.3f}".format(sums[0], *shares))
    gains = (right[1] - right[0]) / len(arguments.draws)
    better, worse = (gains > 0).sum(), (gains < 0).sum()
    print(
        f"last epoch over frozen probe: {shares[1] - shares[0]:+.3f}; {better} clips better, {worse} worse; "
        f"p = {sign_flip(gains, np.random.default_rng(0)):.4f}"
    )


if __name__ == "__main__":
    main()
