"""Figures of labels that are several per video: mAP by two conventions, couplings, thresholds, the dish alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.learning.metrics import average_precision

# τ of the supplement, equation 13.
COUPLED = 0.6
# θ, above which a label is predicted, unless it is calibrated.
HALF = 0.5


def mean_precision(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """mAP over classes with a positive, and ``map_sklearn``, where a class without positives counts as 0 (Timeception).

    Args:
        scores: ``[n, N]``; labels: bool ``[n, N]``.
    """
    each = average_precision(scores, labels)
    return {"mAP": float(np.nanmean(each)), "map_sklearn": float(np.nan_to_num(each).mean())}


def coupling(chosen: np.ndarray) -> np.ndarray:
    """Q_ij = P(label i | label j) ``[N, N]`` of yes and no ``[n, N]`` (equation 12); NaN in columns that no video has.

    The diagonal is NaN too: a label says nothing of itself.
    """
    chosen = np.asarray(chosen, float)
    count = chosen.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = chosen.T @ chosen / count[None]
    found[:, count == 0] = np.nan
    np.fill_diagonal(found, np.nan)
    return found


def soft_coupling(probability: np.ndarray) -> np.ndarray:
    """Σ p_i p_j / Σ p_j ``[N, N]``: the same without a threshold."""
    return coupling(probability)


@dataclass(frozen=True)
class Couplings:
    """How predicted labels depend on each other, beside the true ones.

    Attributes:
        density: ODD, part of the N(N−1) ordered pairs with Q over the limit.
        true_density: the same of the labels; a floor that a perfect recogniser has too.
        false, missed: parts of the pairs that are coupled in predictions alone, in labels alone.
        unpredicted: labels that no video is given; they couple with nothing.
        recall: part of the true labels that is predicted; predicting less lowers every density.
        false_pairs: (i, j, Q, true Q), the strongest first.
        q, true_q: of all pairs ``[N, N]``.
    """

    density: float
    true_density: float
    false: float
    missed: float
    unpredicted: int
    recall: float
    false_pairs: list[tuple[int, int, float, float]]
    q: np.ndarray
    true_q: np.ndarray


def couplings(chosen: np.ndarray, labels: np.ndarray, limit: float = COUPLED) -> Couplings:
    """Couplings of yes and no ``[n, N]`` beside those of the labels bool ``[n, N]``."""
    own, true = coupling(chosen), coupling(labels)
    over, truly = np.nan_to_num(own) > limit, np.nan_to_num(true) > limit
    pairs = own.shape[0] * (own.shape[0] - 1)
    rows = sorted(np.argwhere(over & ~truly).tolist(), key=lambda pair: -own[tuple(pair)])
    return Couplings(
        density=float(over.sum() / pairs),
        true_density=float(truly.sum() / pairs),
        false=float((over & ~truly).sum() / pairs),
        missed=float((truly & ~over).sum() / pairs),
        unpredicted=int((~np.asarray(chosen, bool).any(0)).sum()),
        recall=float((chosen & labels).sum() / max(1, labels.sum())),
        false_pairs=[(i, j, float(own[i, j]), float(np.nan_to_num(true[i, j]))) for i, j in rows],
        q=own,
        true_q=true,
    )


def thresholds(probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The threshold of each class ``[N]`` with the best F1 on validation; 0.5 for one without positives there.

    Args:
        probability: ``[n, N]`` of validation; labels: bool ``[n, N]``.
    """
    found = np.full(labels.shape[1], HALF)
    for label in np.flatnonzero(labels.any(0)):
        order = np.argsort(-probability[:, label], kind="stable")
        hits, scores = labels[order, label].cumsum(), probability[order, label]
        f1 = 2 * hits / (np.arange(1, len(order) + 1) + labels[:, label].sum())
        f1[:-1][scores[:-1] == scores[1:]] = -1  # equal scores are chosen together
        best = int(f1.argmax())
        below = scores[best + 1] if best + 1 < len(order) else -1.0  # everything is chosen
        found[label] = (scores[best] + below) / 2
    return found


def by_group_rates(labels: np.ndarray, group: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Rates of labels in the train videos of a group, for each asked group ``[m, N]``: "the dish alone".

    Args:
        labels: bool ``[n, N]`` of train; group: ``[n]`` their activities; asked: ``[m]``.
    """
    rates = {name: labels[group == name].mean(0) for name in np.unique(group)}
    nothing = labels.mean(0)
    return np.stack([rates.get(name, nothing) for name in asked])
