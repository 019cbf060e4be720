"""Deletion and insertion curves on models whose curves can be worked out."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.curves import curves


def model_of(weight) -> ConceptModel:
    weight = np.array(weight, np.float64)
    n_classes, n = weight.shape
    layer = {"weight": np.eye(n), "mean": np.zeros(n), "std": np.ones(n)}
    names = [str(m) for m in range(n)]
    return ConceptModel(
        [str(k) for k in range(n_classes)], names, ["motion"] * n, layer, weight, np.zeros(n_classes), np.zeros(0), {}
    )


def test_literal_curves():
    found = curves(model_of([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), np.array([[1.0, 1.0, 5.0]]))

    def share(logit):
        return 1 / (1 + np.exp(-logit))

    np.testing.assert_allclose(found.deletion, [share(4), share(1), share(0)])  # the unused concept is left out
    np.testing.assert_allclose(found.insertion, [share(0), share(3), share(4)])
    assert found.areas()["deletion"] == pytest.approx((share(4) / 2 + share(1) + share(0) / 2) / 2)


def test_true_order_beats_random_orders():
    rng = np.random.default_rng(0)
    found = curves(model_of(rng.normal(size=(4, 12))), rng.normal(size=(50, 12))).areas()
    assert found["deletion"] < found["random_deletion"] - 0.05
    assert found["insertion"] > found["random_insertion"] + 0.05


def test_a_model_without_concepts_has_no_curve():
    with pytest.raises(ValueError, match="no concept"):
        curves(model_of([[0.0], [0.0]]), np.ones((1, 1)))
