"""Motion concepts of things and of persons: clusters of what moves, and how much of each a clip has, early and late.

DANCE's concepts of windows of tracks, the changes of what `pipeline.motion.tracks.describe` tells, or of key clips of
poses: FINCH, and a medoid that can be drawn. They are read from the motion itself, not guessed from features.
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
        mean, std: of the changes that were seen ``[6]``.
        centres: ``[M, (L − 1) × 6]``; width: distance at which a window counts .6 of one in the middle.
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
        """How near each half of a clip is to each concept, on average of its windows: ``[n, 2 M]`` in [0, 1].

        Args:
            tracks: ``[n, T, 4, 6]``.
        """
        near = nearness(self._vectors(tracks), self.centres, self.width)  # [n, W, M]
        middle = (near.shape[1] + 1) // 2
        return np.concatenate([near[:, :middle].mean(1), near[:, near.shape[1] - middle :].mean(1)], 1)


def vectors(changes: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Changes ``[n, W, L − 1, 6]`` in standard deviations, at most 4: ``[n, W, (L − 1) × 6]``."""
    scaled = np.clip((changes - mean) / std, -LIMIT, LIMIT)
    return scaled.reshape(*changes.shape[:2], -1).astype(np.float32)


def nearness(x: np.ndarray, centres: np.ndarray, width: float) -> np.ndarray:
    """1 in the middle of a concept, .6 at its width: vectors ``[..., d]`` and centres ``[M, d]`` → ``[..., M]``."""
    return np.exp(-_squares(x, centres) / (2 * width**2))


def _squares(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances ``[..., M]``."""
    square = (x**2).sum(-1)[..., None] + (centres**2).sum(-1) - 2 * x @ centres.T
    return np.maximum(square, 0)


def clusters(flat: np.ndarray, n_concepts: int) -> tuple[np.ndarray, float, np.ndarray]:
    """FINCH of vectors ``[n, d]``: centres ``[M, d]``, their width, and the rows of the medoids ``[M]``.

    M is ``n_concepts``, or what the finest partition has if that is less.
    """
    levels = finch(flat, "euclidean")
    finer = [item for item in levels if item.n_clusters >= n_concepts]
    partition = refine_to(flat, finer[-1], n_concepts, "euclidean") if finer else levels[0]
    centres = cluster_means(flat, partition.labels).astype(np.float32)
    nearest = _squares(flat[None], centres)[0].min(-1)
    # Twice the usual distance from a window to its own concept, so that the others count too.
    width = 2 * float(np.sqrt(np.median(nearest))) or 1.0
    return centres, width, medoids(flat, partition.labels, "euclidean")


def discover(tracks: np.ndarray, n_concepts: int, length: int, stride: int) -> TrackConcepts:
    """Concepts of clips that may be learned from, tracks ``[n, T, 4, 6]``."""
    changes, paths, _ = windows(tracks, length, stride)
    mean, std = changes.mean((0, 1, 2)), changes.std((0, 1, 2)) + 1e-3
    flat = vectors(changes, mean, std).reshape(len(changes) * changes.shape[1], -1)
    centres, width, chosen = clusters(flat, n_concepts)
    return TrackConcepts(mean, std, centres, width, paths.reshape(-1, *paths.shape[2:])[chosen], length, stride)


def of_key_clips(flat: np.ndarray, row: np.ndarray, start: np.ndarray, seen: np.ndarray, n_concepts: int) -> np.ndarray:
    """How near the early and the late key clips of a video are to each concept of poses: ``[n, 2 M]``, 0 without any.

    Args:
        flat: normalised poses of m key clips ``[m, d]``; row: of their video ``[m]``; start: their first frame ``[m]``.
        seen: bool ``[n]`` of the videos that may be learned from.

    Raises:
        StageError: these have fewer than four key clips.
    """
    learned = seen[row]
    if learned.sum() < 4:
        raise StageError(f"{learned.sum()} key clips of poses are too few for concepts; look at motion.pose_clips")
    centres, width, _ = clusters(flat[learned], n_concepts)
    near = nearness(flat, centres, width)
    halves = []
    for late in (False, True):
        total, count = np.zeros((len(seen), len(centres))), np.zeros(len(seen))
        middle = {video: np.median(start[row == video]) for video in np.unique(row)}
        split = np.array([middle[video] for video in row])
        own = start >= split if late else start <= split  # the clip in the middle is in both
        np.add.at(total, row[own], near[own])
        np.add.at(count, row[own], 1)
        halves.append(total / np.maximum(count, 1)[:, None])
    return np.concatenate(halves, 1)


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
        raise StageError(
            "no motion concept tells the classes apart; look at tracks or pose_clips with `conceptreel inspect`"
        )
    path = glm.path(x[train], label[train], n_classes, n_lambdas=30, min_ratio=1e-3, alpha=0.95, tol=1e-4)
    right = [accuracy(x[val], label[val], item.weight, item.bias) for item in path]
    loss = [log_loss(x[val], label[val], item.weight, item.bias) for item in path]
    best = path[int(np.lexsort((loss, -np.array(right)))[0])]
    both = train | val
    found = glm.solve(x[both], label[both], n_classes, lam=best.lam, alpha=0.95, tol=1e-4, init=best)
    return SparseHead(found.weight, found.bias, mean, std)
