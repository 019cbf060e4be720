"""Accuracies and losses against scikit-learn, rankings by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from scipy.special import softmax

from pipeline.learning.metrics import accuracy, average_precision, log_loss, top_k_accuracy, wilson


def test_figures_of_a_classifier_against_scikit_learn():
    rng = np.random.default_rng(0)
    z, weight, bias, y = rng.normal(size=(60, 5)), rng.normal(size=(4, 5)), rng.normal(size=4), np.arange(60) % 4
    logits = z @ weight.T + bias
    assert accuracy(z, y, weight, bias) == sklearn.metrics.accuracy_score(y, logits.argmax(1))
    assert log_loss(z, y, weight, bias) == pytest.approx(sklearn.metrics.log_loss(y, softmax(logits, 1)))
    for k in (1, 2, 3):
        assert top_k_accuracy(z, y, weight, bias, k) == sklearn.metrics.top_k_accuracy_score(y, logits, k=k)


def test_of_no_samples_nothing_is_said():
    nothing = np.zeros((0, 2)), np.zeros(0, int), np.eye(2), np.zeros(2)
    assert np.isnan(accuracy(*nothing)) and np.isnan(top_k_accuracy(*nothing, 1))


def test_average_precision_by_hand():
    scores = np.array([[4.0, 1.0, 1.0], [3.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    labels = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]])
    result = average_precision(scores, labels)
    assert result[:2] == pytest.approx([(1 + 2 / 3) / 2, 1 / 4])
    assert np.isnan(result[2])


def test_wilson_by_hand():
    # 1 of 1: (1 + z²/2 ± z²/2) / (1 + z²) with z = 1.96.
    low, high = wilson(1, 1)
    assert low == pytest.approx(1 / (1 + 1.959964**2), rel=1e-5) and high == pytest.approx(1)
    assert wilson(0, 0) == (0, 1)
    # Of three of three nobody may conclude much.
    assert wilson(3, 3)[0] == pytest.approx(0.438, abs=1e-3)


def test_average_precision_against_scikit_learn():
    """Also where many scores are equal."""
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, (50, 30)) / 3, rng.random((50, 30)) < 0.2
    expected = [sklearn.metrics.average_precision_score(y, score) for y, score in zip(labels.T, scores.T, strict=True)]
    np.testing.assert_allclose(average_precision(scores, labels), expected)
