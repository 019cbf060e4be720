"""k-means and the self-organizing map on points whose clusters are known, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from pipeline.jobs.stage import StageError
from pipeline.motion.clustering import kmeans, numbered, self_organizing_map, som_side
from pipeline.motion.motion_concepts import discover
from pipeline.motion.settings import MotionConcepts


@pytest.fixture
def blobs():
    """60 points around 4 directions, and which one each belongs to."""
    generator = np.random.default_rng(3)
    centres = np.eye(6)[:4] * 5
    truth = np.repeat(np.arange(4), 15)
    return centres[truth] + 0.3 * generator.standard_normal((60, 6)), truth


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_both_find_clusters_that_are_far_apart(blobs, metric):
    x, truth = blobs
    assert adjusted_rand_score(truth, kmeans(x, 4, metric)) == 1
    labels = self_organizing_map(x, 4, metric)
    # A map has units between clusters; none may hold points of two.
    assert all(len(set(truth[labels == label])) == 1 for label in np.unique(labels))


def test_length_does_not_matter_to_the_cosine(blobs):
    x, _ = blobs
    scale = np.random.default_rng(0).uniform(0.1, 10, (len(x), 1))
    assert np.array_equal(kmeans(x, 4, "cosine"), kmeans(x * scale, 4, "cosine"))
    assert np.array_equal(self_organizing_map(x, 4, "cosine"), self_organizing_map(x * scale, 4, "cosine"))


def test_kmeans_is_as_tight_as_the_one_of_scikit_learn():
    x = np.random.default_rng(1).standard_normal((300, 5)).astype(np.float32)

    def spread(labels):
        return sum(((x[labels == label] - x[labels == label].mean(0)) ** 2).sum() for label in np.unique(labels))

    oracle = KMeans(8, n_init=10, random_state=0).fit(x)
    assert spread(kmeans(x, 8, "euclidean")) <= 1.03 * oracle.inertia_


def test_the_seed_decides_the_starts():
    x = np.random.default_rng(1).standard_normal((300, 5))
    assert np.array_equal(kmeans(x, 20, "euclidean", 4), kmeans(x, 20, "euclidean", 4))
    assert not np.array_equal(kmeans(x, 20, "euclidean", 4), kmeans(x, 20, "euclidean", 5))


def test_neighbours_on_the_map_are_alike():
    """Points along a line have one direction, so one side of the map, and neighbours there hold neighbours."""
    x = np.linspace(0, 1, 200)[:, None] * np.ones((1, 3))
    labels = self_organizing_map(x, 9, "euclidean")
    assert np.bincount(labels) == pytest.approx([67, 67, 67], abs=10)
    assert (np.diff(labels) >= 0).all()  # numbered by first member, and no cluster is left and entered again


def test_the_map_is_square():
    assert [som_side(count) for count in (1, 2, 4, 5, 79, 81, 500)] == [1, 2, 2, 3, 9, 9, 23]
    assert self_organizing_map(np.ones((5, 3)), 4, "cosine").tolist() == [0] * 5


def test_clusters_are_numbered_by_first_member():
    assert numbered(np.array([7, 2, 7, 9, 2])).tolist() == [0, 1, 0, 2, 1]


def test_impossible_numbers_are_told(blobs):
    x, _ = blobs
    with pytest.raises(ValueError, match="61 clusters of 60 points"):
        kmeans(x, 61, "cosine")
    with pytest.raises(StageError, match="only 60 key clips"):
        discover(x, np.arange(60), MotionConcepts(method="kmeans", n_concepts=61))
    with pytest.raises(ValueError, match="som needs n_concepts"):
        MotionConcepts(method="som")
    with pytest.raises(ValueError, match="either partition or n_concepts"):
        MotionConcepts(partition=1, n_concepts=20)


@pytest.mark.parametrize("method", ["kmeans", "som"])
def test_discover_uses_the_method(blobs, method):
    x, truth = blobs
    labels, sizes = discover(x, np.arange(60), MotionConcepts(method=method, n_concepts=4))
    assert sizes == []
    assert all(len(set(truth[labels == label])) == 1 for label in np.unique(labels))
