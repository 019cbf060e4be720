"""Tables 3, 4 and 5 of the paper as changed settings, and the recipes of training; of each the three figures.

The paper's figures are a_t with test labels in the prompts, so here that of the oracle.
"""

from __future__ import annotations

import json
from typing import Any

from pipeline.ablations.cache import Cache
from pipeline.ablations.variants import Table, Variant, changed
from pipeline.config import Dataset
from pipeline.store.tables import read_table

CHARADES = "charades"
# Column → split, protocol and figure; what a data set does not have is left out.
FIGURES = {
    "headline": ("test", "label_free", "headline"),
    "oracle a_t": ("test", "oracle", "a_t"),
    "a_m": ("test", "label_free", "a_m"),
    "prompt's part": ("test", "label_free", "prompt_share"),
    "verbs": ("test", "parts", "verbs"),
    "verbs, `shifted`": ("shifted", "parts", "verbs"),
    "object found": ("test", "parts", "node_hit"),
}
LOSS = "proda.loss."


def section_of(section: Dataset, variant: Variant, seed: int) -> Dataset:
    """The configuration of one cell: the variant's changes, another validation split and other draws; 0 is the run."""
    own = changed(section, variant.changes, f"variant `{variant.name}`")
    seeds = {
        "data.index.seed": own.data.index.seed + seed,
        "proda.training.seed": own.proda.training.seed + seed,
    }
    return changed(own, seeds)


def figures_of(cache: Cache, section: Dataset, variant: Variant) -> dict[str, float]:
    """What validation chose by, then figures of the result splits."""
    paths = cache.paths(section, "proda")
    chosen = json.loads(paths["metrics"][0].read_text(encoding="utf-8"))["chosen"]
    rows = read_table(paths["evaluation"][0])[0].to_pylist()
    found = {(row["split"], row["protocol"], row["figure"]): row["value"] for row in rows if not row["baseline"]}
    figures = {name: found[key] for name, key in FIGURES.items() if key in found}
    return {"validation": max(own["validation"] for own in chosen.values()), **figures}


def _variant(name: str, paper: float | None, changes: dict[str, Any]) -> Variant:
    return Variant(name, changes, paper={} if paper is None else {CHARADES: paper})


def _losses(name: str, paper: float | None, **loss: Any) -> Variant:
    return _variant(name, paper, {LOSS + key: value for key, value in loss.items()})


def tables(section: Dataset) -> dict[str, Table]:
    """All comparisons by name, those of the configuration included."""
    found = [
        Table(
            "prompt",
            "How prompts reach the nodes",
            "Table 3",
            [
                _variant("SimplePrompt", 68.07, {"proda.network.prompt": "simple"}),
                _variant("DPM", 71.10, {"proda.network.prompt": "dynamic"}),
            ],
        ),
        Table(
            "norm",
            "The norm after each layer",
            "Table 4",
            [
                _variant("LayerNorm", 68.12, {"proda.network.norm": "layer"}),
                _variant("BatchNorm", 65.39, {"proda.network.norm": "batch"}),
                _variant("GraphNorm", 68.61, {"proda.network.norm": "graph"}),
                _variant("VGNorm", 71.10, {"proda.network.norm": "vgnorm"}),
            ],
        ),
        Table(
            "losses",
            "What is minimised",
            "Table 5",
            [
                _losses("① classification", 67.45, disentangle=False, reconstruct=False),
                _losses("② both, no margin", 68.43, margin_disentangle=0.0, margin_reconstruct=0.0),
                _losses("③ disentanglement", 67.78, reconstruct=False),
                _losses("④ reconstruction", 64.89, disentangle=False),
                _losses("⑤ both", 71.10),
                _losses("⑥ encoder alone", None, encoder_only=True),
            ],
        ),
        Table(
            "recipes",
            "Prompts of training, phase 1",
            "",
            [
                Variant(recipe, {"proda.training.first.recipes": [recipe]})
                for recipe in ("paper", "independent", "mixed")
            ],
        ),
        Table(
            "cures",
            "What might cure a collapse of the paper's recipe",
            "",
            [
                Variant("paper", {"proda.training.first.recipes": ["paper"]}),
                *(
                    Variant(name, {"proda.training.first.recipes": ["paper"], **changes})
                    for name, changes in (
                        ("annealed margin", {LOSS + "margins": "annealed"}),
                        ("adaptive weight", {LOSS + "unspecified": "adaptive"}),
                        ("no disentanglement loss", {LOSS + "disentangle": False, LOSS + "reconstruct": False}),
                    )
                ),
                Variant("independent", {"proda.training.first.recipes": ["independent"]}),
                Variant("mixed", {"proda.training.first.recipes": ["mixed"]}),
            ],
        ),
    ]
    result = {table.name: table for table in found}
    for name, variants in section.ablations.items():
        own = [Variant(variant, changes) for variant, changes in variants.items()]
        known = result.get(name)
        result[name] = (
            Table(name, known.title, known.source, known.variants + own) if known else Table(name, name, "", own)
        )
    return result
