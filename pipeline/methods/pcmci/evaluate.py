"""Stage `pcmci`: the model file, and the figures of all networks with a headline."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pipeline.jobs import stage
from pipeline.methods.pcmci.controls import OWN, PLAIN
from pipeline.methods.pcmci.examples import examples
from pipeline.methods.pcmci.model import Model, network_of
from pipeline.methods.pcmci.page import page
from pipeline.methods.pcmci.pictures import SHOWN_LABELS, draw_matrices
from pipeline.methods.pcmci.trials import HEADLINES
from pipeline.store.atomic import replace_when_done
from pipeline.store.plain import write_json

TITLES = {"labels": "labels", PLAIN: "plain network", OWN: "as configured"}


def by_network(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Network → what was intervened upon → figure → value."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        found.setdefault(row["network"], {}).setdefault(row["do"], {})[row["figure"]] = row["value"]
    return found


def drawn_couplings(job: stage.Job) -> bytes | None:
    """Q of the labels, of the plain network and of the configured one, as a picture; None of activities.

    Of many labels those are drawn that networks couple most beyond the truth.
    """
    ((arrays, attributes),) = job.read_arrays("matrices")
    found = {name: arrays[name].astype(np.float32) for name in TITLES if name in arrays}
    if not found:
        return None
    more = np.max([np.nan_to_num(own) - np.nan_to_num(found["labels"]) for own in found.values()], 0)
    chosen = np.sort(np.argsort(-np.maximum(more.max(0), more.max(1)), kind="stable")[:SHOWN_LABELS])
    drawn = {TITLES[name]: own[np.ix_(chosen, chosen)] for name, own in found.items()}
    names = [attributes["class_names"][label] for label in chosen]
    return draw_matrices(drawn, names, "P(row | column)", False, "given")


def build(job: stage.Job) -> None:
    """Write the model, its figures and its page."""
    ((arrays, attributes),) = job.read_arrays("network")
    table, _ = job.read_table("evaluation")
    figures = by_network(table.to_pylist())
    metadata = {"class_names": attributes["class_names"], "settings": attributes["settings"]}
    if "look" in job.settings:
        metadata["look"] = job.settings["look"]
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    model = Model(metadata, network_of(metadata, tensors))
    model.save(job.outputs["model"])
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
    concepts = job.read_table("concepts")[0].to_pylist() if job.given("concepts") else []
    write_json(job.outputs["metrics"], metrics)
    with replace_when_done(job.outputs["report"]) as file:
        shown = page(metrics, pairs, drawn_couplings(job), examples(job, model), concepts)
        file.write_text(shown, encoding="utf-8")


if __name__ == "__main__":
    stage.run("pcmci", build)
