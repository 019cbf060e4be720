"""Figures of label sets, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from pipeline.learning.multilabel import figures, headline, mean_average_precision, top_k


def test_average_precision_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.7], [0.7, 0.2], [0.6, 0.3]])
    truth = np.array([[True, False], [False, False], [True, False], [False, True]])
    # Class 0: positives at ranks 1 and 3: (1 + 2/3) / 2. Class 1: its positive has rank 2: 1/2.
    assert mean_average_precision(scores, truth) == (pytest.approx((5 / 6 + 1 / 2) / 2), 0)


def test_equal_scores_enter_together_whatever_their_order():
    scores = np.array([[0.5], [0.5], [0.5], [0.1]])
    truth = np.array([[True], [False], [False], [True]])
    # At 0.5: precision 1/3 for recall 1/2; at 0.1: precision 2/4 for recall 1/2.
    for order in ([0, 1, 2, 3], [2, 1, 0, 3], [3, 2, 1, 0]):
        assert mean_average_precision(scores[order], truth[order])[0] == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_classes_without_positives_are_left_out_and_counted():
    scores = np.array([[0.9, 0.9, 0.9], [0.1, 0.1, 0.1]])
    truth = np.array([[True, False, False], [False, False, False]])
    assert mean_average_precision(scores, truth) == (1.0, 2)
    value, left_out = mean_average_precision(scores, np.zeros((2, 3), bool))
    assert np.isnan(value) and left_out == 3
    assert mean_average_precision(scores, np.ones((2, 3), bool)) == (1.0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_mean_average_precision_equals_that_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    truth = random.random((50, 7)) < 0.2
    truth[0] = True  # no class is empty
    scores = random.integers(0, 10, (50, 7)) / 10  # with ties
    assert mean_average_precision(scores, truth)[0] == pytest.approx(average_precision_score(truth, scores))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_equals_that_of_scikit_learn(k):
    random = np.random.default_rng(k)
    scores, label = random.random((60, 6)), random.integers(0, 6, 60)
    assert top_k(scores, label, k) == pytest.approx(top_k_accuracy_score(label, scores, k=k, labels=range(6)))


def test_the_first_of_equal_classes_is_decided_for():
    scores = np.zeros((3, 3))
    label = np.array([0, 1, 2])
    assert [top_k(scores, label, k) for k in (1, 2, 3, 9)] == [1 / 3, 2 / 3, 1, 1]
    assert top_k(scores, label, 1) == (scores.argmax(1) == label).mean()


def test_the_headline_follows_from_the_labels():
    scores = np.array([[0.1, 0.9, 0, 0, 0, 0], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]])
    assert figures([[1], [5]], scores) == {"top1": 0.5, "top5": 0.5}
    assert headline([np.array([1]), np.array([0])], scores) == ("top1", 1.0)
    # Class 0 is of the second video alone, class 1 of both, the others of none.
    assert headline([[1], [0, 1]], scores) == ("mAP", 1.0)
    # A video without labels is a negative: class 1 has its positive at rank 2 of 2.
    assert headline([[], [1]], scores) == ("mAP", 0.5)


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match="finite"):
        mean_average_precision(np.array([[np.nan]]), np.array([[True]]))
    with pytest.raises(ValueError, match="truth must be bool"):
        mean_average_precision(np.zeros((2, 2)), np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="at least one"):
        headline([], np.zeros((0, 3)))
    for labels in ([[3], [0]], [[3, 0], [0]], [[-1], [0, 1]]):
        with pytest.raises(ValueError, match=r"in \[0, 3\)"):
            headline(labels, np.zeros((2, 3)))
