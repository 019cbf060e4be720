"""Two phases of training, and the choice of epoch and recipe by validation, without its labels in any prompt."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.graphs.scene import Scenes
from pipeline.learning.multilabel import mean_average_precision
from pipeline.methods.proda.answers import answer, answer_before, groups
from pipeline.methods.proda.batches import batch
from pipeline.methods.proda.losses import Specification, disentanglement, margin_at, reconstruction, specify
from pipeline.methods.proda.network import Encoded, Graphs, ProDA, Sizes
from pipeline.methods.proda.settings import ProDA as Settings

# As many videos are encoded at once where no gradient is wanted.
ENCODED_AT_ONCE = 256


def _batch(scenes: Scenes, rows: np.ndarray, start: int, frames: int) -> Graphs:
    return batch(scenes, rows[start : start + ENCODED_AT_ONCE], frames)


class Rows(NamedTuple):
    """Videos with labels: scene graphs, and truth bool ``[n, C]``."""

    scenes: Scenes
    truth: np.ndarray


class Fitted(NamedTuple):
    """A network, and what its training went through: one line per epoch, and which epochs were taken."""

    network: ProDA
    curve: list[dict[str, Any]]
    chosen: dict[str, dict[str, Any]]


@torch.no_grad()
def encoded(network: ProDA, scenes: Scenes, frames: int) -> Encoded:
    """All videos, evenly sampled; the network is put into eval mode."""
    network.eval()
    rows = np.arange(len(scenes))
    parts = [
        network.encode(Graphs(*(part.to(network.position.device) for part in _batch(scenes, rows, start, frames))))
        for start in range(0, len(rows), ENCODED_AT_ONCE)
    ]
    return Encoded(*(torch.cat(items) for items in zip(*parts, strict=True)))


def label_free(network: ProDA, rows: Rows, settings: Settings) -> float:
    """The headline on some videos: mAP of σ(a_t) over prompts that know nothing of them; that of a_m without ProDA."""
    graph = encoded(network, rows.scenes, settings.frames)
    if settings.loss.encoder_only:
        scores = answer_before(network, graph)
    else:
        scores = answer(network, graph, groups(rows.truth.shape[1], settings.asked, 1)).headline
    return mean_average_precision(scores.cpu().numpy(), rows.truth)[0]


def fit(train: Rows, val: Rows, sizes: Sizes, settings: Settings, device: str = "cpu") -> Fitted:
    """Train every recipe of phase 1, take the best epoch of all; the same in phase 2, from what phase 1 gave.

    "Best" is by `label_free` on validation. Phase 2 trains new readouts of t and m on frozen weights; where its readout
    of t is no better than phase 1's, that of phase 1 stays.

    Raises:
        ValueError: a loss is not finite, or a phase has no epoch.
    """
    curve: list[dict[str, Any]] = []
    own = Problem(train, val, sizes, settings, device)
    first = _best(own, 1, None, curve)
    chosen = {"first": first.where}
    second = _best(own, 2, first.state, curve)
    network = ProDA(sizes, settings.network)
    better = second.figure > first.figure
    old_t = {name: value for name, value in first.state.items() if name.startswith("read_t.")}
    network.load_state_dict(second.state if better else {**second.state, **old_t})
    chosen["second"] = {**second.where, "readout_t": "second" if better else "first"}
    return Fitted(network.eval(), curve, chosen)


class Problem(NamedTuple):
    """What every trial is given."""

    train: Rows
    val: Rows
    sizes: Sizes
    settings: Settings
    device: str


class Trial(NamedTuple):
    """The best epoch of one phase under one recipe."""

    figure: float
    where: dict[str, Any]
    state: dict[str, Tensor]


def _best(own: Problem, number: int, state: dict[str, Tensor] | None, curve: list[dict[str, Any]]) -> Trial:
    """The best trial of a phase; of equal ones that of the recipe that stands first."""
    phase = own.settings.training.first if number == 1 else own.settings.training.second
    best = None
    for recipe in dict.fromkeys(phase.recipes):
        found, lines = trial(own, number, recipe, state)
        curve += lines
        best = found if best is None or found.figure > best.figure else best
    return best


def trial(
    own: Problem, number: int, recipe: str, state: dict[str, Tensor] | None
) -> tuple[Trial, list[dict[str, Any]]]:
    """One phase under one recipe: the weights of its best epoch, and a line per epoch that was looked at.

    Args:
        state: weights that phase 2 begins with; its readouts of t and m are new.
    """
    torch.set_num_threads(1)  # its matrices are small
    settings, training = own.settings, own.settings.training
    phase = training.first if number == 1 else training.second
    torch.manual_seed(training.seed + number)
    network = ProDA(own.sizes, settings.network)
    if state is not None:
        fresh = {name: value for name, value in network.state_dict().items() if name.startswith(("read_t.", "read_m."))}
        network.load_state_dict({**state, **fresh})
    network.to(own.device)
    learned = _learned(network, number, settings.loss.encoder_only)
    optimizer = torch.optim.AdamW(learned, phase.learning_rate, weight_decay=training.weight_decay)
    n = len(own.train.truth)
    size = min(training.batch_size, n)
    steps = max(1, phase.epochs * (n // size))
    rise = max(1, int(training.warm_up * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rise, (steps - step) / max(1, steps - rise + 1))
    )
    draw = np.random.default_rng([training.seed, number])
    best, lines, done = Trial(-1.0, {}, {}), [], 0
    for epoch in range(phase.epochs):
        network.train()
        if number == 2:  # what is frozen must not drop out, nor move its means
            network.eval()
            network.read_t.train()
            network.read_m.train()
        order, total = draw.permutation(n), 0.0
        for start in range(0, n - size + 1, size):
            loss = _loss(network, own, number, recipe, order[start : start + size], epoch, draw, done / steps)
            if not torch.isfinite(loss):
                raise ValueError(f"the loss of phase {number}, {recipe}, is not finite in epoch {epoch + 1}")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learned, training.clip)
            optimizer.step()
            schedule.step()
            total, done = total + loss.item(), done + 1
        if (epoch + 1) % training.evaluate_every and epoch + 1 != phase.epochs:
            continue
        figure = label_free(network, own.val, settings)
        mean = total / max(1, n // size)
        lines.append({"phase": number, "recipe": recipe, "epoch": epoch + 1, "loss": mean, "validation": figure})
        if figure > best.figure:
            where = {"recipe": recipe, "epoch": epoch + 1, "validation": figure}
            best = Trial(figure, where, {name: value.cpu().clone() for name, value in network.state_dict().items()})
    if not best.state:
        raise ValueError(f"phase {number} has no epoch, or no label of validation to choose one by")
    return best, lines


def _loss(
    network: ProDA,
    own: Problem,
    number: int,
    recipe: str,
    rows: np.ndarray,
    epoch: int,
    draw: np.random.Generator,
    progress: float,
) -> Tensor:
    """The loss of one batch."""
    settings, truth = own.settings, own.train.truth[rows]
    ids = [own.train.scenes.video_id[row] for row in rows]
    wanted = specify(truth, ids, settings.asked, recipe, settings.training.seed, epoch)
    wanted = Specification(*(part.to(own.device) for part in wanted))
    target = torch.from_numpy(truth.astype(np.float32)).to(own.device)
    graphs = Graphs(*(part.to(own.device) for part in batch(own.train.scenes, rows, settings.frames, draw)))
    if number == 1:
        return first_loss(network, graphs, target, wanted, settings, progress)
    return second_loss(network, graphs, target, wanted.prompt)


def _learned(network: ProDA, number: int, encoder_only: bool) -> list[nn.Parameter]:
    """What a phase may change: everything but the readout m, then the readouts t and m alone."""
    own = {id(weight) for part in (network.read_t, network.read_m) for weight in part.parameters()}
    only_m = set() if encoder_only else {id(weight) for weight in network.read_m.parameters()}
    for weight in network.parameters():
        weight.requires_grad_(id(weight) in own if number == 2 else id(weight) not in only_m)
    return [weight for weight in network.parameters() if weight.requires_grad]


def first_loss(
    network: ProDA, graphs: Graphs, truth: Tensor, wanted: Specification, settings: Settings, progress: float
) -> Tensor:
    """Equation 8, λ_s = λ_t = λ_4 = 1."""
    own, bce = settings.loss, functional.binary_cross_entropy_with_logits
    graph = network.encode(graphs)
    if own.encoder_only:
        return bce(network.read_m(graph.nodes, graph.present).logits, truth)
    found = network.disentangle(graph, wanted.prompt)
    there = graph.present
    of_s = bce(network.read_s(found.specified, there).logits, wanted.specified)
    of_u = bce(network.read_u(found.unspecified, there).logits, wanted.unspecified)
    of_t = bce(network.read_t(found.fused, there).logits, truth)
    weight = own.unspecified
    if weight == "adaptive":
        weight = _norm(of_s, network) / (_norm(of_u, network) + 1e-8)
    loss = of_s + weight * of_u + of_t
    if own.disentangle:
        margin = margin_at(own, progress)
        loss = loss + disentanglement(found.unspecified, found.specified, there, margin, own)
    if own.reconstruct:
        loss = loss + reconstruction(graph.nodes, network.rebuilt(found.fused), there, own)
    if network.settings.auxiliary:
        told = network.tell_relations(graph.edges)[graph.shown]
        loss = loss + bce(told, graphs.relations[graph.shown])
        loss = loss + functional.cross_entropy(
            network.tell_class(graph.nodes)[there], graphs.node_class[:, None].expand(there.shape)[there]
        )
    return loss


def _norm(loss: Tensor, network: ProDA) -> Tensor:
    """Norm of a loss's gradient at the weights that both branches share."""
    shared = [weight for layer in network.layers for weight in layer.parameters()]
    parts = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
    return torch.sqrt(sum((part**2).sum() for part in parts if part is not None))


def second_loss(network: ProDA, graphs: Graphs, truth: Tensor, prompt: Tensor) -> Tensor:
    """Classification by the readouts t and m alone."""
    bce = functional.binary_cross_entropy_with_logits
    with torch.no_grad():
        graph = network.encode(graphs)
        fused = network.disentangle(graph, prompt).fused
    t = network.read_t(fused, graph.present).logits
    m = network.read_m(graph.nodes, graph.present).logits
    return bce(t, truth) + bce(m, truth)
