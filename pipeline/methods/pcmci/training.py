"""How PCMCI's network is trained and asked, over rows that are in memory or come batch by batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from pipeline.learning.early_stopping import NotFinite
from pipeline.methods.pcmci.measures import HALF, mean_precision, thresholds
from pipeline.methods.pcmci.network import Network
from pipeline.methods.pcmci.settings import Training

FITTING_ROUNDS = 200
VALUES_AT_ONCE = 1 << 24

# Rows of videos → tokens [b, L_v, …], frames [b, L, E] and the mask [b, L] of frames that are there, or None.
Batch = Callable[[np.ndarray], tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]


@dataclass
class Curve:
    """What a training came to: the loss and validation's figure of each epoch, and the one that was kept.

    Attributes:
        thresholds: of each action, calibrated on validation; a half without validation, none of activities.
    """

    losses: list[float] = field(default_factory=list)
    figures: list[float] = field(default_factory=list)
    chosen: int = 0
    thresholds: list[float] = field(default_factory=list)


def codependency(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How labels tell each other: weights ``[N, N]`` of zero diagonal and biases ``[N]`` of log-odds y W + b.

    All N logistic regressions, each label on all others with scikit-learn's penalty at C = 1, are one convex problem.

    Args:
        labels: bool ``[n, N]`` of train videos.
    """
    values = labels.double()
    n, n_labels = values.shape
    rate = values.mean(0).clamp(0.5 / n, 1 - 0.5 / n)
    weight = torch.zeros(n_labels, n_labels, dtype=torch.float64, requires_grad=True)
    bias = torch.logit(rate).requires_grad_()
    others = 1 - torch.eye(n_labels, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=FITTING_ROUNDS, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        own = weight * others
        error = functional.binary_cross_entropy_with_logits(values @ own + bias, values, reduction="sum")
        total = (error + own.square().sum() / 2) / n
        total.backward()
        return total

    optimizer.step(objective)
    return (weight * others).detach().float(), bias.detach().float()


def log_odds(labels: torch.Tensor, fitted: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Log-odds of every label, given the video's other labels ``[n, N]``."""
    weight, bias = fitted
    return labels.float() @ weight + bias


def loss_of(logits: torch.Tensor, labels: torch.Tensor, target: str) -> torch.Tensor:
    """Mean cross-entropy of ``[b, N]``: of the activity among all, or of every action for itself."""
    if target == "activity":
        return functional.cross_entropy(logits, labels.float().argmax(1))
    return functional.binary_cross_entropy_with_logits(logits, labels.float())


def figure_of(scores: np.ndarray, labels: np.ndarray, target: str) -> float:
    """Accuracy of the activity, or mAP of actions: higher is better."""
    if target == "activity":
        return float((scores.argmax(1) == labels.argmax(1)).mean())
    return mean_precision(scores, labels)["mAP"]


def asked(network: Network, batch: Batch, rows: np.ndarray) -> np.ndarray:
    """Logits ``[n, N]`` of rows."""
    network.eval()
    with torch.no_grad():
        return np.concatenate([network(*batch(part)).numpy() for part in _parts(rows, at_once(network))])


def at_once(network: Network) -> int:
    """Videos that are asked at once: fewer of many labels, whose hidden units take the memory."""
    return max(1, VALUES_AT_ONCE // (len(network.texts) * network.settings.feedforward))


def _parts(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def mean_evidence(network: Network, batch: Batch, rows: np.ndarray) -> torch.Tensor:
    """Mean of H over rows ``[N, E]``."""
    total = torch.zeros_like(network.population)
    for part in _parts(rows, at_once(network)):
        _, frames, mask = batch(part)
        total += network.evidence(frames, mask).sum(0)
    return total / len(rows)


def train(
    network: Network, batch: Batch, labels: torch.Tensor, rows: np.ndarray, validation: np.ndarray, settings: Training
) -> Curve:
    """Train in place by AdamW with a cosine schedule; the weights of the epoch that validation likes best stay.

    Args:
        labels: bool ``[n, N]`` of all rows that may be named.
        rows, validation: which rows to learn from, to choose by; without validation the last epoch stays.

    Raises:
        NotFinite: the loss is not.
    """
    random = np.random.default_rng(settings.seed)
    if network.settings.marginal == "population" and "ICH" in network.stages:
        network.set_population(mean_evidence(network, batch, rows))
    # What the other labels tell of a label is told the loss, so that the network need not learn it.
    told = log_odds(labels, codependency(labels[rows])) if settings.explain_codependency else torch.zeros(labels.shape)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    tuned = network.tuned(settings.tune)
    for parameter in tuned:
        parameter.requires_grad_(True)
    size = min(settings.batch_size, len(rows))
    steps = len(rows) // size
    optimizer = torch.optim.AdamW(tuned, settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * steps)
    curve, best = Curve(), None
    for epoch in range(settings.epochs):
        network.train()
        order, total = random.permutation(rows), 0.0
        for step in range(steps):
            own = order[step * size : (step + 1) * size]
            loss = loss_of(network(*batch(own)) + told[own], labels[own], settings.target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if not np.isfinite(total):
            raise NotFinite(f"the loss is not finite in epoch {epoch}; lower pcmci.training.learning_rate")
        curve.losses.append(total / steps)
        if len(validation):
            scores = asked(network, batch, validation) + told[validation].numpy()
            figure = figure_of(scores, labels[validation].numpy(), settings.target)
            curve.figures.append(figure)
            if best is None or figure > curve.figures[curve.chosen]:
                best, curve.chosen = copy.deepcopy(network.state_dict()), epoch
    if best is None:
        curve.chosen = settings.epochs - 1
    else:
        network.load_state_dict(best)
    if settings.target == "actions":
        curve.thresholds = [HALF] * labels.shape[1]
        if len(validation):
            # As in use: what the loss was told of other labels is left away.
            probability = torch.from_numpy(asked(network, batch, validation)).sigmoid().numpy()
            curve.thresholds = thresholds(probability, labels[validation].numpy()).tolist()
    network.eval()
    return curve
