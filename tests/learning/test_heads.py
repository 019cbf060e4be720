"""The dense head against scikit-learn, and the layer without meaning on classes that a line parts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.learning.early_stopping import Schedule
from pipeline.learning.heads import PENALTIES, _solve, dense_head, dump_layer


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    y = np.arange(120) % 3
    z = generator.standard_normal((120, 6))
    z[np.arange(120), y] += 2.5
    split = np.arange(120) % 4
    return z, y, split < 2, split == 2, split == 3


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_the_minimum_is_that_of_scikit_learn(data, penalty):
    z, y, train, _, _ = data
    weight, bias = _solve(z[train], y[train], penalty, np.zeros((3, 6)), np.zeros(3))
    oracle = LogisticRegression(C=1 / (penalty * train.sum()), tol=1e-8, max_iter=5000).fit(z[train], y[train])
    assert weight == pytest.approx(oracle.coef_, abs=1e-3)
    assert bias - bias.mean() == pytest.approx(oracle.intercept_ - oracle.intercept_.mean(), abs=1e-3)


def test_rounding_of_the_inputs_stays_rounding(data):
    """The inputs of two processors differ in the seventh digit, and so may the minimum, but not in the third."""
    z, y, train, _, _ = data
    start = np.zeros((3, 6)), np.zeros(3)
    weight, bias = _solve(z[train], y[train], 1e-5, *start)
    noise = np.random.default_rng(1).uniform(-1e-7, 1e-7, z.shape)
    other_weight, other_bias = _solve((z * (1 + noise))[train], y[train], 1e-5, *start)
    assert other_weight == pytest.approx(weight, abs=1e-5 * np.abs(weight).max())
    assert other_bias == pytest.approx(bias, abs=1e-5 * np.abs(bias).max())


def test_the_penalty_is_chosen_on_validation(data):
    z, y, train, val, _ = data
    head = dense_head(z, y, train, val, 3, refit=False)
    right = {}
    for penalty in PENALTIES:
        weight, bias = _solve(z[train], y[train], penalty, np.zeros((3, 6)), np.zeros(3))
        right[penalty] = ((z[val] @ weight.T + bias).argmax(1) == y[val]).mean()
    assert head.val_top1 == max(right.values()) == right[head.penalty]
    # Labels that have nothing to do with the inputs want a strong penalty.
    noise = np.random.default_rng(1).integers(0, 3, 120)
    assert dense_head(z[:, 3:], noise, train, val, 3).penalty >= 0.1


def test_refit_uses_validation_too(data):
    z, y, train, val, test = data
    once, twice = (dense_head(z, y, train, val, 3, refit=refit) for refit in (False, True))
    assert once.penalty == twice.penalty and not np.allclose(once.weight, twice.weight)
    assert ((z[test] @ twice.weight.T + twice.bias).argmax(1) == y[test]).mean() >= 0.8


def test_dump_layer_keeps_what_tells_classes():
    generator = np.random.default_rng(2)
    y, split = np.arange(1200) % 3, np.arange(1200) // 3 % 4
    x = generator.standard_normal((1200, 30))
    x[np.arange(1200), y] += 2.5
    weight = dump_layer(x, y, split < 2, split == 2, 3, 5, Schedule(eval_every=10, learning_rate=0.01))
    assert weight.shape == (5, 30) and weight.dtype == np.float32
    # 3 of 30 columns say something; before training they hold a tenth of the layer.
    assert (weight[:, :3] ** 2).sum() / (weight**2).sum() > 0.5


def test_dump_layer_depends_on_its_seed_alone(data):
    z, y, train, val, _ = data
    one, same, other = (
        dump_layer(z, y, train, val, 3, 4, Schedule(eval_every=10, max_steps=30, seed=seed)) for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same) and not np.allclose(one, other)


def test_dump_layer_stops_where_validation_is_best(data):
    """A few videos with 30 features that say nothing are learned by heart: going on makes validation worse for good."""
    z, y, train, val, _ = data
    x = np.concatenate([z, np.random.default_rng(2).standard_normal((120, 30))], 1)
    stopped, patient = (
        dump_layer(x, y, train, val, 3, 5, Schedule(eval_every=10, learning_rate=0.01, patience=count))
        for count in (5, 50)
    )
    assert np.array_equal(stopped, patient)
    shortest = dump_layer(x, y, train, val, 3, 5, Schedule(eval_every=10, learning_rate=0.01, max_steps=10))
    assert np.array_equal(stopped, shortest)
