"""How good a linear classifier is, and how well scores follow labels."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax


def accuracy(z: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> float:
    """Share of samples whose highest logit is their class: z ``[n, p]``, y ``[n]``, weight ``[K, p]``, bias ``[K]``."""
    return float(((z @ weight.T + bias).argmax(1) == y).mean()) if len(y) else float("nan")


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share of which ``right`` of ``n`` were seen (Wilson 1927); [0, 1] without a sample."""
    from scipy.stats import binomtest  # half a second, which a prediction should not cost

    if not n:
        return 0.0, 1.0
    interval = binomtest(right, n).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)


def top_k_accuracy(z: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: np.ndarray, k: int) -> float:
    """Share of samples whose class is among the k highest logits."""
    logits = z @ weight.T + bias
    own = logits[np.arange(len(y)), y][:, None]
    return float(((logits > own).sum(1) < k).mean()) if len(y) else float("nan")


def log_loss(z: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> float:
    """Mean cross-entropy in nats."""
    return float(-log_softmax(z @ weight.T + bias, 1)[np.arange(len(y)), y].mean())


def average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean precision at the rank of each positive, per concept; equal scores share the rank of their last.

    Args:
        scores: ``[n, M]``.
        labels: ``[n, M]`` of 0 and 1.

    Returns:
        float64 ``[M]``; NaN for a concept without a positive.
    """
    result = np.full(labels.shape[1], np.nan)
    for column in np.flatnonzero(np.any(labels, 0)):
        order = np.argsort(-scores[:, column], kind="stable")
        ordered = scores[order, column]
        last = np.r_[np.flatnonzero(np.diff(ordered)), len(ordered) - 1]
        found = np.cumsum(labels[order, column] != 0)[last]
        result[column] = np.diff(found, prepend=0) @ (found / (last + 1)) / found[-1]
    return result
