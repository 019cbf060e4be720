"""Stage `pcmci_train`: the configured network and its controls, trained and asked."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipeline.data.entries import DEVELOPMENT
from pipeline.jobs import stage
from pipeline.methods.pcmci.controls import OWN, PLAIN, changed
from pipeline.methods.pcmci.network import Network
from pipeline.methods.pcmci.rows import Corpus, read_corpus, read_rows
from pipeline.methods.pcmci.settings import PCMCI
from pipeline.methods.pcmci.training import Curve, asked
from pipeline.methods.pcmci.trials import (
    HEADLINES,
    Coupled,
    Figure,
    Found,
    asked_of,
    baselines,
    figures,
    fitted,
    trained,
)

# Weights from which on several threads multiply them faster than one.
WIDE = 256
# Networks whose couplings are drawn beside those of the labels.
DRAWN = (PLAIN, OWN)

COUPLED = pa.schema(
    [(name, pa.string()) for name in ("network", "do", "label", "given")]
    + [(name, pa.float64()) for name in ("predicted", "true")]
)


def of_videos(corpus: Corpus, settings: PCMCI, control: str) -> tuple[Network, Curve, Found, dict[str, np.ndarray]]:
    """A network trained on videos, its figures on every split that is a result, and its logits there by split.

    Raises:
        StageError: there is no train video.
    """
    own = changed(settings, control)
    train = corpus.rows("train")
    if not len(train):
        raise stage.StageError("no train video has rows of both encoders")
    network, curve = fitted(own, corpus.texts, corpus.batch, corpus.labels, train, corpus.rows("val"))
    found: list[Figure] = []
    coupled: list[Coupled] = []
    logits: dict[str, np.ndarray] = {}
    for split in sorted(set(corpus.split) - set(DEVELOPMENT)):
        rows = corpus.rows(split)
        scores, labels = asked(network, corpus.batch, rows), corpus.labels[torch.from_numpy(rows)].numpy()
        values, pairs = asked_of(scores, labels, own.training.target, control, split, curve.thresholds)
        found, coupled, logits[split] = found + values, coupled + pairs, scores
    return network, curve, (found, coupled), logits


def table_of(coupled: list[Coupled], names: list[str]) -> tuple[pa.Table, list[dict[str, Any]]]:
    """False couplings by name, a row per pair, and the figures of every network and test set."""
    rows = [
        {"network": own.network, "do": own.do, "label": names[i], "given": names[j], "predicted": q, "true": true}
        for own in coupled
        for i, j, q, true in own.found.false_pairs
    ]
    sets = [
        {"network": own.network, "do": own.do}
        | {name: value for name, value in vars(own.found).items() if isinstance(value, int | float)}
        for own in coupled
    ]
    return pa.Table.from_pylist(rows, COUPLED), sets


def matrices_of(coupled: list[Coupled]) -> dict[str, np.ndarray]:
    """Q ``[N, N]`` of the labels and of each drawn network on the set that its headline is of; none of activities."""
    found: dict[str, np.ndarray] = {}
    for own in coupled:
        if own.network in DRAWN and own.do in HEADLINES:
            found |= {"labels": own.found.true_q, own.network: own.found.q}
    return {name: values.astype(np.float16) for name, values in found.items()}


def build(job: stage.Job) -> None:
    """Write the weights of the configured network, and the figures of all."""
    settings = PCMCI.model_validate(job.settings)
    if settings.network.width < WIDE:
        stage.limit_threads(0)
    if settings.source == "videos":
        corpus = read_corpus(job)
        names, n_train, found = corpus.class_names, int((corpus.split == "train").sum()), []
        if settings.training.target == "activity" and (corpus.labels.sum(1) != 1).any():
            raise stage.StageError(
                "pcmci.training.target is activity, and videos have none or several labels; set it to actions"
            )
    else:
        rows, names = read_rows(job, settings.world)
        n_train, found = len(rows["train"][0]), baselines(settings.world, rows)
    curves, own, coupled, logits, said = {}, {}, [], {}, {}
    for control in (OWN, *settings.controls):
        try:
            if settings.source == "videos":
                network, curve, (values, pairs), logits = of_videos(corpus, settings, control)
            else:
                network, curve = trained(settings, control, rows)
                values, pairs = figures(network, control, settings.world, rows, curve.thresholds)
        except ValueError as error:
            raise stage.StageError(f"PCMCI ({control}) cannot be trained: {error}") from None
        found, coupled = found + values, coupled + pairs
        curves[control] = vars(curve)
        if control == OWN:
            own = {name: value.numpy().reshape(-1) for name, value in network.state_dict().items()}
            said = logits
    columns = {key: [asdict(figure)[key] for figure in found] for key in ("network", "do", "figure", "value")}
    columns["seed"] = [settings.training.seed] * len(found)
    content = {"class_names": names, "settings": settings.model_dump(mode="json"), "curves": curves}
    job.write_arrays("network", own, content, n_ok=n_train)
    job.write_table("evaluation", pa.table(columns))
    table, sets = table_of(coupled, names)
    job.write_table("couplings", table, {"sets": sets})
    ids = [key for split in said for key in corpus.video_id[corpus.rows(split)]]
    scores = np.concatenate([*said.values()] or [np.zeros((0, len(names)))]).astype(np.float16)
    job.write_arrays("predictions", {"logits": scores}, {"video_id": ids, "class_names": names}, n_ok=len(ids))
    job.write_arrays("matrices", matrices_of(coupled), {"class_names": names}, n_ok=len(names))


if __name__ == "__main__":
    stage.run("pcmci_train", build)
