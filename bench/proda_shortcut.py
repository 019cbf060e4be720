"""What ProDA learns first, the prompt or the video: figures on validation while one recipe of phase 1 trains.

    python -m bench.proda_shortcut results/graphs_hard --recipe paper --epochs 12 --then 18

The run must have its index, graphs and nodes. `--then` trains on from the weights with a second schedule; `--set`
changes settings, such as `--set loss.disentangle=false`. `--test` looks at test videos at the end, with the epoch that
validation took.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from pipeline.ablations.variants import changed
from pipeline.config import dataset, load
from pipeline.data.table import read_index
from pipeline.graphs.graph import read_scenes
from pipeline.learning.multilabel import mean_average_precision
from pipeline.methods.proda import fit, protocols
from pipeline.methods.proda.answers import answer, answer_each, groups, prompt_share
from pipeline.methods.proda.batches import sizes_of
from pipeline.methods.proda.evaluate import prompt_rows
from pipeline.methods.proda.losses import disentanglement, margin_at, reconstruction
from pipeline.methods.proda.train import labelled
from pipeline.store.arrays import read_arrays
from pipeline.store.tables import read_table

VERBS, ORACLE_ROWS, TRAIN_ROWS = 3, 600, 200


class Run:
    """Artifacts of a finished floor, read as a job would."""

    shard = None

    def __init__(self, folder: Path):
        self.folder = folder

    def read_arrays(self, name: str):
        return map(read_arrays, sorted((self.folder / "graphs" / name).glob("*.zarr.zip")))

    def read_table(self, name: str):
        return read_table(self.folder / "data" / f"{name}.parquet")


def unusual(scores: np.ndarray, truth: np.ndarray) -> float:
    """How often the best verb of a used object is right where it is not the object's usual one."""
    own, right = (values.reshape(len(values), -1, VERBS) for values in (scores, truth))
    best = right.argmax(2)
    asked = right.any(2) & (best != np.arange(own.shape[1]) % VERBS)
    return float((own.argmax(2) == best)[asked].mean())


class Watch:
    """Losses and the norms of their gradients at the graph network, from a tenth of the batches."""

    def __init__(self):
        self.seen: dict[str, list[float]] = {}
        self.draw = np.random.default_rng(0)

    def loss(self, network, graphs, truth, wanted, settings, progress):
        """`fit.first_loss` part by part."""
        own, bce = settings.loss, functional.binary_cross_entropy_with_logits
        graph = network.encode(graphs)
        found, there = network.disentangle(graph, wanted.prompt), graph.present
        parts = {
            "s": bce(network.read_s(found.specified, there).logits, wanted.specified),
            "u": bce(network.read_u(found.unspecified, there).logits, wanted.unspecified),
            "t": bce(network.read_t(found.fused, there).logits, truth),
        }
        weight = own.unspecified
        if weight == "adaptive":
            weight = fit._norm(parts["s"], network) / (fit._norm(parts["u"], network) + 1e-8)
        if own.disentangle:
            margin = margin_at(own, progress)
            parts["disentangle"] = disentanglement(found.unspecified, found.specified, there, margin, own)
        if own.reconstruct:
            parts["reconstruct"] = reconstruction(graph.nodes, network.rebuilt(found.fused), there, own)
        weighted = {name: value * (weight if name == "u" else 1) for name, value in parts.items()}
        if self.draw.random() < 0.1:
            for name, value in weighted.items():
                self.seen.setdefault(name, []).append(float(fit._norm(value, network)))
        return sum(weighted.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--recipe", default="paper")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--then", type=int, default=0)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON")
    call = parser.parse_args()
    given = {f"proda.{key}": json.loads(value) for key, _, value in (item.partition("=") for item in call.set)}
    section = dataset(load(), call.results.name)
    run = Run(call.results)
    scenes, described = read_scenes(run)
    videos = read_index(run)
    train, val = (labelled(videos, scenes, split) for split in ("train", "val"))
    watch, done = Watch(), 0

    @torch.no_grad()
    def look(network, rows, settings) -> float:
        graph = fit.encoded(network, rows.scenes, settings.frames)
        prompts = groups(rows.truth.shape[1], settings.asked, 1)
        headline = answer(network, graph, prompts).headline.numpy()
        which, told = prompt_rows(rows.truth, settings.asked)
        kept = np.random.default_rng(1).permutation(len(which))[:ORACLE_ROWS]
        t, _ = answer_each(network, graph.take(torch.from_numpy(which[kept])), torch.from_numpy(told[kept]).float())
        oracle = protocols.charades_map(torch.sigmoid(t).numpy(), rows.truth[which[kept]])[0]
        figure = mean_average_precision(headline, rows.truth)[0]
        added = network.prompt_s(graph.nodes, prompts[0].expand(len(rows.truth), -1)) - graph.nodes
        lengths = [values[graph.present].norm(dim=-1).mean().item() for values in (added, graph.nodes)]
        first = fit.Rows(train.scenes.take(np.arange(TRAIN_ROWS)), train.truth[:TRAIN_ROWS])
        seen = answer(network, fit.encoded(network, first.scenes, settings.frames), prompts).headline.numpy()
        norms = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in watch.seen.items())
        print(
            f"headline {figure:.3f}, unusual verbs {unusual(headline, rows.truth):.3f}, oracle {oracle:.3f}, "
            f"prompt's part {prompt_share(network, graph, prompts):.3f}; "
            f"train {mean_average_precision(seen, first.truth)[0]:.3f}; "
            f"lengths of prompts and nodes {lengths[0]:.1f}, {lengths[1]:.1f}; gradients: {norms}",
            flush=True,
        )
        watch.seen.clear()
        return figure

    fit.label_free, fit.first_loss = look, watch.loss
    state = None
    for epochs in filter(None, (call.epochs, call.then)):
        own = changed(
            section, {"proda.training.first.epochs": epochs, "proda.training.evaluate_every": call.every, **given}
        )
        sizes = sizes_of(scenes, len(videos.class_names), len(described["node_classes"]), own.proda.frames)
        if state is not None:
            _begin_with(state)
        print(f"{call.recipe}: {epochs} epochs{' more' if done else ''}, a line every {call.every}", flush=True)
        state = fit.trial(fit.Problem(train, val, sizes, own.proda, "cpu"), 1, call.recipe, None)[0].state
        done += epochs
    if call.test:
        network = fit.ProDA(sizes, own.proda.network)
        network.load_state_dict(state)
        for split in ("test", "shifted"):
            _tell(split, network, labelled(videos, scenes, split), own.proda)


def _tell(split: str, network, rows: fit.Rows, settings) -> None:
    """The headline as `proda` has it, of the readout t of phase 1."""
    graph = fit.encoded(network, rows.scenes, settings.frames)
    prompts = groups(rows.truth.shape[1], settings.asked, settings.shuffles)
    found = answer(network, graph, prompts).headline.numpy()
    which, told = prompt_rows(rows.truth, settings.asked)
    t, _ = answer_each(network, graph.take(torch.from_numpy(which)), torch.from_numpy(told).float())
    oracle = protocols.charades_map(torch.sigmoid(t).numpy(), rows.truth[which])[0]
    print(
        f"{split}: headline {protocols.charades_map(found, rows.truth)[0]:.3f}, "
        f"verbs {protocols.verb_accuracy(found, rows.truth, VERBS):.3f}, oracle {oracle:.3f}, "
        f"prompt's part {prompt_share(network, graph, prompts):.3f}"
    )


def _begin_with(state: dict[str, torch.Tensor]) -> None:
    make = fit.ProDA

    def started(*arguments):
        network = make(*arguments)
        network.load_state_dict(state)
        return network

    fit.ProDA = started


if __name__ == "__main__":
    main()
