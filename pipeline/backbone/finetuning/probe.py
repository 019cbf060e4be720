"""A head to begin with: logistic regression on the features that the backbone has before it is tuned.

A random head sends large gradients through the network before it knows anything, which spoils features that were good
already; where clips are few they are never mended (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and
Underperform Out-of-Distribution": first the head, then everything).
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

# Inverse strengths of the penalty on weights of standardised features.
STRENGTHS = tuple(10.0**power for power in range(-4, 2))
FOLDS = 5


def fit_probe(features: np.ndarray, labels: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of a linear classifier whose penalty is chosen by cross-validation among the given clips.

    Args:
        features: ``[n, D]``, or ``[n, R, D]``: of the whole clip and of R − 1 random views of it, which are fitted
            alike. A clip is left out with its views, and judged as a whole.
        labels: ``[n]``.
        n_classes: K; a class without a clip is never decided for.

    Returns:
        float64 ``[K, D]`` and ``[K]``, for features that are not standardised.
    """
    n, width = len(features), features.shape[-1]
    features = features.reshape(n, -1, width)  # [n, R, D]
    mean, std = features.mean((0, 1), dtype=np.float64), features.std((0, 1), dtype=np.float64)
    z = (features - mean) / np.where(std > 1e-12, std, 1)
    known, counts = np.unique(labels, return_counts=True)
    weight, bias = np.zeros((n_classes, width)), np.full(n_classes, -1e3)
    if len(known) == 1:
        bias[known] = 0
        return weight, bias
    own, own_bias = _fit(z, labels, _strength(z, labels, min(FOLDS, counts.min())))
    weight[known] = own / np.where(std > 1e-12, std, 1)
    bias[known] = own_bias - weight[known] @ mean
    return weight, bias


def _fit(z: np.ndarray, labels: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Of standardised features ``[n, R, D]``: weights ``[K, D]`` and biases ``[K]``."""
    n, n_views, width = z.shape
    # The loss is a sum over clips: more views of them must not weaken the penalty.
    fitted = LogisticRegression(C=strength / n_views, max_iter=2000)
    fitted.fit(z.reshape(n * n_views, width), np.repeat(labels, n_views))
    if len(fitted.classes_) > 2:
        return fitted.coef_, fitted.intercept_
    # Of two classes there is one logit, the difference.
    return np.concatenate([-fitted.coef_, fitted.coef_]) / 2, np.concatenate(
        [-fitted.intercept_, fitted.intercept_]
    ) / 2


def _strength(z: np.ndarray, labels: np.ndarray, folds: int) -> float:
    """The strength with the lowest loss on clips that were left out; the middle one where a class has a single clip."""
    if folds < 2:
        return STRENGTHS[len(STRENGTHS) // 2]
    losses = np.zeros(len(STRENGTHS))
    for train, held_out in StratifiedKFold(folds).split(z, labels):
        for number, strength in enumerate(STRENGTHS):
            weight, bias = _fit(z[train], labels[train], strength)
            logits = z[held_out, 0] @ weight.T + bias
            logits -= logits.max(1, keepdims=True)
            chances = np.exp(logits)
            losses[number] += log_loss(
                labels[held_out], chances / chances.sum(1, keepdims=True), labels=np.unique(labels), normalize=False
            )
    return STRENGTHS[int(losses.argmin())]
