"""Figures that follow from the labels: top-1 where every video has exactly one, mean average precision elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score


def mean_average_precision(scores: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """Mean over the classes of the average precision, the area under the steps of precision over recall.

    Videos of equal score enter together, so their order does not matter. A class without positives has no average
    precision and is left out; videos without any label are negatives of every class.

    Args:
        scores: ``[n, K]``, higher for what is rather shown.
        truth: bool ``[n, K]``.

    Returns:
        The mean, NaN if no class has a positive; and the number of classes left out.

    Raises:
        ValueError: the shapes differ, ``truth`` is not bool, or a score is not finite.
    """
    _check(scores)
    if truth.shape != scores.shape or truth.dtype != bool:
        raise ValueError(f"truth must be bool {scores.shape}, got {truth.dtype} {truth.shape}")
    shown = np.flatnonzero(truth.any(0))
    values = [average_precision_score(truth[:, label], scores[:, label]) for label in shown]
    return float(np.mean(values)) if values else float("nan"), truth.shape[1] - len(shown)


def top_k(scores: np.ndarray, label: np.ndarray, k: int) -> float:
    """Part of the videos whose class is among the k of highest score; of equal ones the first class counts as higher.

    Args:
        scores: ``[n, K]``; label: int ``[n]``.

    Returns:
        In [0, 1]; with ``k`` ≥ K it is 1. For ``k`` = 1 that of ``scores.argmax(1)``.

    Raises:
        ValueError: there is no video, ``k`` is below 1, a score is not finite, or a label is out of range.
    """
    _check(scores)
    n, n_classes = scores.shape
    if not n or k < 1 or len(label) != n or not _in_range(label, n_classes):
        raise ValueError(f"expected k of at least 1 and {n} labels in [0, {n_classes}), got k = {k} and {label!r}")
    own = scores[np.arange(n), label][:, None]
    before = (scores > own) | ((scores == own) & (np.arange(n_classes) < label[:, None]))
    return float((before.sum(1) < k).mean())


def figures(labels: Sequence[np.ndarray], scores: np.ndarray) -> dict[str, float]:
    """The figures that fit the labels, the headline first: top1 and top5, or mAP.

    Args:
        labels: per video the indices of its classes, none, one or several.
        scores: ``[n, K]``.

    Raises:
        ValueError: as `mean_average_precision` and `top_k`; there is no video, or not as many as scores.
    """
    counts = np.array([len(own) for own in labels], int)
    if not len(counts) or len(counts) != len(scores):
        raise ValueError(f"expected scores of as many videos as have labels and at least one, got {scores.shape}")
    flat = np.concatenate([np.asarray(own, int) for own in labels])
    if (counts == 1).all():
        return {"top1": top_k(scores, flat, 1), "top5": top_k(scores, flat, 5)}
    if not _in_range(flat, scores.shape[1]):
        raise ValueError(f"labels must be in [0, {scores.shape[1]}), got {sorted(set(flat.tolist()))}")
    truth = np.zeros(scores.shape, bool)
    truth[np.repeat(np.arange(len(counts)), counts), flat] = True
    return {"mAP": mean_average_precision(scores, truth)[0]}


def headline(labels: Sequence[np.ndarray], scores: np.ndarray) -> tuple[str, float]:
    """Name and value of the figure that a data set is judged by; see `figures`."""
    return next(iter(figures(labels, scores).items()))


def _in_range(labels: np.ndarray, n_classes: int) -> bool:
    return bool(((labels >= 0) & (labels < n_classes)).all())


def _check(scores: np.ndarray) -> None:
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite [n, K], got {scores.shape}")
