"""Classifiers that explain nothing, to compare with (DANCE Tables 1 and 8): a dense head, a layer without meaning."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from torch.nn import functional

from pipeline.learning.early_stopping import Schedule, descent, train_until_worse
from pipeline.learning.metrics import accuracy, log_loss

# Ridge penalties that are tried, strongest first.
PENALTIES = tuple(10.0**power for power in range(1, -6, -1))


@dataclass(frozen=True)
class DenseHead:
    """A linear classifier with a ridge penalty.

    Attributes:
        weight ``[K, p]``, bias ``[K]``: of train, or of train and validation if refitted.
        penalty: λ, chosen on validation.
        val_top1: of the solution on train alone.
    """

    weight: np.ndarray
    bias: np.ndarray
    penalty: float
    val_top1: float


def dense_head(
    z: np.ndarray, y: np.ndarray, train: np.ndarray, val: np.ndarray, n_classes: int, refit: bool = True
) -> DenseHead:
    """Mean cross-entropy + λ/2 ‖W‖², with the λ that is most accurate on validation, ties to the lower cross-entropy.

    Args:
        z: standardised inputs ``[n, p]``; y: labels ``[n]``.
        train, val: bool ``[n]``.
        refit: solve again on train and validation, as the sparse classifier does.
    """
    weight, bias = np.zeros((n_classes, z.shape[1])), np.zeros(n_classes)
    tried = []
    for penalty in PENALTIES:
        weight, bias = _solve(z[train], y[train], penalty, weight, bias)
        right = accuracy(z[val], y[val], weight, bias)
        tried.append((-right, log_loss(z[val], y[val], weight, bias), penalty, weight, bias))
    missed, _, penalty, weight, bias = min(tried, key=lambda item: item[:2])
    if refit:
        both = train | val
        weight, bias = _solve(z[both], y[both], penalty, weight, bias)
    return DenseHead(weight, bias, penalty, -missed)


def _solve(
    z: np.ndarray, y: np.ndarray, penalty: float, weight: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The minimum from a start by L-BFGS; with a ridge penalty there is exactly one, up to a shift of the biases."""
    shape, hot = weight.shape, np.eye(len(weight))[y]

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = theta[: weight.size].reshape(shape), theta[weight.size :]
        logits = z @ w.T + b
        value = -(log_softmax(logits, 1) * hot).sum() / len(y) + penalty / 2 * (w**2).sum()
        residual = (softmax(logits, 1) - hot) / len(y)  # [n, K]
        return value, np.concatenate([(residual.T @ z + penalty * w).ravel(), residual.sum(0)])

    start = np.concatenate([weight.ravel(), bias])
    # Not where the objective hardly falls, which is scipy's habit: the biases are then still 1e-3 away from the minimum
    # of a weak penalty, and by how much is for the rounding of the inputs to say.
    options = {"maxiter": 5000, "maxfun": 10_000, "gtol": 1e-11, "ftol": 0}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    return found[: weight.size].reshape(shape), found[weight.size :]


def dump_layer(
    x: np.ndarray,
    y: np.ndarray,
    train: np.ndarray,
    val: np.ndarray,
    n_classes: int,
    n_units: int,
    schedule: Schedule,
) -> np.ndarray:
    """A layer of the shape of the concept layers that learns classes instead of concepts.

    The "dump layer" of DANCE supplement 6.1.

    It is trained under a linear classifier by cross-entropy, and stopped where validation is best.

    Args:
        x: features ``[n, D]``; y: labels ``[n]``; train, val: bool ``[n]``.
        n_units: ``M``, the number of concepts that it stands for.
        schedule: that of the concept layers; its seed decides the start too.

    Returns:
        weight float32 ``[M, D]``.
    """
    generator = torch.Generator().manual_seed(schedule.seed)

    def uniform(*shape: int) -> torch.Tensor:
        bound = 1 / math.sqrt(shape[1])
        return ((torch.rand(*shape, generator=generator) * 2 - 1) * bound).requires_grad_()

    layer, head = uniform(n_units, x.shape[1]), uniform(n_classes, n_units)
    bias = torch.zeros(n_classes, requires_grad=True)
    data, labels = torch.from_numpy(np.ascontiguousarray(x, np.float32)), torch.from_numpy(y)
    rows, check = (torch.from_numpy(np.flatnonzero(chosen)) for chosen in (train, val))
    epochs = (rows[torch.randperm(len(rows), generator=generator)] for _ in itertools.count())
    batches = (batch for order in epochs for batch in order.split(schedule.batch_size))

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(data[rows] @ layer.T @ head.T + bias, labels[rows])

    advance = descent([layer, head, bias], lambda: loss(next(batches)), schedule)
    return train_until_worse(layer, advance, lambda: loss(check).item(), schedule).weight.numpy()
