"""Stages, their order and what each rests on, as changed settings, on the structural causal model."""

from __future__ import annotations

from pipeline.ablations.cache import Cache
from pipeline.ablations.variants import Table, Variant, changed
from pipeline.config import Dataset
from pipeline.methods.pcmci.controls import CHANGES, ORACLE, OWN
from pipeline.methods.pcmci.world import INTERVENTIONS
from pipeline.store.tables import read_table

PART = {"H": "ICH", "I": "ICI", "V": "IVC"}
NO_CONTAMINATION = {"pcmci.world.contamination": 0.0}


def section_of(section: Dataset, variant: Variant, seed: int) -> Dataset:
    """The configuration of one cell: the variant's changes alone, another world and other draws; 0 is the run's."""
    own = changed(section, {"pcmci.controls": [], **variant.changes}, f"variant `{variant.name}`").pcmci
    seeds = {"pcmci.world.seed": own.world.seed + seed, "pcmci.training.seed": own.training.seed + seed}
    return changed(section, {"pcmci.controls": [], **variant.changes, **seeds})


def figures_of(cache: Cache, section: Dataset, variant: Variant) -> dict[str, float]:
    """mAP on every test set; false couplings and what an object does where everything was intervened upon."""
    control = variant.head or OWN
    (path,) = cache.paths(section, "pcmci_train")["evaluation"]
    found = {
        (row["do"], row["figure"]): row["value"] for row in read_table(path)[0].to_pylist() if row["network"] == control
    }
    shown = {f"mAP {do}": found[do, "mAP"] for do in INTERVENTIONS}
    return shown | {name: found["do(all)", name] for name in ("false couplings", "effect of do(object)")}


def _control(name: str, **more) -> Variant:
    changes = {f"pcmci.{part}.{key}": value for part, own in CHANGES[name].items() for key, value in own.items()}
    return Variant(name, changes | {f"pcmci.world.{key}": value for key, value in more.items()})


def _order(letters: str) -> Variant:
    return Variant(letters or "none", {"pcmci.network.stages": [PART[letter] for letter in letters]})


def tables(section: Dataset) -> dict[str, Table]:
    """All comparisons by name, those of the configuration included."""
    oracle = Variant(ORACLE, {"pcmci.controls": [ORACLE]}, head=ORACLE)
    told = Variant("ICH, explained", {"pcmci.network.stages": ["ICH"], "pcmci.training.explain_codependency": True})
    bare = [Variant(f"{name}, κ = 0", {**_control(name).changes, **NO_CONTAMINATION}) for name in ("ICH", "ICH, no OT")]
    stages = [_order(""), _control("ICH"), _control("ICI"), _control("IVC"), _order("HI"), _order("HIV")]
    found = [
        Table("stages", "What each stage is worth", "Table of stages", stages),
        Table(
            "codependency",
            "What reaches labels that come together otherwise",
            "",
            [_order(""), _control("ICI"), _control("ICH"), _order("HI"), told],
        ),
        Table("controls", "What the stages are held against", "", [_control("keys"), oracle, _control("explained")]),
        Table(
            "transport", "What optimal transport adds", "section 8.1", [_control("ICH"), _control("ICH, no OT"), *bare]
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
            [Variant(kind, {"pcmci.network.refine": kind}) for kind in ("product", "plan", "similarity", "mean")],
        ),
        Table(
            "marginal",
            "Whose evidence ICH joins",
            "equation 11",
            [Variant(kind, {"pcmci.network.marginal": kind}) for kind in ("own", "population")],
        ),
        Table(
            "tune",
            "What is trained",
            "Table 8",
            [Variant(kind, {"pcmci.training.tune": kind}) for kind in ("text", "visual")],
        ),
    ]
    result = {table.name: table for table in found}
    for name, variants in section.ablations.items():
        own = [Variant(variant, changes) for variant, changes in variants.items()]
        known = result.get(name)
        result[name] = Table(
            name,
            known.title if known else name,
            known.source if known else "",
            [*(known.variants if known else []), *own],
        )
    return result
