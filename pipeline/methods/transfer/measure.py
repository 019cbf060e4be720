"""Figures of predictions: what ``metrics.json`` holds, and what tables and the page are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.demo.synta.classes import FACTORS
from pipeline.methods.transfer.protocol import (
    Figures,
    accuracy,
    averaged,
    class_mean,
    figures,
    inside_pairs,
    sign_flip,
)

BACKGROUNDS = ("realistic", "plain")
# Models by what they promise: the first that is there makes the headline.
BEST = ("concepts (found)", "concepts (poses)", "moving", "temporal", "linear")
BASE, PREFIX = "moving", "disentangled: "


@dataclass(frozen=True)
class Predictions:
    """What models said of n videos; a video counts once for each model, training set and seed.

    Attributes:
        columns: model, level, background, role, train_set, seed, label, predicted, fine, video_id, each ``[n]``.
        partner: of each coarse class the one that it is played backward.
        about: attributes of the table.
    """

    columns: Mapping[str, np.ndarray]
    partner: np.ndarray
    about: Mapping[str, Any]

    @classmethod
    def of(cls, table: Any, attributes: Mapping[str, Any]) -> Predictions:
        columns = {name: np.array(table[name].to_pylist()) for name in table.column_names}
        return cls(columns, np.array(attributes["partner"], int), attributes)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def where(self, **wanted: Any) -> Predictions:
        """Rows with these values."""
        rows = np.ones(len(self["label"]), bool)
        for name, value in wanted.items():
            rows &= self[name] == value
        return Predictions({name: own[rows] for name, own in self.columns.items()}, self.partner, self.about)

    def values(self, name: str) -> list[Any]:
        """Different values of a column, in the order of the rows."""
        return list(dict.fromkeys(self[name].tolist()))

    def runs(self) -> Iterator[tuple[tuple[int, int], Predictions]]:
        """By training set and seed."""
        for s in self.values("train_set"):
            own = self.where(train_set=s)
            for seed in own.values("seed"):
                yield (s, seed), own.where(seed=seed)

    def top1(self, **wanted: Any) -> float:
        chosen = self.where(**wanted) if wanted else self
        return accuracy(chosen["predicted"], chosen["label"])


def by_run(own: Predictions) -> dict[tuple[int, int], Figures]:
    """Training set and seed → figures, of one model, level and background."""
    return {key: figures(run.top1(role="known"), run.top1(role="unknown")) for key, run in own.runs()}


def _of_model(own: Predictions) -> dict[str, Any]:
    runs = by_run(own)
    found: dict[str, Any] = {**averaged(runs.values())._asdict(), "runs": len(runs)}
    for s in own.values("train_set"):
        found[f"hm_set{s}"] = averaged(value for key, value in runs.items() if key[0] == s).hm
    found["hm_std"] = float(np.std([value.hm for value in runs.values()]))
    known, unknown = own.where(role="known"), own.where(role="unknown")
    found["class_mean"] = {
        name: class_mean(rows["predicted"], rows["label"]) for name, rows in (("known", known), ("unknown", unknown))
    }
    if own.values("level") == ["coarse"] and (own.partner >= 0).any():  # motions of real videos have no reverse
        found["inside_pairs"] = {
            role: inside_pairs(rows["predicted"], rows["label"], own.partner)
            for role in ("known", "unknown", "shuffled")
            if len((rows := own.where(role=role))["label"])
        }
        backward = own.where(role="backward")
        other = own.partner[backward["label"]]
        if (other >= 0).any():
            found["backward_as_partner"] = accuracy(backward["predicted"][other >= 0], other[other >= 0])
    found["factors"] = {role: rows.top1() for role in FACTORS if len((rows := own.where(role=role))["label"])}
    return found


def paired(base: Mapping[tuple[int, int], Figures], runs: Mapping[tuple[int, int], Figures]) -> dict[str, Any]:
    """Gain in HM over the runs of the same sets and seeds, and the probability of so large a one by chance."""
    found = [runs[key].hm - base[key].hm for key in runs if key in base]
    return {"gain": float(np.mean(found)), "std": float(np.std(found)), "pairs": len(found), "p": sign_flip(found)}


def gains(predictions: Predictions) -> dict[str, Any]:
    """Gain in HM of each variant of disentanglement over the network without fine classes, paired by set and seed."""
    coarse = predictions.where(level="coarse", background=BACKGROUNDS[0])
    base = by_run(coarse.where(model=BASE))
    found = {}
    for model in coarse.values("model"):
        if model.startswith(PREFIX) and base:
            found[model.removeprefix(PREFIX)] = paired(base, by_run(coarse.where(model=model)))
    return found


def bars(models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the mini set should show, and whether it does; bars whose models are not there are left out.

    Args:
        models: figures by ``model`` or ``model, plain``.
    """
    found: dict[str, dict[str, Any]] = {}

    def bar(name: str, value: float, least: float, sign: int = 1) -> None:
        found[name] = {"value": value, "bar": least, "reached": bool(sign * value >= sign * least)}

    for name in ("temporal", "moving"):
        if name in models:
            bar(f"{name}: known − unknown ≥ 5", models[name]["d_abs"], 5)
            if f"{name}, plain" in models:
                bar(f"{name}: HM plain − realistic ≥ 15", models[f"{name}, plain"]["hm"] - models[name]["hm"], 15)
            if "shuffled" in models[name].get("inside_pairs", {}):
                bar(f"{name}: shuffled frames ≤ .65 inside pairs", models[name]["inside_pairs"]["shuffled"], 0.65, -1)
            for which in ("found", "truth"):
                if (concepts := f"concepts ({which})") in models:
                    gain = models[concepts]["hm"] - models[name]["hm"]
                    bar(
                        f"{concepts} − {name}, HM{' ≥ 5' if which == 'found' else ' ≥ 0'}", gain, 5 * (which == "found")
                    )
    return found


def measured(predictions: Predictions) -> dict[str, Any]:
    """Everything that ``metrics.json`` says but the times.

    Raises:
        ValueError: nothing was judged.
    """
    models = {}
    for level in predictions.values("level"):
        for background in BACKGROUNDS:
            own = predictions.where(level=level, background=background)
            for model in own.values("model"):
                mark = ", plain" if background == "plain" else ""
                models[f"{model}{', fine' if level == 'fine' else ''}{mark}"] = _of_model(own.where(model=model))
    if not models:
        raise ValueError("no model was judged")
    best = next(name for name in (*BEST, *models) if name in models)
    return {
        "headline": {
            "name": f"harmonic mean of known and unknown, {best}",
            "value": models[best]["hm"] / 100,
            "split": "known + unknown",
        },
        "models": models,
        "disentanglement": gains(predictions),
        "bars": bars(models),
        "chance": 100 / len(predictions.about["class_names"]),
    }
