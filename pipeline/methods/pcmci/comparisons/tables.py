"""Stages, their order and what each rests on, as changed settings, on the structural causal model or on videos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pipeline.ablations.cache import Cache
from pipeline.ablations.variants import Table, Variant, changed
from pipeline.config import Dataset
from pipeline.methods.pcmci.controls import CHANGES, ORACLE, OWN, SHUFFLED
from pipeline.methods.pcmci.world import INTERVENTIONS
from pipeline.store.tables import read_table

PART = {"H": "ICH", "I": "ICI", "V": "IVC"}
NO_CONTAMINATION = {"pcmci.world.contamination": 0.0}
COUPLED = ("false couplings", "false couplings, calibrated", "effect of do(object)")
# Published accuracy of activities and mAP of unit actions, by stages.
PUBLISHED = {
    "": {"breakfast_activities": 91.55, "breakfast": 80.23, "coin_tasks": 87.77, "coin": 76.93},
    "H": {"breakfast_activities": 94.93, "breakfast": 84.17, "coin_tasks": 92.56, "coin": 80.38},
    "I": {"breakfast_activities": 93.80, "breakfast": 83.64, "coin_tasks": 91.74, "coin": 79.91},
    "V": {"breakfast_activities": 93.24, "breakfast": 88.31, "coin_tasks": 90.38, "coin": 84.13},
    "HI": {"breakfast_activities": 95.77, "breakfast": 85.59, "coin_tasks": 93.60, "coin": 82.25},
    "HIV": {"breakfast_activities": 97.46, "breakfast": 90.51, "coin_tasks": 94.53, "coin": 86.54},
    "VHI": {"breakfast": 81.76},
    "VIH": {"breakfast": 80.94},
    "IVH": {"breakfast": 83.13},
    "IHV": {"breakfast": 87.43},
    "HVI": {"breakfast": 89.72},
}


def section_of(section: Dataset, variant: Variant, seed: int) -> Dataset:
    """The configuration of one cell: the variant's changes alone and other draws, of the world too; 0 is the run's."""
    own = changed(section, {"pcmci.controls": [], **variant.changes}, f"variant `{variant.name}`").pcmci
    seeds = {"pcmci.world.seed": own.world.seed + seed, "pcmci.training.seed": own.training.seed + seed}
    return changed(section, {"pcmci.controls": [], **variant.changes, **seeds})


def figures_of(cache: Cache, section: Dataset, variant: Variant) -> dict[str, float]:
    """Of the world mAP on every test set, and what couplings and objects do where everything was intervened upon.

    Of videos the first figure of test, and false couplings of actions.
    """
    control = variant.head or OWN
    (path,) = cache.paths(section, "pcmci_train")["evaluation"]
    found = {
        (row["do"], row["figure"]): row["value"] for row in read_table(path)[0].to_pylist() if row["network"] == control
    }
    if section.pcmci.source == "videos":
        shown = ("accuracy", "mAP", "map_sklearn", *COUPLED)
        return {name: found["test", name] for name in shown if ("test", name) in found}
    return {f"mAP {do}": found[do, "mAP"] for do in INTERVENTIONS} | {name: found["do(all)", name] for name in COUPLED}


def _control(name: str, head: str | None = None, paper: str | None = None) -> Variant:
    changes = {f"pcmci.{part}.{key}": value for part, own in CHANGES[name].items() for key, value in own.items()}
    return Variant(name, changes, head, PUBLISHED[paper] if paper else {})


def _order(letters: str) -> Variant:
    changes = {"pcmci.network.stages": [PART[letter] for letter in letters]}
    return Variant(letters or "none", changes, paper=PUBLISHED[letters])


def _kinds(key: str, kinds: Iterable[str], paper: dict[str, float] | None = None) -> list[Variant]:
    papers = paper or {}
    return [Variant(kind, {key: kind}, paper={"breakfast": papers[kind]} if kind in papers else {}) for kind in kinds]


def _uncontaminated(variant: Variant) -> Variant:
    return Variant(f"{variant.name}, κ = 0", {**variant.changes, **NO_CONTAMINATION})


def _of_the_world() -> list[Table]:
    """What only a structural causal model can tell."""
    shuffled, oracle = (Variant(name, {"pcmci.controls": [name]}, head=name) for name in (SHUFFLED, ORACLE))
    weights = [_control("ICH"), _control("ICH, no OT"), _control("ICH, no OT, as sharp")]
    return [
        Table(
            "controls",
            "What the stages are held against",
            "",
            [_control("keys"), shuffled, oracle, _control("explained")],
        ),
        Table("transport", "What optimal transport adds", "section 8.1", [*weights, *map(_uncontaminated, weights)]),
    ]


def _of_videos() -> list[Table]:
    """Which other encoders there are, only the configuration knows."""
    return [
        Table(
            "encoders",
            "Video encoders",
            "Table of encoders; there accuracy on Breakfast, COIN: X3D 90.42, 88.49; ViT 95.21, 92.60; TimeSformer "
            "97.46, 94.53; VideoMamba 97.75, 91.13",
            [Variant("as configured")],
            remakes=("pcmci_tokens",),
        )
    ]


def tables(section: Dataset) -> dict[str, Table]:
    """All comparisons by name, those of the configuration included."""
    told = Variant("ICH, explained", {"pcmci.network.stages": ["ICH"], "pcmci.training.explain_codependency": True})
    parts = {"ICH": "H", "ICI": "I", "IVC": "V"}
    one_each = [_control(name, paper=letter) for name, letter in parts.items()]
    found = [
        Table(
            "stages",
            "What each stage is worth",
            "Table of stages",
            [_order(""), *one_each, _order("HI"), _order("HIV")],
        ),
        Table(
            "codependency",
            "What reaches labels that come together otherwise",
            "",
            [_order(""), _control("ICI"), _control("ICH"), _order("HI"), told],
        ),
        Table(
            "order",
            "Order of the stages",
            "Table of orders",
            [_order(letters) for letters in ("VHI", "VIH", "IVH", "IHV", "HVI", "HIV")],
        ),
        Table(
            "refine",
            "Weights of frames",
            "",
            _kinds("pcmci.network.refine", ("product", "plan", "similarity", "sharpened", "mean")),
        ),
        Table(
            "marginal",
            "Whose evidence ICH joins",
            "equation 11",
            _kinds("pcmci.network.marginal", ("own", "population")),
        ),
        Table(
            "tune",
            "What is trained",
            "Table 8",
            _kinds("pcmci.training.tune", ("text", "visual"), {"text": 86.76, "visual": 90.70}),
        ),
        *(_of_the_world() if section.pcmci.source == "world" else _of_videos()),
    ]
    result = {table.name: table for table in found}
    for name, variants in section.ablations.items():
        own = [Variant(variant, changes) for variant, changes in variants.items()]
        known = result.get(name) or Table(name, name, "", [])
        result[name] = replace(known, variants=[*known.variants, *own])
    return result
