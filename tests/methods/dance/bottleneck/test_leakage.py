"""What one type of concepts must not know of the others."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from pipeline.methods.dance.bottleneck.layers import train_motion_layer, train_text_layer
from pipeline.methods.dance.bottleneck.leakage import leakage_projection, residual


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def surroundings_problem():
    """Features that know the action (column 0), a movement (1) and, mixed into both and the rest, surroundings."""
    n = 400
    action = np.eye(4)[rng().integers(0, 4, n)]
    movement = rng(1).normal(size=n)
    surroundings = rng(2).normal(size=(n, 2))
    own = np.zeros((n, 40))
    own[:, 0] = action @ np.arange(4) * 3
    own[:, 1] = movement
    x = own + surroundings @ rng(3).normal(size=(2, 40)) * 0.3 + 0.1 * rng(4).normal(size=(n, 40))
    # An action implies surroundings too.
    other = surroundings @ rng(5).normal(size=(2, 5)) + 0.5 * (action @ np.arange(4))[:, None]
    return x, action, other, movement, surroundings


def explained(z: np.ndarray, target: np.ndarray) -> float:
    return LinearRegression().fit(z, target).score(z, target)


def test_residual_is_what_a_regression_leaves():
    x, action, *_ = surroundings_problem()
    expected = x - LinearRegression().fit(action, x).predict(action)
    np.testing.assert_allclose(residual(x, action), expected, atol=1e-10)


def test_projection_removes_surroundings_and_keeps_the_rest():
    x, action, other, movement, surroundings = surroundings_problem()
    projection = leakage_projection(x, action, other, rank=2)
    cleaned = x @ projection.T
    assert explained(x, surroundings) > 0.95 and explained(cleaned, surroundings) < 0.05
    assert explained(cleaned, movement) > 0.9
    assert explained(cleaned, action) > 0.3  # of a number by its four indicators; as much as before
    assert explained(cleaned, action) == pytest.approx(explained(x, action), abs=0.05)
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-10)
    assert np.linalg.matrix_rank(projection) == 38


def test_differences_between_own_concepts_are_no_leakage():
    x, action, other, *_ = surroundings_problem()
    moved = leakage_projection(x + action @ rng(6).normal(size=(4, 40)) * 10, action, other, rank=2)
    np.testing.assert_allclose(moved, leakage_projection(x, action, other, rank=2), atol=1e-9)


def test_what_the_own_concepts_imply_stays():
    x, action, *_ = surroundings_problem()
    np.testing.assert_allclose(
        leakage_projection(x, action, action @ rng(7).normal(size=(4, 3)), 5), np.eye(40), atol=1e-6
    )
    np.testing.assert_array_equal(leakage_projection(x, action, action, rank=0), np.eye(40))


def crossed_problem(n: int = 600):
    """Two motions crossed with two objects; what tells the objects apart is another direction for each motion."""
    motion, thing = rng(1).integers(0, 2, n), rng(2).integers(0, 2, n)
    x = 0.3 * rng(3).normal(size=(n, 12))
    x[:, 0] += 2 * motion
    x[:, 1] += 2 * thing * (motion == 0)
    x[:, 2] += 2 * thing * (motion == 1)
    return x, motion, thing


def test_interactions_are_removed_too():
    x, motion, thing = crossed_problem()
    own, other = np.eye(2)[motion], thing[:, None].astype(float)

    def told(features):
        """Accuracy of motion and object together, of which motion is one half."""
        both = 2 * motion + thing
        return LogisticRegression(C=100).fit(features[::2], both[::2]).score(features[1::2], both[1::2])

    cleaned = x @ leakage_projection(x, own, other, rank=2).T
    assert told(x) > 0.98
    assert told(cleaned) == pytest.approx(0.5, abs=0.06)
    assert LogisticRegression().fit(cleaned[::2], motion[::2]).score(cleaned[1::2], motion[1::2]) > 0.98


def test_layers_trained_behind_a_projection_carry_no_surroundings():
    x, action, other, movement, surroundings = surroundings_problem()
    x = x.astype(np.float32)
    projection = leakage_projection(x, action, other, rank=2)
    # Filmed mostly in one place, as actions are: the label invites the surroundings in.
    labels = (movement + surroundings[:, 0] > 0).astype(np.float32)[:, None]
    options = {"optimizer": "lbfgs", "weight_decay": 1e-2}
    plain = train_motion_layer(x, labels, x, labels, **options)
    clean = train_motion_layer(x, labels, x, labels, projection=projection, **options)
    assert explained(surroundings, x @ plain.weight.T) > 0.2
    assert explained(surroundings, x @ clean.weight.T) < 0.02
    # Folded: the weight acts on features that were not projected, and its validation loss is the recorded one.
    z = x @ clean.weight.T
    assert (np.logaddexp(0, z) - labels * z).mean() == pytest.approx(clean.loss, rel=1e-5)
    target = (movement + surroundings[:, 0])[:, None]
    text = train_text_layer(x, target, x, target, projection=projection, max_steps=50)
    assert explained(surroundings, x @ text.weight.T) < 0.02
