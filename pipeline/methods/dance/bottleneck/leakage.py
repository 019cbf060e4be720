"""Against leakage: hide from a concept layer what its own concepts do not speak for.

A layer sees a feature that also knows everything else about a video. A few dozen activations, whatever they were
trained for, then tell most of it, if only by small tilts that labels of few videos leave to chance; and a classifier
finds tilts (Mahinpei et al. 2021, "Promises and pitfalls of black-box concept learning models").
"""

from __future__ import annotations

import numpy as np

# Ridge on the covariance of the features that is inverted, as a part of their mean variance.
SHRINKAGE = 1.0


def residual(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """What a linear regression (with a bias) on ``given`` ``[n, m]`` leaves of the columns of ``values`` ``[n, d]``."""
    design = np.concatenate([np.ones((len(given), 1)), given], 1)
    # Concepts are nearly collinear; a cut-off keeps rounding from being explained.
    solution, *_ = np.linalg.lstsq(design, values, rcond=1e-8)
    return values - design @ solution


def leakage_projection(x: np.ndarray, own: np.ndarray, other: np.ndarray, rank: int) -> np.ndarray:
    """The linear map that removes from features what the other types' concepts vary with while the own ones do not.

    What the own concepts imply about the others stays (waving implies the umbrella, if only umbrellas are waved): all
    is seen given the own targets, on average and in interaction with each of them, since what tells a ball from a
    barbell in a squat may be another direction than in a lift.

    The map is the oblique projection that changes the features least (LEACE, Belrose et al., NeurIPS 2023), restricted
    to the ``rank`` whitened directions in which the conditional covariances with the others are strongest.

    Args:
        x: features ``[n, D]``, no test video among them.
        own: targets of the type whose layer will read the result, ``[n, m]``: multi-hot labels or similarities.
        other: targets of the other types ``[n, M]``.
        rank: directions removed; fewer where fewer vary.

    Returns:
        float64 ``[D, D]``; use as ``x @ projection.T``.
    """
    own, other = np.asarray(own, np.float64), np.asarray(other, np.float64)
    x = residual(np.asarray(x, np.float64), own)
    left = residual(other, own) / _spread(other)  # [n, M]
    scaled = (own - own.mean(0)) / _spread(own)  # [n, m]
    covariance = x.T @ x / len(x)  # [D, D]
    if not np.trace(covariance) > 0:
        return np.eye(x.shape[1])  # what does not vary tells nothing
    covariance += SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    variance, axes = np.linalg.eigh(covariance)
    whiten = axes / np.sqrt(variance) @ axes.T  # [D, D]
    colour = axes * np.sqrt(variance) @ axes.T
    # One own concept at a time: all products of concepts at once would not fit in memory for large vocabularies.
    gram = np.zeros_like(covariance)
    for weights in [np.ones(len(x)), *scaled.T]:
        product = whiten @ (x.T @ (left * weights[:, None])) / len(x)  # [D, M]
        gram += product @ product.T
    strength, directions = np.linalg.eigh(gram)
    count = min(rank, int((strength > 1e-20 * max(1.0, len(left.T))).sum()))
    directions = directions[:, len(directions) - count :]  # [D, count], strongest last
    return np.eye(x.shape[1]) - colour @ directions @ directions.T @ whiten


def _spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation of each column, 1 where it is constant."""
    spread = values.std(0)
    return np.where(spread > 1e-12, spread, 1.0)
