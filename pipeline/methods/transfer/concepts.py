"""Motion concepts of things: clusters of windows of tracks, and how much of each a clip has, early and late.

DANCE's concepts without a body: windows of the changes of what `pipeline.motion.tracks.describe` tells, FINCH, a medoid
that can be drawn. They are read from the tracks themselves, not guessed from an encoder's features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.learning import glm
from pipeline.learning.metrics import accuracy, log_loss
from pipeline.learning.scaling import standardise, standardise_fit
from pipeline.motion.finch import cluster_means, finch, medoids, refine_to
from pipeline.motion.tracks import windows
from pipeline.store.atomic import StageError

LIMIT = 4.0
HALVES = ("early", "late")


@dataclass(frozen=True)
class TrackConcepts:
    """M concepts in the space of standardised windows.

    Attributes:
        mean, std: of the changes that were seen ``[7]``.
        centres: ``[M, (L − 1) × 7]``; width: distance at which a window counts .6 of one in the middle.
        shown: the medoids' tracks ``[M, L, 4, 6]``.
        length, stride: of windows, in frames.
    """

    mean: np.ndarray
    std: np.ndarray
    centres: np.ndarray
    width: float
    shown: np.ndarray
    length: int
    stride: int

    @property
    def names(self) -> list[str]:
        """Of the activations."""
        return [f"motion {k:03d} {half}" for half in HALVES for k in range(len(self.centres))]

    def _vectors(self, tracks: np.ndarray) -> np.ndarray:
        changes, _, _ = windows(tracks, self.length, self.stride)
        return vectors(changes, self.mean, self.std)

    def activations(self, tracks: np.ndarray) -> np.ndarray:
        """How near each half of a clip comes to each concept: ``[n, 2 M]`` in [0, 1].

        Args:
            tracks: ``[n, T, 4, 6]``.
        """
        near = np.exp(-_squares(self._vectors(tracks), self.centres) / (2 * self.width**2))  # [n, W, M]
        middle = (near.shape[1] + 1) // 2
        return np.concatenate([near[:, :middle].max(1), near[:, near.shape[1] - middle :].max(1)], 1)


def vectors(changes: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Changes ``[n, W, L − 1, 7]`` in standard deviations, at most 4: ``[n, W, (L − 1) × 7]``."""
    scaled = np.clip((changes - mean) / std, -LIMIT, LIMIT)
    return scaled.reshape(*changes.shape[:2], -1).astype(np.float32)


def _squares(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances ``[n, W, M]``."""
    square = (x**2).sum(-1)[..., None] + (centres**2).sum(-1) - 2 * x @ centres.T
    return np.maximum(square, 0)


def discover(tracks: np.ndarray, n_concepts: int, length: int, stride: int) -> TrackConcepts:
    """Concepts of clips that may be learned from, tracks ``[n, T, 4, 6]``."""
    changes, paths, _ = windows(tracks, length, stride)
    mean, std = changes.mean((0, 1, 2)), changes.std((0, 1, 2)) + 1e-3
    flat = vectors(changes, mean, std).reshape(len(changes) * changes.shape[1], -1)
    levels = finch(flat, "euclidean")
    finer = [item for item in levels if item.n_clusters >= n_concepts]
    partition = refine_to(flat, finer[-1], n_concepts, "euclidean") if finer else levels[0]
    centres = cluster_means(flat, partition.labels).astype(np.float32)
    nearest = _squares(flat[None], centres)[0].min(-1)
    # Twice the usual distance from a window to its own concept, so that the others count too.
    width = 2 * float(np.sqrt(np.median(nearest))) or 1.0
    chosen = medoids(flat, partition.labels, "euclidean")
    return TrackConcepts(mean, std, centres, width, paths.reshape(-1, *paths.shape[2:])[chosen], length, stride)


@dataclass(frozen=True)
class SparseHead:
    """A sparse linear layer over standardised activations; weight ``[K, p]``, bias ``[K]``, mean and std ``[p]``."""

    weight: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def logits(self, z: np.ndarray) -> np.ndarray:
        return standardise(z, self.mean, self.std) @ self.weight.T + self.bias


def sparse_head(z: np.ndarray, label: np.ndarray, train: np.ndarray, val: np.ndarray, n_classes: int) -> SparseHead:
    """The λ that is most accurate on validation, ties to the smaller cross-entropy; solved again on both.

    Args:
        z: activations ``[n, p]``; label ``[n]``; train, val: bool ``[n]``.

    Raises:
        StageError: no activation varies with the class.
    """
    mean, std = standardise_fit(z[train])
    x = standardise(z, mean, std)
    if not 0 < glm.lambda_max(x[train], label[train], n_classes, 0.95) < np.inf:
        raise StageError("nothing that is tracked tells the classes apart; look at tracks with `conceptreel inspect`")
    path = glm.path(x[train], label[train], n_classes, n_lambdas=30, min_ratio=1e-3, alpha=0.95, tol=1e-4)
    right = [accuracy(x[val], label[val], item.weight, item.bias) for item in path]
    loss = [log_loss(x[val], label[val], item.weight, item.bias) for item in path]
    best = path[int(np.lexsort((loss, -np.array(right)))[0])]
    both = train | val
    found = glm.solve(x[both], label[both], n_classes, lam=best.lam, alpha=0.95, tol=1e-4, init=best)
    return SparseHead(found.weight, found.bias, mean, std)
