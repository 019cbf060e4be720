"""Stage `pcmci`: the model file, and the figures of all networks with a headline."""

from __future__ import annotations

from typing import Any

import torch

from pipeline.jobs import stage
from pipeline.methods.pcmci.controls import OWN
from pipeline.methods.pcmci.model import Model, network_of
from pipeline.methods.pcmci.page import page
from pipeline.store.atomic import replace_when_done
from pipeline.store.plain import write_json

# What a world without the training's coincidences leaves of a network; of videos, the split that is a result.
HEADLINES = ("do(all)", "test")


def by_network(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Network → what was intervened upon → figure → value."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        found.setdefault(row["network"], {}).setdefault(row["do"], {})[row["figure"]] = row["value"]
    return found


def build(job: stage.Job) -> None:
    """Write the model, its figures and its page."""
    ((arrays, attributes),) = job.read_arrays("network")
    table, _ = job.read_table("evaluation")
    figures = by_network(table.to_pylist())
    metadata = {"class_names": attributes["class_names"], "settings": attributes["settings"]}
    if "look" in job.settings:
        metadata["look"] = job.settings["look"]
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    Model(metadata, network_of(metadata, tensors)).save(job.outputs["model"])
    split = next((name for name in HEADLINES if name in figures.get(OWN, {})), None)
    name, value = ("mAP", None) if split is None else next(iter(figures[OWN][split].items()))
    metrics = {
        "dataset": job.dataset,
        "headline": {"name": name, "value": value, "split": split or "test"},
        "networks": figures,
        "chosen_epoch": {name: curve["chosen"] for name, curve in attributes["curves"].items()},
        "warnings": job.warnings,
        "seconds": job.took,
    }
    pairs = job.read_table("couplings")[0].to_pylist()
    write_json(job.outputs["metrics"], metrics)
    with replace_when_done(job.outputs["report"]) as file:
        file.write_text(page(metrics, pairs), encoding="utf-8")


if __name__ == "__main__":
    stage.run("pcmci", build)
