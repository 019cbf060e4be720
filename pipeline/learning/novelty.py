"""How far a video is from all that a model was trained on: Mahalanobis distance with a limit from validation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Part of the videos like those of validation that may be flagged.
FALSE_ALARMS = 0.05
# Of the mean variance; what too few videos leave unknown would otherwise count as impossible.
MIN_VARIANCE = 1e-6


@dataclass(frozen=True)
class Reach:
    """How far training videos lie around their mean, and how far a video may lie.

    Attributes:
        mean: ``[D]``; whitening: ``[D, D]``, under which training features have unit variance in all directions.
        limit: the largest distance that is still like training.
    """

    mean: np.ndarray
    whitening: np.ndarray
    limit: float

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distance ``[n]`` of features ``[n, D]`` from the training videos."""
        return np.linalg.norm((np.asarray(features, np.float64) - self.mean) @ self.whitening, axis=1)


def reach_of(train: np.ndarray, validation: np.ndarray) -> Reach:
    """Fit a Gaussian to training features and choose the limit on validation features.

    The covariance is shrunk towards a sphere (Ledoit and Wolf 2004), since there are often fewer videos than
    dimensions. The limit is that of split conformal prediction (Vovk et al. 2005): a video drawn like those of
    validation is flagged with probability `FALSE_ALARMS` at most. Fewer than 19 validation videos cannot promise that;
    then it is the farthest of them.

    Args:
        train: ``[n, D]``, at least two; validation: ``[m, D]``, at least one.
    """
    from sklearn.covariance import ledoit_wolf  # a second, which a prediction should not cost

    train = np.asarray(train, np.float64)
    covariance = ledoit_wolf(train)[0]
    variance = np.trace(covariance) / len(covariance)
    covariance += np.eye(len(covariance)) * (MIN_VARIANCE * variance if variance > 0 else 1.0)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    # As a model file holds them, so that a file flags what its run has flagged.
    reach = Reach(train.mean(0).astype(np.float32), whitening.astype(np.float32), math.inf)
    far = np.sort(reach.distance(validation))
    rank = min(len(far), math.ceil((len(far) + 1) * (1 - FALSE_ALARMS)))
    # The last digits of a distance depend on how many videos are asked for at once.
    return Reach(reach.mean, reach.whitening, float(far[rank - 1]) * (1 + 1e-6))
