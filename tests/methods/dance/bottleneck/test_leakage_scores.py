"""Leakage scores and read beside guessed, where it is known what leaks: nothing, or everything."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.methods.dance.bottleneck.leakage_scores import beside_read, leakage, pair_leakage, shared, task_leakage

N = 400


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_concepts_that_say_their_label_alone_leak_nothing(rng):
    y = rng.integers(0, 4, N)
    truth = [np.isin(y, own).astype(np.int64) for own in ([0, 1], [1, 2])]
    z = np.stack(truth, 1) + 0.01 * rng.normal(size=(N, 2))
    found = leakage(z, ["motion", "motion"], truth, y)["motion"]
    assert found["ctl"] == pytest.approx(0, abs=0.03) and found["icl"] == pytest.approx(0, abs=0.03)


def test_activations_that_are_the_class_leak_all(rng):
    """Labels that have nothing to do with the class, activations that are it."""
    y = rng.integers(0, 4, N)
    truth = [rng.integers(0, 2, N) for _ in range(3)]
    z = np.repeat(y[:, None], 3, 1) + 0.01 * rng.normal(size=(N, 1))
    found = leakage(z, ["motion", "motion", "object"], truth, y)
    assert set(found) == {"motion", "object"}
    for scores in found.values():
        assert scores["ctl"] == pytest.approx(1, abs=0.05) and scores["icl"] == pytest.approx(1, abs=0.05)


def test_more_of_the_class_is_more_leakage(rng):
    y, label = rng.integers(0, 2, N), rng.integers(0, 2, N)
    scores = []
    for part in (0.0, 0.5, 1.0):
        told = np.where(rng.random(N) < part, y, label)
        scores.append(task_leakage(told + 0.01 * rng.normal(size=N), label, y))
    assert scores[0] < 0.05 < scores[1] < scores[2] and scores[2] > 0.9


def test_scores_that_are_their_own_truth_leak_nothing(rng):
    """The dual encoder's own scores: however much they tell."""
    y = rng.integers(0, 4, N)
    scores = [y + 0.1 * rng.normal(size=N), -y + 0.1 * rng.normal(size=N)]
    assert task_leakage(scores[0], scores[0], y) == 0
    assert pair_leakage(scores, scores, [(0, 1)]).tolist() == [0.0]
    np.testing.assert_allclose(shared(scores, [(0, 0), (1, 1)]), 1)


def test_videos_whose_truth_is_unknown_do_not_count(rng):
    y, label = rng.integers(0, 2, N), rng.integers(0, 2, N)
    z = (label + 0.01 * rng.normal(size=N))[:, None]
    unknown = np.arange(N) % 2 == 0
    z[unknown, 0] = y[unknown]
    assert leakage(z, ["motion"], [np.where(unknown, -1, label)], y)["motion"]["ctl"] < 0.05
    assert leakage(z, ["motion"], [label], y)["motion"]["ctl"] > 0.1
    assert leakage(z, ["motion"], [None], y) == {}
    assert leakage(z, ["object"], [np.full(N, np.nan)], y) == {}


def test_constant_columns_tell_nothing(rng):
    y = rng.integers(0, 2, N)
    constant = np.zeros(N, np.int64)
    assert leakage(np.zeros((N, 2)), ["scene"] * 2, [constant, y], y)["scene"] == {"ctl": 0.0, "icl": 0.0}


def test_what_is_read_stands_beside_what_is_guessed():
    kinds = {
        "dance": {"top1_by_type": {"motion": 0.9, "object": 0.8, "all": 1.0}},
        "read": {"top1_by_type": {"motion": 0.5, "object": 0.4, "all": 0.7}},
        "read+dance": {"top1_by_type": {"motion": 0.5, "object": 0.8, "all": 0.9}},
        "backbone": {},
    }
    assert beside_read(kinds) == {
        "motion": {"read": 0.5, "dance": 0.9},
        "object": {"read": 0.4, "dance": 0.8, "read+dance": 0.8},
    }
    assert beside_read({"dance": kinds["dance"]}) == {}


def test_labels_that_come_once_tell_nothing():
    """The estimator wants neighbours of the same label; five videos of five classes have none."""
    y = np.arange(5)
    assert leakage(np.eye(5)[:, :1], ["motion"], [np.array([1, 0, 0, 0, 0])], y)["motion"]["ctl"] == 0
