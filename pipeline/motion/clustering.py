"""Other ways to cluster key clips than FINCH, to compare with (DANCE Table 2): k-means and a self-organizing map.

Both put vectors of the cosine metric on the unit sphere first. Clusters are numbered by their first member, as in
`pipeline.motion.finch`, and none is empty.
"""

from __future__ import annotations

import math
from typing import Literal

import faiss
import numpy as np

from pipeline.motion.search import on_device

KMEANS_ITERATIONS = 50
KMEANS_STARTS = 3
SOM_EPOCHS = 30


def kmeans(
    x: np.ndarray, n_clusters: int, metric: Literal["cosine", "euclidean"], seed: int = 0, device: str = "cpu"
) -> np.ndarray:
    """The best of a few runs of Lloyd's k-means: labels int32 ``[n]``.

    Args:
        x: points ``[n, d]``.
        n_clusters: wanted; clusters that end empty are left out.
        seed: of the starts.
        device: where points are assigned to clusters, see `pipeline.motion.search`; means are always taken on the CPU.

    Raises:
        ValueError: more clusters than points are wanted.
    """
    if not 1 <= n_clusters <= len(x):
        raise ValueError(f"{n_clusters} clusters of {len(x)} points are not possible")
    points = _prepared(x, metric)
    search = faiss.Kmeans(
        points.shape[1],
        n_clusters,
        niter=KMEANS_ITERATIONS,
        nredo=KMEANS_STARTS,
        seed=seed + 1,  # faiss reads 0 and below as: take any
        spherical=metric == "cosine",
        # Its defaults leave out points of large clusters, and complain about small ones.
        min_points_per_centroid=1,
        max_points_per_centroid=len(points),
    )
    search.index = on_device(search.index, device)
    search.train(points)
    return numbered(search.index.search(points, 1)[1][:, 0])


def som_side(n_clusters: int) -> int:
    """Side of the smallest square map with at least so many units; the paper's 500 concepts became 23 × 23."""
    return math.isqrt(max(n_clusters, 1) - 1) + 1


def self_organizing_map(x: np.ndarray, n_clusters: int, metric: Literal["cosine", "euclidean"]) -> np.ndarray:
    """Clusters as the units of a square self-organizing map: labels int32 ``[n]``.

    The batch algorithm (Kohonen, "Essentials of the self-organizing map", Neural Networks 2013): it starts on the plane
    of the two strongest principal components, and every epoch sets each unit to the mean of the points around it on the
    map. It has no order of samples and no learning rate, so that it is deterministic.

    Args:
        x: points ``[n, d]``.
        n_clusters: wanted; the map has `som_side` squared units, of which those without a point are no cluster.
    """
    points = _prepared(x, metric)
    side = som_side(n_clusters)
    rows, columns = np.divmod(np.arange(side * side), side)
    distance = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2  # [units, units], on the map
    mean = points.mean(0)
    variance, axes = np.linalg.eigh(np.cov(points.T))
    spread = np.sqrt(np.maximum(variance[-2:], 0)) * axes[:, -2:]  # [d, 2]
    # An eigenvector's sign is the library's whim.
    spread = spread * np.where(np.abs(spread).max(0) == spread.max(0), 1, -1)
    place = (np.stack([columns, rows], 1) / max(side - 1, 1) - 0.5) * 2  # [units, 2] in [−1, 1]
    units = (mean + place @ spread.T).astype(np.float32)
    for epoch in range(SOM_EPOCHS):
        radius = max(side / 2, 1) * (0.5 / max(side / 2, 1)) ** (epoch / (SOM_EPOCHS - 1))
        nearest = _nearest(points, units, metric)
        count = np.bincount(nearest, minlength=len(units))
        total = np.zeros(units.shape)
        np.add.at(total, nearest, points)
        closeness = np.exp(-distance / (2 * radius**2))
        weight = closeness @ count
        units = np.where(weight[:, None] > 1e-12, closeness @ total / np.maximum(weight, 1e-12)[:, None], units).astype(
            np.float32
        )
    return numbered(_nearest(points, units, metric))


def numbered(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered without gaps by their first members, int32."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int32)


def _prepared(x: np.ndarray, metric: str) -> np.ndarray:
    points = np.ascontiguousarray(x, np.float32)
    if metric == "cosine":
        length = np.linalg.norm(points, axis=1, keepdims=True)
        points = points / np.where(length > 0, length, 1)
    return points


def _nearest(points: np.ndarray, units: np.ndarray, metric: str) -> np.ndarray:
    """Unit of each point, int64 ``[n]``."""
    if metric == "cosine":
        length = np.linalg.norm(units, axis=1)
        return (points @ (units / np.where(length > 0, length, 1)[:, None]).T).argmax(1)
    return ((units**2).sum(1) - 2 * points @ units.T).argmin(1)
