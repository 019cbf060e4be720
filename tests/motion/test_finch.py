from __future__ import annotations

from itertools import pairwise

import faiss
import finch.finch as finch_clust
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pipeline.motion.finch as module
from pipeline.motion.finch import (
    Partition,
    assign,
    cluster_means,
    finch,
    medoids,
    refine_to,
)

METRICS = ("cosine", "euclidean")


def hierarchy(n: int, d: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    groups = rng.standard_normal((5, d))
    clusters = groups[rng.integers(5, size=n // 15)] + 0.4 * rng.standard_normal((n // 15, d))
    points = clusters[rng.integers(n // 15, size=n)] + 0.1 * rng.standard_normal((n, d))
    return points.astype(np.float32)


def expected_partitions(x: np.ndarray, metric: str) -> list[np.ndarray]:
    labels, _, _ = finch_clust.FINCH(x, distance=metric)
    return list(labels.T)


def assert_partitions_equal(actual: list[Partition], expected: list[np.ndarray]) -> None:
    assert [partition.n_clusters for partition in actual] == [len(np.unique(labels)) for labels in expected]
    for partition, labels in zip(actual, expected, strict=True):
        # Both number clusters by first member, so that no relabelling is needed.
        np.testing.assert_array_equal(partition.labels, labels)


def exact_distances(x: np.ndarray, metric: str) -> np.ndarray:
    return sklearn.metrics.pairwise_distances(x.astype(np.float64), metric=metric)


def spy_on_exhaustive_search(monkeypatch) -> list[int]:
    """The points that were compared with all others in float64, filled while the test runs."""
    searched = []
    original = module._nearest_in_blocks

    def spy(points, own, *arguments):
        searched.extend(own)
        return original(points, own, *arguments)

    monkeypatch.setattr(module, "_nearest_in_blocks", spy)
    return searched


@pytest.fixture
def float64_oracle(monkeypatch):
    """finch-clust takes cosine distances in float32 and so misses some first neighbours."""
    monkeypatch.setattr(
        finch_clust.metrics,
        "pairwise_distances",
        lambda a, _, metric, original=sklearn.metrics.pairwise_distances: original(a.astype(np.float64), metric=metric),
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(6))
def test_partitions_are_those_of_finch_clust(metric, seed):
    x = hierarchy(n=400 + 100 * seed, d=4 + 6 * seed, seed=seed)
    partitions = finch(x, metric)
    assert len(partitions) >= 2
    assert_partitions_equal(partitions, expected_partitions(x, metric))


@pytest.mark.parametrize("metric", METRICS)
def test_partitions_are_those_of_finch_clust_on_many_points(metric, float64_oracle):
    x = hierarchy(n=5000, d=64, seed=9)
    assert_partitions_equal(finch(x, metric), expected_partitions(x, metric))


def test_points_far_from_the_origin(float64_oracle, monkeypatch):
    x = hierarchy(n=800, d=8, seed=3) + np.float32(1000)
    searched = spy_on_exhaustive_search(monkeypatch)
    assert_partitions_equal(finch(x, "euclidean"), expected_partitions(x, "euclidean"))
    assert len(searched) < 80  # where the float32 search is useless, every point would be


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.integers(1, 3)),
        elements=st.integers(-3, 3).map(float),
    )
)
def test_ties_and_duplicates_euclidean(x):
    # Small integers have exact distances, so that finch-clust's ties are true ties, too.
    assert_partitions_equal(finch(x, "euclidean"), expected_partitions(x, "euclidean"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 15)), min_size=1, max_size=40))
def test_ties_duplicates_and_zero_rows_cosine(choices):
    # Four entries of -1 or 1 have the norm 2: float32 is exact on the points themselves.
    signs = np.array([[1 - 2 * (bits >> i & 1) for i in range(4)] for bits in range(16)])
    x = np.zeros((len(choices), 8), dtype=np.float32)
    for row, (offset, bits) in zip(x, choices, strict=True):
        if offset < 5:
            row[offset : offset + 4] = signs[bits]
    expected = exact_distances(x, "cosine").round(6)
    np.fill_diagonal(expected, np.inf)
    if len(x) > 1:
        np.testing.assert_array_equal(module._first_neighbours(x, "cosine"), expected.argmin(axis=1))


@pytest.mark.parametrize("metric", METRICS)
def test_more_duplicates_than_candidates(metric):
    originals = hierarchy(n=30, d=300, seed=1)
    x = np.repeat(originals, 3 * module._N_CANDIDATES, axis=0)
    first = np.arange(len(x)) // (3 * module._N_CANDIDATES) * (3 * module._N_CANDIDATES)
    expected = np.where(np.arange(len(x)) == first, first + 1, first)
    np.testing.assert_array_equal(module._first_neighbours(x, metric), expected)
    assert finch(x, metric)[0].n_clusters == 30


def test_equal_points_are_at_distance_0():
    x = 300 + hierarchy(n=300, d=300, seed=1).astype(np.float64)
    np.testing.assert_array_equal(module._distances(x, x, "euclidean").diagonal(), np.zeros(300))


@pytest.mark.parametrize("metric", METRICS)
def test_uncertain_rows_are_compared_with_all_points(metric, monkeypatch):
    rng = np.random.default_rng(0)
    # Rows of the second half differ by less than the rounding of a float32 inner product may be.
    x = np.concatenate([rng.random((100, 300)), 1 + 1e-3 * rng.random((100, 300))])
    x = x.astype(np.float32)
    expected = exact_distances(x, metric)
    np.fill_diagonal(expected, np.inf)
    searched = spy_on_exhaustive_search(monkeypatch)
    monkeypatch.setattr(module, "_REFERENCE_BLOCK", 64)
    actual = module._first_neighbours(x, metric)
    np.testing.assert_array_equal(actual, expected.astype(np.float32).argmin(axis=1))
    assert set(searched) >= set(range(100, 200))


@pytest.mark.parametrize("metric", METRICS)
def test_result_does_not_depend_on_threads_or_blocks(metric, monkeypatch):
    x = np.round(hierarchy(n=500, d=3, seed=4), 1)
    expected = [partition.labels for partition in finch(x, metric)]
    threads = faiss.omp_get_max_threads()
    monkeypatch.setattr(module, "_QUERY_BLOCK", 32)
    monkeypatch.setattr(module, "_REFERENCE_BLOCK", 48)
    monkeypatch.setattr(module, "_N_CANDIDATES", 2)
    try:
        faiss.omp_set_num_threads(1)
        assert_partitions_equal(finch(x, metric), expected)
    finally:
        faiss.omp_set_num_threads(threads)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_points_are_one_cluster(metric, n):
    (partition,) = finch(hierarchy(n=30, d=4, seed=0)[:n], metric)
    np.testing.assert_array_equal(partition.labels, np.zeros(n, dtype=np.int32))
    assert partition.labels.dtype == np.int32
    assert partition.n_clusters == 1


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_equal_points_are_one_cluster(metric, value):
    (partition,) = finch(np.full((50, 7), value, dtype=np.float32), metric)
    assert partition.n_clusters == 1


def test_zero_rows_under_cosine():
    x = hierarchy(n=200, d=6, seed=2)
    x[[5, 60, 61, 199]] = 0
    assert_partitions_equal(finch(x, "cosine"), expected_partitions(x, "cosine"))


def test_huge_and_tiny_values():
    x = hierarchy(n=300, d=6, seed=5)
    expected = [partition.labels for partition in finch(x, "euclidean")]
    for factor in (2.0**100, 2.0**-100):
        assert_partitions_equal(finch(x * np.float32(factor), "euclidean"), expected)


def test_each_partition_refines_the_next():
    partitions = finch(hierarchy(n=900, d=6, seed=6))
    for finer, coarser in pairwise(partitions):
        pairs = np.unique(np.stack([finer.labels, coarser.labels], axis=1), axis=0)
        assert len(pairs) == finer.n_clusters


def test_literal_clusters():
    x = np.array([[0.0], [10.0], [1.0], [11.0], [0.4], [100.0], [100.5]], dtype=np.float32)
    partitions = finch(x, "euclidean")
    np.testing.assert_array_equal(partitions[0].labels, [0, 1, 0, 1, 0, 2, 2])
    assert len(partitions) == 1  # the next level is a single cluster


def test_broken_points_are_named():
    x = np.zeros((9, 2), dtype=np.float32)
    x[7, 1] = np.nan
    with pytest.raises(ValueError, match="row 7"):
        finch(x)
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        finch(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="manhattan"):
        finch(np.ones((3, 3)), "manhattan")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_refine_to_merges_like_finch_clust(metric, seed):
    x = hierarchy(n=300, d=6, seed=seed)
    partition = finch(x, metric)[0]
    wanted = partition.n_clusters // 2 + 1
    start = next(level for level in reversed(finch(x, metric)) if level.n_clusters >= wanted)
    _, _, expected = finch_clust.FINCH(x, req_clust=wanted, distance=metric)
    refined = refine_to(x, start, wanted, metric)
    assert refined.n_clusters == wanted
    assert refined.labels.dtype == np.int32
    np.testing.assert_array_equal(refined.labels, expected)


@pytest.mark.parametrize("metric", METRICS)
def test_refine_to_merges_one_pair_at_a_time(metric):
    # Four pairs of equally close clusters, where the whole first-neighbour step would merge all.
    angles = np.radians([0, 10, 90, 100, 180, 190, 270, 280])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    singletons = Partition(np.arange(8, dtype=np.int32), 8)
    expected = {
        8: [0, 1, 2, 3, 4, 5, 6, 7],
        7: [0, 0, 1, 2, 3, 4, 5, 6],
        6: [0, 0, 1, 1, 2, 3, 4, 5],
        5: [0, 0, 1, 1, 2, 2, 3, 4],
        4: [0, 0, 1, 1, 2, 2, 3, 3],
    }
    for n_clusters, labels in expected.items():
        refined = refine_to(x, singletons, n_clusters, metric)
        np.testing.assert_array_equal(refined.labels, labels)


@pytest.mark.parametrize("decimals", [9, 0])  # rounded to integers there are many ties
@pytest.mark.parametrize("metric", METRICS)
def test_refine_to_against_brute_force(metric, decimals):
    x = np.round(hierarchy(n=90, d=3, seed=8), decimals)
    x[(x == 0).all(axis=1)] = 1
    labels = np.arange(90)
    for n_clusters in range(89, 0, -1):
        distance = exact_distances(cluster_means(x, labels), metric).round(7)
        distance[np.tril_indices(len(distance))] = np.inf
        first, second = np.unravel_index(distance.argmin(), distance.shape)
        labels[labels == second] = first
        labels = np.unique(labels, return_inverse=True)[1]
        if n_clusters in (60, 30, 11, 2, 1):
            start = Partition(np.arange(90, dtype=np.int32), 90)
            np.testing.assert_array_equal(refine_to(x, start, n_clusters, metric).labels, labels)


def test_refine_to_cannot_split():
    with pytest.raises(ValueError, match="between 1 and 1"):
        refine_to(np.ones((3, 2)), Partition(np.zeros(3, dtype=np.int32), 1), 2)


def test_cluster_means():
    x = np.array([[1, 2], [3, 4], [10, 20], [5, 9]], dtype=np.float32)
    means = cluster_means(x, np.array([0, 0, 1, 0]))
    np.testing.assert_array_equal(means, [[3, 5], [10, 20]])
    assert means.dtype == np.float64
    with pytest.raises(ValueError, match="cluster 1 has no member"):
        cluster_means(x, np.array([0, 0, 2, 0]))
    with pytest.raises(ValueError, match=r"\(4,\)"):
        cluster_means(x, np.array([0, 0, 1]))


@pytest.mark.parametrize("metric", METRICS)
def test_medoids_against_brute_force(metric, monkeypatch):
    monkeypatch.setattr(module, "_QUERY_BLOCK", 16)
    monkeypatch.setattr(module, "_REFERENCE_BLOCK", 24)
    rng = np.random.default_rng(3)
    x = hierarchy(n=240, d=5, seed=3)
    x[7] = 0
    labels = rng.permutation(np.repeat(np.arange(6), [1, 2, 30, 57, 70, 80]))
    expected = []
    for label in range(6):
        members = np.flatnonzero(labels == label)
        total = exact_distances(x[members], metric).sum(axis=1)
        expected.append(members[total.argmin()] if len(members) > 2 else members[0])
    actual = medoids(x, labels, metric)
    assert actual.dtype == np.int32
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("metric", METRICS)
def test_medoid_is_the_middle_and_ties_go_to_the_lowest_index(metric):
    angles = np.radians([40, 0, 20, 70, 70, 70, 70])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_array_equal(medoids(x, np.array([0, 0, 0, 1, 1, 1, 1]), metric), [2, 3])
    pairs = hierarchy(n=600, d=200, seed=0)  # in a pair both members are equally good
    labels = np.random.default_rng(0).permutation(np.arange(600) // 2)
    expected = [np.flatnonzero(labels == label)[0] for label in range(300)]
    np.testing.assert_array_equal(medoids(pairs, labels, metric), expected)


def test_parallel_points_are_equally_good_medoids_under_cosine():
    direction = hierarchy(n=30, d=200, seed=0)[0]
    x = np.linspace(1, 3, 40)[:, None] * direction
    np.testing.assert_array_equal(medoids(x, np.arange(40) // 8), [0, 8, 16, 24, 32])


def test_medoid_and_mean_member_differ():
    # The mean is pulled to 3.2 by the outlier, where 4 is nearest; half of the points lie at 0.
    x = np.array([[0.0], [0.0], [0.0], [4.0], [12.0]])
    assert medoids(x, np.zeros(5, dtype=int), "euclidean") == [0]


def test_assign_to_the_nearest_mean():
    means = np.array([[1.0, 0.0], [0.0, 10.0], [0.0, 1.0]])
    x = np.array([[5.0, 1.0], [0.1, 8.0], [0.2, 0.9], [0.0, 0.0]])
    np.testing.assert_array_equal(assign(x, means, "euclidean"), [0, 1, 2, 0])
    # Means 1 and 2 are parallel, and a zero row is equally far from all: the lowest index wins.
    labels = assign(x, means, "cosine")
    np.testing.assert_array_equal(labels, [0, 1, 1, 0])
    assert labels.dtype == np.int32
    with pytest.raises(ValueError, match="x has 3 columns and means has 2"):
        assign(np.ones((1, 3)), means)


@pytest.mark.parametrize("metric", METRICS)
def test_assign_against_brute_force(metric, monkeypatch):
    monkeypatch.setattr(module, "_QUERY_BLOCK", 32)
    x, means = hierarchy(n=200, d=5, seed=1), hierarchy(n=150, d=5, seed=2)
    expected = sklearn.metrics.pairwise_distances(x.astype(np.float64), means.astype(np.float64), metric=metric).argmin(
        axis=1
    )
    np.testing.assert_array_equal(assign(x, means, metric), expected)
