"""Couplings by loops, both conventions of mAP, and thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.methods.pcmci.measures import (
    by_group_rates,
    coupling,
    couplings,
    mean_precision,
    soft_coupling,
    thresholds,
)


def test_coupling_is_the_conditional_rate():
    random = np.random.default_rng(0)
    chosen = random.random((30, 5)) < 0.4
    chosen[:, 3] = False
    found = coupling(chosen)
    for i in range(5):
        for j in range(5):
            rows = [row for row in chosen if row[j]]
            if i == j or not rows:
                assert np.isnan(found[i, j])
            else:
                assert found[i, j] == pytest.approx(sum(row[i] for row in rows) / len(rows))


def test_soft_coupling_of_yes_and_no_is_the_hard_one():
    chosen = np.random.default_rng(1).random((20, 4)) < 0.5
    assert np.allclose(soft_coupling(chosen.astype(float)), coupling(chosen), equal_nan=True)


def test_false_and_missed_couplings():
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1]], bool)
    chosen = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], bool)
    found = couplings(chosen, labels)
    # Truth: P(2|1) = 1 and P(1|2) = 2/3. Predicted: P(3|1) = 1 and P(1|3) = 2/3; nobody is given the second label.
    assert found.true_density == pytest.approx(2 / 6) and found.density == pytest.approx(2 / 6)
    assert found.false == pytest.approx(2 / 6) and found.missed == pytest.approx(2 / 6)
    assert found.unpredicted == 1 and found.recall == pytest.approx(3 / 7)
    assert [pair[:2] for pair in found.false_pairs] == [(2, 0), (0, 2)]
    perfect = couplings(labels, labels)
    assert perfect.false == perfect.missed == 0 and perfect.recall == 1


def test_a_class_without_positives_counts_in_one_convention_alone():
    scores = np.array([[0.9, 0.1], [0.1, 0.2]])
    found = mean_precision(scores, np.array([[1, 0], [0, 0]], bool))
    assert found == {"mAP": 1.0, "map_sklearn": 0.5}


def test_thresholds_are_the_best_by_f1():
    random = np.random.default_rng(2)
    probability, labels = random.random((40, 3)).round(1), random.random((40, 3)) < 0.3
    labels[:, 2] = False

    def f1(chosen, truth):
        return 2 * (chosen & truth).sum() / (chosen.sum() + truth.sum())

    found = thresholds(probability, labels)
    assert found[2] == 0.5
    for label in range(2):
        best = max(f1(probability[:, label] > limit, labels[:, label]) for limit in np.arange(-0.05, 1, 0.1))
        assert f1(probability[:, label] > found[label], labels[:, label]) == pytest.approx(best)


def test_rates_of_the_dish():
    labels = np.array([[1, 0], [1, 1], [0, 1]], bool)
    found = by_group_rates(labels, np.array(["tea", "tea", "milk"]), np.array(["milk", "tea", "juice"]))
    assert np.allclose(found, [[0, 1], [1, 0.5], [2 / 3, 2 / 3]])
