"""The figures of a finished run in words, for ``conceptreel summary``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.methods.dance.bottleneck.activations import TYPES
from pipeline.store.tables import read_table

UNKNOWN = "  –  "
LOCALISED = ("pointing", "apart_pointing", "pixel_accuracy", "mean_iou", "mean_average_precision")


# What figures are called where people read them; of others the name is said with blanks.
CALLED = {
    "top1_before": "top-1 before",
    "top1_after": "top-1 after",
    "changed": "of the decisions change",
    "probability_before": "mean probability of the true class before",
    "probability_after": "mean probability of the true class after",
    "right_with_class": "of these are decided as that class",
    "agreement": "of the decisions agree with the model's",
    "top5_overlap": "of the five heaviest concepts of a class are the model's (Jaccard)",
    "weight_correlation": "correlation of the weights with the model's",
    "nnz": "non-zero weights",
    "n_with_class": "videos that show another class of the set",
    "mean_iou": "mean IoU",
    "mean_iou_fitted": "mean IoU with fitted thresholds",
}


def in_words(name: str, value: float) -> str:
    """A figure with what it counts or measures: ``80 videos``, ``0.101 standard deviations: mean change …``.

    Args:
        name: as tables have it: counts begin with ``n_``, ``shift_<type>`` and ``kept_<type>`` are those of
            `pipeline.methods.dance.explain.sanity.response`, ``meaning_<type>`` that of ``retrained``.
    """
    what, _, kind = name.partition("_")
    words = CALLED.get(name, name.removeprefix("n_").replace("_", " ").replace("top1", "top-1"))
    if any(f"_{event}_" in name for event in ("wrong", "fixed", "broken")):
        return f"{value:8.0f}  videos: {words}"
    if what == "n" or name == "nnz":
        return f"{value:8.0f}  {words}"
    if what == "shift":
        words = f"standard deviations: mean change of {kind} activations"
    elif what in ("kept", "meaning"):
        against = "before and after" if what == "kept" else "with the labels that they should have"
        words = f"correlation of {kind} activations {against}"
    return f"{value:8.3f}  {words}"


def said(value: float | None) -> str:
    """A figure with three digits, or a dash where no video tells it."""
    return UNKNOWN if value is None else f"{value:.3f}"


def counted(right: dict[str, Any] | None) -> str:
    """How many videos are decided rightly, with the Wilson interval of their share; empty where there is no video."""
    if not right or not right["of"]:
        return ""
    low, high = right["interval"]
    return f"{right['count']} of {right['of']}, 95 % interval {low:.3f} to {high:.3f}"


def _localisation(path: Path) -> list[str]:
    """The table of the stage `localise`: one line per method, one column per figure."""
    values = {(row["method"], row["figure"]): row["value"] for row in read_table(path)[0].to_pylist()}
    methods = [method for method, figure in values if figure == LOCALISED[0]]
    width = max(map(len, methods), default=0)
    shown = [name for name in LOCALISED if all((method, name) in values for method in methods)]
    lines = ["", "where the object is, against the masks of the test clips:"]
    lines.append("  ".join([f"{'method':<{width}}", *shown]))
    for method in methods:
        cells = [f"{values[method, name]:{len(name)}.3f}" for name in shown]
        lines.append("  ".join([f"{method:<{width}}", *cells]))
    known = {(method, name) for method in methods for name in shown}
    lines += [
        f"  {' '.join(in_words(figure, value).split())} ({method})"
        for (method, figure), value in values.items()
        if (method, figure.removesuffix("_strict")) not in known
    ]
    return lines


def _other_splits(figures: dict[str, Any]) -> dict[str, float]:
    """Split → top-1, of the splits beside test and validation."""
    known = ("backbone_top1", "val_top1")
    return {
        name.removesuffix("_top1"): value
        for name, value in figures.items()
        if name.endswith("_top1") and name not in known
    }


def lines(folder: Path, metrics: dict[str, Any], video: Path | None = None) -> list[str]:
    """Accuracies with what they should be, and the reasons of one prediction.

    Args:
        folder: ``results/<data set>``; metrics: its ``metrics.json``.
        video: whose prediction is explained; a test clip of the demo if there is one.
    """
    measured: dict[str, float] = {}
    if (folder / "demo" / "evaluation.parquet").is_file():
        table = read_table(folder / "demo" / "evaluation.parquet")[0]
        measured = dict(zip(table["figure"].to_pylist(), table["value"].to_pylist(), strict=True))
    found = [
        f"{metrics['dataset']}: {metrics['n_train']} train, {metrics['n_val']} validation, {metrics['n_test']} test "
        f"videos",
        "",
        f"test accuracy (top-1)        {said(metrics['top1'])}   with {metrics['nnz']} non-zero weights",
    ]
    if counted(metrics.get("right")):
        found.append(f"  right                      {counted(metrics['right'])}")
    if metrics["top1"] is None:
        found.append(f"validation accuracy (top-1)  {said(metrics['val_top1'])}   there is no test video")
    for kind in (kind for kind in TYPES if kind in metrics["top1_by_type"]):
        ceiling = measured.get(f"ceiling_{kind}")
        limit = "" if ceiling is None else f"   (ceiling by construction {ceiling:.3f})"
        count = metrics["n_concepts"][kind]
        found.append(f"  {kind:<8} concepts alone     {said(metrics['top1_by_type'][kind])}   {count} concepts{limit}")
    alone = said(metrics["backbone_top1"])
    found.append(f"  backbone features alone     {alone}   the same classifier without concepts")
    found += [
        f"  on `{name}`                {said(value)}   {counted(metrics.get(f'{name}_right'))}"
        for name, value in _other_splits(metrics).items()
    ]
    unseen = ", ".join(f"{said(value)} of `{name}`" for name, value in metrics.get("unseen", {}).items())
    found += [f"  unlike all training videos  {unseen}"] if unseen else []
    found += [f"  {name:<27} {value:.3f}" for name, value in measured.items() if not name.startswith("ceiling_")]
    for kind, figures in metrics["kinds"].items() if len(metrics.get("kinds", {})) > 1 else ():
        others = "".join(f", on `{name}` {said(value)}" for name, value in _other_splits(figures).items())
        found.append(f"  model kind {kind:<16} {said(figures['top1'])}{others}")
    if "poses" in metrics:
        found.append(f"poses: {metrics['poses']}")
    found += [f"warning: {sentence}" for sentence in metrics.get("warnings", ())]
    if (folder / "demo" / "localisation.parquet").is_file():
        found += _localisation(folder / "demo" / "localisation.parquet")
    if video is None:
        video = next(iter(sorted((folder / "demo" / "videos").glob("*_test_000.mp4"))), None)
    if video:
        from pipeline.methods.models import load

        found += ["", "why? the three strongest concepts of one prediction:"]
        found += load(folder / "model.pt").predict(video).lines(3)
    return found
