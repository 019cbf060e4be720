"""What is measured: known against unknown, the harmonic mean of both, their drop; and tests of a gain.

Train on a set; *known* are the validation videos of that set, *unknown* those of the other one; swap, and average. The
figures of Tables 2 to 5 of "Punching Bag vs. Punching Person" (arXiv 2508.00085), in percent.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

# Up to so many pairs all signs are tried.
_EXACT = 14


class Figures(NamedTuple):
    """Known and unknown accuracy, their absolute drop, it in percent of the known one, and their harmonic mean."""

    known: float
    unknown: float
    d_abs: float
    d_rel: float
    hm: float


def figures(known: float, unknown: float) -> Figures:
    """Of one training set and seed; the harmonic mean of two zeros is 0."""
    total = known + unknown
    return Figures(
        known,
        unknown,
        known - unknown,
        100 * (known - unknown) / known if known else 0.0,
        2 * known * unknown / total if total else 0.0,
    )


def averaged(items: Iterable[Figures]) -> Figures:
    """Mean over sets and seeds: the harmonic mean is one per set, and averaged then, as the paper's Table 5 shows.

    Raises:
        ValueError: there is nothing to average.
    """
    rows = list(items)
    if not rows:
        raise ValueError("no figures to average")
    return Figures(*np.mean(rows, 0).tolist())


def accuracy(predicted: np.ndarray, label: np.ndarray) -> float:
    """Top-1 over videos in percent; 0 of none."""
    return 100 * float(np.mean(predicted == label)) if len(label) else 0.0


def class_mean(predicted: np.ndarray, label: np.ndarray) -> float:
    """Mean over classes of the top-1 of each, in percent."""
    return float(np.mean([accuracy(predicted[label == k], label[label == k]) for k in np.unique(label)] or [0.0]))


def inside_pairs(predicted: np.ndarray, label: np.ndarray, partner: np.ndarray) -> float:
    """Of the videos that are taken for their class or for it played backward, the part that is right.

    Args:
        partner: class → the one that it is played backward, −1 where there is none.
    """
    other = partner[label]
    counted = (other >= 0) & ((predicted == label) | (predicted == other))
    return float(np.mean(predicted[counted] == label[counted])) if counted.any() else float("nan")


def sign_flip(gains: Sequence[float]) -> float:
    """Probability, one-sided, of so large a mean of paired differences if their signs were chance.

    All signs are tried for up to 14 pairs, else 10,000 of them.
    """
    values = np.asarray(gains, float)
    if not len(values):
        return 1.0
    if len(values) <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    else:
        signs = np.random.default_rng(0).choice([1.0, -1.0], (10_000, len(values)))
    return float(np.mean(signs @ values >= values.sum() - 1e-9))
