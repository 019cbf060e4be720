"""Concept layers against hand-made answers, scikit-learn and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pipeline.learning.metrics import average_precision
from pipeline.methods.dance.bottleneck.layers import (
    cubed_cosine,
    cubed_cosine_columns,
    train_motion_layer,
    train_text_layer,
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def motion_problem(n: int = 300, n_features: int = 6, n_concepts: int = 3):
    """Multi-hot labels drawn from a logistic model without bias; the last third is validation."""
    x = rng().normal(size=(n, n_features)).astype(np.float32)
    truth = rng(1).normal(size=(n_concepts, n_features)) * 2
    labels = (rng(2).random((n, n_concepts)) < 1 / (1 + np.exp(-x @ truth.T))).astype(np.float32)
    cut = n * 2 // 3
    return x[:cut], labels[:cut], x[cut:], labels[cut:], truth


def text_problem(n: int = 300, n_features: int = 6, n_concepts: int = 3, noise: float = 0.0):
    """Targets linear in features of unequal spread; the last third is validation."""
    x = (rng().normal(size=(n, n_features)) * np.linspace(2, 0.2, n_features)).astype(np.float32)
    truth = rng(1).normal(size=(n_concepts, n_features))
    target = (0.2 + 0.02 * (x @ truth.T + noise * rng(2).normal(size=(n, n_concepts)))).astype(np.float32)
    cut = n * 2 // 3
    return x[:cut], target[:cut], x[cut:], target[cut:], truth


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def cross_entropy(z: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, z) - labels * z))


# -------------------------------------------------------------------------------------------------------- similarity


def test_cubed_cosine_by_hand():
    # Centred (−2, −1, 3) and (−1, −1, 2); cubed (−8, −1, 27) and (−1, −1, 8).
    z, target = np.array([[0.0], [1.0], [5.0]]), np.array([[0.0], [0.0], [3.0]])
    assert cubed_cosine(z, target) == pytest.approx([225 / np.sqrt(794 * 66)])


def test_cubed_cosine_against_loops():
    z, target = rng().normal(size=(40, 5)), rng(1).normal(size=(40, 5))
    expected = []
    for column in range(5):
        a = [value - sum(z[:, column]) / 40 for value in z[:, column]]
        b = [value - sum(target[:, column]) / 40 for value in target[:, column]]
        product = sum(p**3 * q**3 for p, q in zip(a, b, strict=True))
        expected.append(product / (sum(p**6 for p in a) * sum(q**6 for q in b)) ** 0.5)
    np.testing.assert_allclose(cubed_cosine(z, target), expected, rtol=1e-12)


def test_cubed_cosine_does_not_see_scale_and_offset():
    z, target = rng().normal(size=(30, 4)), rng(1).normal(size=(30, 4))
    expected = cubed_cosine(z, target)
    np.testing.assert_allclose(cubed_cosine(z * 1e-6 + 3, target * 50 - 7), expected, rtol=1e-6)
    np.testing.assert_allclose(cubed_cosine(-z, target), -expected)
    np.testing.assert_allclose(cubed_cosine(z, z), 1)


def test_a_similarity_of_small_float32_activations_does_not_underflow():
    z, target = torch.tensor([[0.0], [1.0], [5.0]]) * 1e-16, torch.tensor([[0.0], [0.0], [3.0]])
    assert cubed_cosine_columns(z, target).item() == pytest.approx(225 / np.sqrt(794 * 66), rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_a_constant_column_has_no_similarity_and_no_gradient(value):
    varied = rng().normal(size=(30, 2))
    constant = varied.copy()
    constant[:, 0] = value
    result = cubed_cosine(constant, varied)
    assert result[0] == 0 and result[1] == pytest.approx(1)
    assert cubed_cosine(varied, constant)[0] == 0

    z = torch.tensor(constant, dtype=torch.float32, requires_grad=True)
    cubed_cosine_columns(z, torch.tensor(rng(1).normal(size=(30, 2)), dtype=torch.float32)).sum().backward()
    assert (z.grad[:, 0] == 0).all()
    assert torch.isfinite(z.grad[:, 1]).all() and z.grad[:, 1].any()


def test_gradient_against_finite_differences():
    z, target = rng().normal(size=(7, 2)), rng(1).normal(size=(7, 2))
    tensor = torch.tensor(z, requires_grad=True)
    cubed_cosine_columns(tensor, torch.tensor(target)).sum().backward()
    for row in range(7):
        for column in range(2):
            step = np.zeros_like(z)
            step[row, column] = 1e-6
            difference = cubed_cosine(z + step, target).sum() - cubed_cosine(z - step, target).sum()
            assert tensor.grad[row, column].item() == pytest.approx(difference / 2e-6, rel=1e-5, abs=1e-8)


# --------------------------------------------------------------------------------------------------- standardisation


# ------------------------------------------------------------------------------------------------------ motion layer


def test_lbfgs_finds_the_optimum_of_the_regularised_problem():
    x, labels, x_val, labels_val, truth = motion_problem()
    decay = 0.05
    # Validation that agrees with training, so that it never stops the descent early.
    layer = train_motion_layer(x, labels, x, labels, optimizer="lbfgs", weight_decay=decay)
    strength = decay * x.var(0, ddof=1).mean() * len(x)
    for concept in range(3):
        oracle = LogisticRegression(C=1 / strength, fit_intercept=False, tol=1e-8).fit(x, labels[:, concept])
        np.testing.assert_allclose(layer.weight[concept], oracle.coef_[0], atol=2e-3)
    assert layer.weight.dtype == np.float32
    trained = train_motion_layer(x, labels, x_val, labels_val, optimizer="lbfgs", weight_decay=1e-3)
    assert cosine(trained.weight, truth).min() > 0.95


def test_adam_and_lbfgs_agree():
    x, labels, *_ = motion_problem()
    options = {"weight_decay": 0.05}
    adam = train_motion_layer(x, labels, x, labels, learning_rate=0.02, eval_every=20, patience=40, **options)
    lbfgs = train_motion_layer(x, labels, x, labels, optimizer="lbfgs", **options)
    np.testing.assert_allclose(adam.weight, lbfgs.weight, atol=0.03)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_what_training_does_not_show_stays_zero(optimizer):
    x, labels, x_val, labels_val, _ = motion_problem()
    x[:, 2] = 0
    layer = train_motion_layer(x, labels, x_val, labels_val, optimizer=optimizer, weight_decay=1e-3, max_steps=300)
    assert (layer.weight[:, 2] == 0).all()
    assert (layer.weight[:, [0, 1, 3, 4, 5]] != 0).all()


def test_stops_early_and_restores_the_best():
    # More features than videos: training is fitted perfectly, validation soon gets worse.
    x, labels, x_val, labels_val, _ = motion_problem(n=90, n_features=100)
    layer = train_motion_layer(x, labels, x_val, labels_val, learning_rate=0.01, eval_every=5, patience=4)
    best = int(layer.val_loss.argmin())
    assert best > 0 and layer.n_steps == layer.steps[best]
    assert len(layer.steps) - 1 - best == 4
    np.testing.assert_array_equal(np.diff(layer.steps), 5)
    assert cross_entropy(x_val @ layer.weight.T, labels_val) == pytest.approx(layer.val_loss[best], rel=1e-5)
    np.testing.assert_allclose(layer.quality, average_precision(x_val @ layer.weight.T, labels_val))


def test_the_way_of_lbfgs_to_its_minimum_does_not_decide():
    """Features that differ in their last digits, as on two processors, lead there on other ways."""
    generator = rng()
    x, labels = generator.normal(size=(40, 60)).astype(np.float32), np.zeros((40, 5), np.float32)
    labels[np.arange(40), np.arange(40) % 5] = 1
    x[np.arange(40), np.arange(40) % 5] += 1

    def weight(noise: float) -> np.ndarray:
        here = x * (1 + generator.uniform(-noise, noise, x.shape)).astype(np.float32)
        options = {"optimizer": "lbfgs", "weight_decay": 0.03, "max_steps": 500}
        return train_motion_layer(here[:25], labels[:25], here[25:], labels[25:], **options).weight

    expected = weight(0)
    for _ in range(5):
        np.testing.assert_allclose(weight(2e-7), expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_validation_that_only_gets_worse_leaves_the_start(optimizer):
    x, labels, x_val, labels_val, _ = motion_problem()
    layer = train_motion_layer(x, labels, x_val, 1 - labels_val, optimizer=optimizer, weight_decay=1e-3, max_steps=200)
    assert layer.n_steps == 0 and not layer.weight.any()
    assert layer.val_loss[0] == pytest.approx(np.log(2))


def test_the_step_limit_holds():
    x, labels, x_val, labels_val, _ = motion_problem()
    assert train_motion_layer(x, labels, x_val, labels_val, max_steps=70).steps.tolist() == [0, 50, 70]
    lbfgs = train_motion_layer(x, labels, x_val, labels_val, optimizer="lbfgs", max_steps=7, weight_decay=1e-3)
    assert lbfgs.steps.tolist() == [0, 7]


def test_the_penalty_does_not_depend_on_the_number_of_concepts():
    x, labels, *_ = motion_problem()
    options = {"optimizer": "lbfgs", "weight_decay": 0.1}
    together = train_motion_layer(x, labels, x, labels, **options).weight
    alone = train_motion_layer(x, labels[:, :1], x, labels[:, :1], **options).weight
    np.testing.assert_allclose(together[:1], alone, atol=1e-3)


def test_the_penalty_does_not_depend_on_the_scale_of_the_features():
    x, labels, *_ = motion_problem()
    options = {"optimizer": "lbfgs", "weight_decay": 0.1}
    layer = train_motion_layer(x, labels, x, labels, **options)
    small = train_motion_layer(x / 8, labels, x / 8, labels, **options)
    np.testing.assert_allclose(small.weight / 8, layer.weight, atol=2e-3)


def test_a_layer_is_the_same_for_the_same_seed():
    problem = motion_problem()[:4]
    first, again, other = (
        train_motion_layer(*problem, batch_size=32, max_steps=100, seed=seed).weight for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_std_scaling_is_folded_into_the_weight():
    x, labels, x_val, labels_val, _ = motion_problem()
    units = np.array([1e-2, 1, 1, 10, 100, 1], np.float32)
    options = {"optimizer": "lbfgs", "weight_decay": 0.05, "feature_scaling": "std"}
    layer = train_motion_layer(x, labels, x_val, labels_val, **options)
    other_units = train_motion_layer(x * units, labels, x_val * units, labels_val, **options)
    np.testing.assert_allclose(other_units.weight * units, layer.weight, atol=1e-3)
    assert cross_entropy(x_val @ layer.weight.T, labels_val) == pytest.approx(layer.val_loss.min(), rel=1e-4)


def test_centring_forgets_an_offset_of_the_features():
    x, labels, x_val, labels_val, _ = motion_problem()
    options = {"optimizer": "lbfgs", "weight_decay": 0.05, "feature_scaling": "center_std"}
    layer = train_motion_layer(x, labels, x_val, labels_val, **options)
    moved = train_motion_layer(x + 5, labels, x_val + 5, labels_val, **options)
    np.testing.assert_allclose(moved.weight, layer.weight, atol=1e-3)


def test_a_concept_without_a_validation_positive_has_no_quality():
    x, labels, x_val, labels_val, _ = motion_problem()
    labels_val[:, 1] = 0
    layer = train_motion_layer(x, labels, x_val, labels_val, max_steps=50)
    np.testing.assert_array_equal(np.isnan(layer.quality), [False, True, False])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y, xv, yv: (x, y, xv[:0], yv[:0]), "no validation video has a target"),
        (lambda x, y, xv, yv: (x[:0], y[:0], xv, yv), "no training video has a target"),
        (lambda x, y, xv, yv: (x[:-1], y, xv, yv), "199 training features but 200 rows of targets"),
        (lambda x, y, xv, yv: (x, y, xv, yv[:, :2]), "validation is 6 → 2"),
        (lambda x, y, xv, yv: (x * np.inf, y, xv, yv), "a training feature is not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_cannot_be_trained_on_is_told(change, message):
    with pytest.raises(ValueError, match=message):
        train_motion_layer(*change(*motion_problem()[:4]))


# -------------------------------------------------------------------------------------------------------- text layer


def test_text_layer_finds_the_directions():
    x, target, x_val, target_val, truth = text_problem()
    start = train_text_layer(x, target, x_val, target_val, ridge=10.0, max_steps=0)
    layer = train_text_layer(x, target, x_val, target_val, ridge=10.0, max_steps=1000)
    assert layer.n_steps > 0
    assert cosine(start.weight, truth).max() < 0.9
    assert cosine(layer.weight, truth).min() > 0.99
    np.testing.assert_allclose(layer.quality, cubed_cosine(x_val @ layer.weight.T, target_val), atol=1e-5)
    assert -layer.quality.mean() == pytest.approx(layer.val_loss.min(), abs=1e-5)
    assert layer.val_loss.min() < layer.val_loss[0]


def test_text_layer_starts_at_ridge_regression():
    x, target, x_val, target_val, _ = text_problem()
    layer = train_text_layer(x, target, x_val, target_val, max_steps=0, ridge=0.5)
    centred = (x - x.mean(0)).astype(float)
    penalty = 0.5 * x.astype(float).var(0, ddof=1).mean()
    wanted = (target - target.mean(0)) / target.std(0, ddof=1)
    expected = np.linalg.solve(centred.T @ centred / len(x) + penalty * np.eye(6), centred.T @ wanted / len(x)).T
    np.testing.assert_allclose(layer.weight, expected, rtol=1e-3, atol=1e-5)


def test_text_layer_restores_the_best_start():
    x, target, x_val, target_val, _ = text_problem()
    layer = train_text_layer(x, target, x_val, -target_val, eval_every=5, patience=3, ridge=1.0)
    start = train_text_layer(x, target, x_val, target_val, max_steps=0, ridge=1.0)
    assert layer.n_steps == 0 and len(layer.steps) == 4
    np.testing.assert_array_equal(layer.weight, start.weight)


def test_text_weight_decay_prefers_strong_directions():
    strong, weak = rng().normal(size=(200, 1)), 0.3 * rng(1).normal(size=(200, 1))
    x, target = np.hstack([strong, weak]).astype(np.float32), (strong + 3 * weak).astype(np.float32)
    # On validation only the strong direction counts, so that early stopping approves of what the decay does.
    options = {"ridge": 1e-6, "learning_rate": 0.01, "eval_every": 100, "max_steps": 300}
    plain, mild, severe = (
        train_text_layer(x, target, x, strong, weight_decay=decay, **options).weight[0] for decay in (0.0, 0.3, 3.0)
    )
    assert plain[1] / plain[0] == pytest.approx(3, rel=0.02)
    assert 0.1 < severe[1] / severe[0] < mild[1] / mild[0] < 2.7


def test_a_constant_target_does_no_harm():
    x, target, x_val, target_val, _ = text_problem()
    target[:, 1] = target_val[:, 1] = 0.2
    options = {"max_steps": 100, "weight_decay": 0.1}
    layer = train_text_layer(x, target, x_val, target_val, **options)
    others = train_text_layer(x, target[:, [0, 2]], x_val, target_val[:, [0, 2]], **options)
    assert np.isfinite(layer.weight).all()
    assert layer.quality[1] == 0
    assert layer.n_steps == others.n_steps > 0
    np.testing.assert_allclose(layer.weight[[0, 2]], others.weight, atol=1e-3)


def test_small_batches_are_never_single_videos():
    x, target, x_val, target_val, _ = text_problem(n=17)
    layer = train_text_layer(x, target, x_val, target_val, batch_size=2, max_steps=20, eval_every=1, weight_decay=0.1)
    assert np.isfinite(layer.val_loss).all()


def test_text_layer_needs_videos():
    x, target, x_val, target_val, _ = text_problem()
    with pytest.raises(ValueError, match="200 training and 1 validation videos"):
        train_text_layer(x, target, x_val[:1], target_val[:1])
