"""FINCH clustering in linear memory, with exact first neighbours.

FINCH (Sarfraz et al., "Efficient Parameter-free Clustering Using First Neighbor Relations", CVPR
2019) links every point to its first (nearest) neighbour and takes the connected components as
clusters; it then repeats on the cluster means until everything has merged. It has no parameters.

Ties are part of the result: duplicate and mirrored poses are common, and a tie broken differently
is another partition. Distances are therefore computed in float64, compared in float32, and equal
ones go to the lowest index. The partition depends neither on the number of threads, nor on the block
sizes, nor on whether a GPU searches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import faiss
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pipeline.motion.search import nearest

Metric = Literal["cosine", "euclidean"]

# Candidates per point that the float32 search hands to the float64 comparison, the point itself
# included.
_N_CANDIDATES = 8
# A tile of distances is at most 1024 x 4096 float64, 32 MiB.
_QUERY_BLOCK = 1024
_REFERENCE_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Partition:
    """One level of the FINCH hierarchy.

    labels: int32 `[n]`, the cluster of each point; clusters are numbered by their first member.
    n_clusters: number of clusters.
    """

    labels: np.ndarray
    n_clusters: int


def finch(x: np.ndarray, metric: Metric = "cosine", device: str = "cpu") -> list[Partition]:
    """Partition points into clusters at several granularities.

    The partitions are those of finch-clust's exact path with its distances taken in float64. (For
    the cosine metric it takes them in float32, whose rounding gives a few points of dense data a
    wrong first neighbour: `python bench/finch.py --compare`.) Its `ensure_early_exit` has no
    counterpart here because it has no effect: the links above the limit are zeroed but stay stored,
    and a stored link connects. A level that leaves one cluster is dropped, unless it is the first.

    Args:
        x: points `[n, d]`, used in float32. Under the cosine metric a zero row is at distance 1
            from every point.
        metric: "cosine" (1 - cosine similarity) or "euclidean".
        device: where candidates are searched, see `pipeline.motion.search`; it changes no partition.

    Returns:
        Partitions, finest first; at least one. Each refines the next.

    Raises:
        ValueError: x is not a finite, non-empty matrix, or the metric is unknown.
    """
    points = _check_points(x, "x")
    _check_metric(metric)
    labels = _link_first_neighbours(points, metric, device)
    partitions = [Partition(labels, int(labels.max()) + 1)]
    while partitions[-1].n_clusters > 1:
        finer = partitions[-1]
        merged = _link_first_neighbours(cluster_means(points, finer.labels), metric, device)
        n_clusters = int(merged.max()) + 1
        if n_clusters == 1:
            break
        partitions.append(Partition(merged[finer.labels], n_clusters))
    return partitions


def refine_to(x: np.ndarray, partition: Partition, n_clusters: int, metric: Metric = "cosine") -> Partition:
    """Merge the two closest clusters again and again until `n_clusters` are left.

    This is FINCH's mode for a required number of clusters (Algorithm 2 of the paper). Exactly one
    pair is merged at a time: of equally close pairs the one with the lowest indices. Memory is
    linear in the number of clusters.

    Args:
        x: points `[n, d]`.
        partition: the partition to start from, best the coarsest with at least `n_clusters`.
        n_clusters: wanted number of clusters.
        metric: the metric of the partition.

    Raises:
        ValueError: the partition has fewer than `n_clusters` clusters, or `n_clusters` is below 1.
    """
    points = _check_points(x, "x")
    _check_metric(metric)
    if not 1 <= n_clusters <= partition.n_clusters:
        raise ValueError(
            f"cannot merge a partition of {partition.n_clusters} clusters into {n_clusters}:"
            f" n_clusters must be between 1 and {partition.n_clusters}"
        )
    means = cluster_means(points, partition.labels)
    centre = means.mean(axis=0)
    vectors = _prepare(means, metric, centre)
    counts = np.bincount(partition.labels, minlength=len(means))
    k = len(means)
    target = np.arange(k)  # the cluster that each cluster became
    gone = np.zeros(k, dtype=bool)
    neighbour, distance = _nearest(vectors, vectors, metric, own=np.arange(k))
    for _ in range(k - n_clusters):
        first = int(distance.argmin())
        keep, drop = sorted((first, int(neighbour[first])))
        means[keep] = np.average(means[[keep, drop]], axis=0, weights=counts[[keep, drop]])
        vectors[keep] = _prepare(means[keep : keep + 1], metric, centre)[0]
        counts[keep] += counts[drop]
        target[target == drop] = keep
        gone[drop] = True
        distance[drop] = np.inf

        affected = ~gone & ((neighbour == keep) | (neighbour == drop))
        affected[keep] = True
        affected = np.flatnonzero(affected)
        neighbour[affected], distance[affected] = _nearest(
            vectors[affected], vectors, metric, own=affected, excluded=gone
        )
        to_merged = _distances(vectors, vectors[keep : keep + 1], metric)[:, 0]
        closer = (to_merged < distance) | ((to_merged == distance) & (keep < neighbour))
        closer[keep] = False
        closer &= ~gone
        neighbour[closer] = keep
        distance[closer] = to_merged[closer]

    labels = np.searchsorted(np.flatnonzero(~gone), target[partition.labels]).astype(np.int32)
    return Partition(labels, n_clusters)


def cluster_means(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean of each cluster's points, float64 `[k, d]`.

    Raises:
        ValueError: labels are not `[n]`, or a cluster between 0 and the largest label has no
            member.
    """
    counts = _check_labels(labels, len(x))
    n = len(x)
    membership = csr_array((np.ones(n), (labels, np.arange(n))), shape=(len(counts), n))  # [k, n]
    means = np.empty((len(counts), x.shape[1]))
    # Blocks of columns: a float64 copy of all points would triple the memory of the clustering.
    for columns in _blocks(x.shape[1], 64):
        means[:, columns] = membership @ x[:, columns].astype(np.float64)
    return means / counts[:, None]


def medoids(x: np.ndarray, labels: np.ndarray, metric: Metric = "cosine") -> np.ndarray:
    """Find each cluster's medoid: the member with the smallest mean distance to the other members.

    DANCE supplement 1.3.1. Of members whose means agree to seven digits (both members of a pair,
    for one) the lowest index is taken. Cosine costs O(m d) for a cluster of m members, Euclidean
    O(m² d) in blocks.

    Args:
        x: points `[n, d]`.
        labels: cluster of each point, int `[n]`, every cluster from 0 to the largest label with a
            member.
        metric: "cosine" or "euclidean".

    Returns:
        int32 `[k]`, indices into x.

    Raises:
        ValueError: as `finch` and `cluster_means`.
    """
    points = _check_points(x, "x")
    _check_metric(metric)
    counts = _check_labels(labels, len(points))
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    return np.array([_medoid(points, indices, metric) for indices in members], dtype=np.int32)


def assign(x: np.ndarray, means: np.ndarray, metric: Metric = "cosine") -> np.ndarray:
    """Assign new points to the cluster with the nearest mean, ties to the lowest cluster.

    Args:
        x: points `[n, d]`.
        means: cluster means `[k, d]`, from `cluster_means` on the points that were clustered.
        metric: the metric of the clustering.

    Returns:
        int32 `[n]`.

    Raises:
        ValueError: x and means differ in d, or are not finite matrices.
    """
    points = _check_points(x, "x")
    _check_points(means, "means")
    _check_metric(metric)
    if points.shape[1] != means.shape[1]:
        raise ValueError(
            f"x has {points.shape[1]} columns and means has {means.shape[1]}: use means of the same features"
        )
    centre = np.mean(means, axis=0, dtype=np.float64)
    references = _prepare(means, metric, centre)
    labels = np.empty(len(points), dtype=np.int32)
    for rows in _blocks(len(points), _QUERY_BLOCK):
        labels[rows] = _nearest(_prepare(points[rows], metric, centre), references, metric)[0]
    return labels


def _link_first_neighbours(x: np.ndarray, metric: Metric, device: str) -> np.ndarray:
    """Connected components of the first-neighbour graph, int32 `[n]`, numbered by first member."""
    n = len(x)
    if n == 1:
        return np.zeros(1, dtype=np.int32)
    neighbours = _first_neighbours(x, metric, device)
    graph = csr_array((np.ones(n, dtype=np.int8), neighbours, np.arange(n + 1)), shape=(n, n))
    return connected_components(graph, directed=True, connection="weak")[1].astype(np.int32)


def _first_neighbours(x: np.ndarray, metric: Metric, device: str = "cpu") -> np.ndarray:
    """Index of every point's nearest other point `[n]`, ties to the lowest index; n is at least 2.

    A float32 search proposes candidates and float64 decides among them. Where the float32 error
    bound leaves room for a better point outside the candidates, that point's row is compared with
    all others in float64.
    """
    n, n_features = x.shape
    centre = np.mean(x, axis=0, dtype=np.float64)
    search, scale = _search_matrix(x, metric, centre)
    n_candidates = min(_N_CANDIDATES, n)
    faiss_metric = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
    scores, candidates = nearest(search, n_candidates, faiss_metric, device)
    # Worst case of a float32 inner product over d terms (Higham, "Accuracy and Stability of
    # Numerical Algorithms", section 3.1), with room for the rounding of the vectors themselves.
    error = (n_features + 16) * 2.0**-24

    neighbours = np.empty(n, dtype=np.int64)
    certain = np.empty(n, dtype=bool)
    for rows in _blocks(n, _QUERY_BLOCK // _N_CANDIDATES * 4):
        own = np.arange(rows.start, rows.stop)
        listed = candidates[rows]  # [rows, candidates]
        query = _prepare(x[rows], metric, centre)
        reference = _prepare(x[listed.ravel()], metric, centre).reshape(*listed.shape, n_features)
        if metric == "cosine":
            exact = _cosine_distance(np.einsum("qd,qcd->qc", query, reference))
        else:
            reference -= query[:, None]
            exact = np.sqrt(np.einsum("qcd,qcd->qc", reference, reference))
        exact[listed == own[:, None]] = np.inf
        distance = exact.astype(np.float32)
        tied = distance == distance.min(axis=1, keepdims=True)
        neighbours[rows] = np.where(tied, listed, n).min(axis=1)

        best = exact.min(axis=1)
        last_listed = scores[rows, -1].astype(np.float64)
        if metric == "cosine":
            certain[rows] = last_listed < 1 - best - error
        else:
            # A point that could win is within `best`, so its norm is at most the query's norm plus
            # `best`.
            best = best / scale
            norm = np.sqrt(np.einsum("qd,qd->q", query, query)) / scale
            certain[rows] = last_listed > best**2 + error * (2 * norm + best) ** 2

    if n_candidates < n:
        uncertain = np.flatnonzero(~certain)
        for block in _blocks(len(uncertain), _QUERY_BLOCK):
            own = uncertain[block]
            neighbours[own] = _nearest_in_blocks(x, own, metric, centre)
    return neighbours


def _search_matrix(x: np.ndarray, metric: Metric, centre: np.ndarray) -> tuple[np.ndarray, float]:
    """Float32 vectors to search in, and what they were divided by.

    Euclidean points are centred, because float32 distances far from the origin cancel, and scaled,
    because squares overflow.
    """
    search = np.empty(x.shape, dtype=np.float32)
    scale = 1.0
    if metric == "euclidean":
        farthest = max(float(np.abs(x[rows] - centre).max()) for rows in _blocks(len(x), _REFERENCE_BLOCK))
        scale = farthest or 1.0
    for rows in _blocks(len(x), _REFERENCE_BLOCK):
        search[rows] = _prepare(x[rows], metric, centre) / scale
    return search, scale


def _nearest_in_blocks(x: np.ndarray, own: np.ndarray, metric: Metric, centre: np.ndarray) -> np.ndarray:
    """Nearest other point of the points `own`, int64 `[q]`, compared with all points in float64."""
    queries = _prepare(x[own], metric, centre)
    nearest = np.zeros(len(own), dtype=np.int64)
    smallest = np.full(len(own), np.inf, dtype=np.float32)
    for rows in _blocks(len(x), _REFERENCE_BLOCK):
        index, distance = _nearest(queries, _prepare(x[rows], metric, centre), metric, own=own - rows.start)
        closer = distance < smallest  # strictly: an earlier block has the lower index
        nearest[closer] = index[closer] + rows.start
        smallest[closer] = distance[closer]
    return nearest


def _nearest(
    queries: np.ndarray,
    references: np.ndarray,
    metric: Metric,
    own: np.ndarray | None = None,
    excluded: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest reference of each prepared query: index int64 `[q]` and distance float32 `[q]`.

    own: position `[q]` of each query among the references, to be left out; outside their range if
    it is not there. excluded: bool `[r]`, references that are left out for all queries.
    """
    index = np.empty(len(queries), dtype=np.int64)
    smallest = np.empty(len(queries), dtype=np.float32)
    rows_per_tile = max(1, _QUERY_BLOCK * _REFERENCE_BLOCK // len(references))
    for rows in _blocks(len(queries), rows_per_tile):
        distance = _distances(queries[rows], references, metric)
        if own is not None:
            present = np.flatnonzero((own[rows] >= 0) & (own[rows] < len(references)))
            distance[present, own[rows][present]] = np.inf
        if excluded is not None:
            distance[:, excluded] = np.inf
        index[rows] = distance.argmin(axis=1)
        smallest[rows] = distance[np.arange(len(distance)), index[rows]]
    return index, smallest


def _prepare(rows: np.ndarray, metric: Metric, centre: np.ndarray) -> np.ndarray:
    """Rows to compute distances with, float64 `[m, d]`: of unit length (cosine) or centred."""
    rows = rows.astype(np.float64)
    if metric == "euclidean":
        rows -= centre
        return rows
    norm = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    rows /= np.where(norm > 0, norm, 1.0)[:, None]
    return rows


def _distances(queries: np.ndarray, references: np.ndarray, metric: Metric) -> np.ndarray:
    """Float32 distances `[q, r]` of prepared rows."""
    product = queries @ references.T
    if metric == "cosine":
        return _cosine_distance(product).astype(np.float32)
    squares = np.einsum("ij,ij->i", queries, queries)[:, None] + np.einsum("ij,ij->i", references, references)[None, :]
    product *= -2
    product += squares
    # What cancellation leaves of two equal points is noise, and would decide a tie.
    product[product < 1e-13 * squares] = 0
    return np.sqrt(product, out=product).astype(np.float32)


def _cosine_distance(similarity: np.ndarray) -> np.ndarray:
    distance = 1 - similarity
    distance[distance < 1e-12] = 0  # parallel vectors: the rest is rounding, and would decide a tie
    return distance


def _medoid(points: np.ndarray, members: np.ndarray, metric: Metric) -> int:
    if len(members) == 1:
        return int(members[0])
    centre = points[members].mean(axis=0, dtype=np.float64)
    blocks = list(_blocks(len(members), _QUERY_BLOCK))
    total = np.zeros(len(members))  # summed distance to the other members
    if metric == "cosine":
        # The sum over j of (1 - u_i . u_j) needs only the sum of the unit vectors, not the pairs.
        resultant = np.zeros(points.shape[1])
        for rows in blocks:
            resultant += _prepare(points[members[rows]], metric, centre).sum(axis=0)
        for rows in blocks:
            unit = _prepare(points[members[rows]], metric, centre)
            total[rows] = len(members) - 1 - unit @ resultant + np.einsum("ij,ij->i", unit, unit)
        total[total < 1e-11 * len(members)] = 0  # all parallel: the rest is rounding
    else:
        for rows in blocks:
            queries = _prepare(points[members[rows]], metric, centre)
            for columns in _blocks(len(members), _REFERENCE_BLOCK):
                references = _prepare(points[members[columns]], metric, centre)
                total[rows] += _distances(queries, references, metric).sum(axis=1, dtype=np.float64)
    return int(members[np.flatnonzero(total <= total.min() * (1 + 1e-7))[0]])


def _blocks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _check_points(x: np.ndarray, name: str) -> np.ndarray:
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name} must be a matrix [n, d] with at least one row, got shape {x.shape}")
    points = np.ascontiguousarray(x, dtype=np.float32)
    for rows in _blocks(len(points), _REFERENCE_BLOCK):
        broken = np.flatnonzero(~np.isfinite(points[rows]).all(axis=1))
        if len(broken):
            raise ValueError(
                f"{name} has a value that is not a finite float32 in row {rows.start + broken[0]}:"
                " drop or repair such rows before clustering"
            )
    return points


def _check_labels(labels: np.ndarray, n: int) -> np.ndarray:
    """Members per cluster, int `[k]`."""
    if labels.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), one for each point, got {labels.shape}")
    counts = np.bincount(labels)
    if (counts == 0).any():
        raise ValueError(
            f"cluster {np.flatnonzero(counts == 0)[0]} has no member:"
            f" labels must use every number from 0 to {len(counts) - 1}"
        )
    return counts


def _check_metric(metric: str) -> None:
    if metric not in get_args(Metric):
        raise ValueError(f"metric must be one of {get_args(Metric)}, got {metric!r}")
