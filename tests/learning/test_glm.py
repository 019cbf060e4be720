"""Oracles: scikit-learn's saga, glm_saga, closed forms, and objective and gradient written out again here."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from glm_saga.elasticnet import train_saga
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax, xlogy
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pipeline.learning import glm


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with threadpool_limits(1):
        yield


def standardise(x: np.ndarray) -> np.ndarray:
    std = x.std(0)
    return (x - x.mean(0)) / np.where(std > 1e-12, std, 1)


def problem(seed: int, n: int = 90, p: int = 12, n_classes: int = 4, spread: float = 1.0):
    """Correlated features and class centres: x `[n, p]`, y `[n]`, every class present."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.r_[np.arange(n_classes), rng.integers(n_classes, size=n - n_classes)])
    centres = spread * rng.standard_normal((n_classes, p))
    mixing = np.eye(p) + 0.5 * rng.standard_normal((p, p)) / np.sqrt(p)
    return standardise((centres[y] + rng.standard_normal((n, p))) @ mixing), y


def objective(x, y, weight, bias, lam, alpha) -> float:
    logits = x @ weight.T + bias
    loss = (logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]).mean()
    return loss + lam * ((1 - alpha) / 2 * (weight**2).sum() + alpha * np.abs(weight).sum())


def violation(x, y, solution) -> float:
    """Largest violation of the subgradient conditions over every weight and bias."""
    residual = softmax(x @ solution.weight.T + solution.bias, axis=1) - np.eye(len(solution.bias))[y]
    gradient = residual.T @ x / len(y) + solution.lam * (1 - solution.alpha) * solution.weight
    l1 = solution.lam * solution.alpha
    nonzero = np.abs(gradient + l1 * np.sign(solution.weight))
    zero = np.maximum(np.abs(gradient) - l1, 0)
    return max(np.where(solution.weight != 0, nonzero, zero).max(), np.abs(residual.mean(0)).max())


@pytest.mark.parametrize("alpha", [1.0, 0.99, 0.5, 0.0])
def test_objective_against_scikit_learn(alpha):
    x, y = problem(0)
    lam = 0.02
    solution = glm.solve(x, y, 4, lam=lam, alpha=alpha, tol=1e-10)
    saga = LogisticRegression(
        solver="saga", l1_ratio=alpha, C=1 / (len(y) * lam), tol=1e-10, max_iter=20_000, random_state=0
    ).fit(x, y)
    theirs = objective(x, y, saga.coef_, saga.intercept_, lam, alpha)
    ours = objective(x, y, solution.weight, solution.bias, lam, alpha)
    assert ours == pytest.approx(solution.objective, rel=1e-13)
    assert ours <= theirs * (1 + 1e-12)
    assert ours == pytest.approx(theirs, rel=1e-7)
    np.testing.assert_allclose(solution.weight, saga.coef_, atol=1e-4)


def test_two_classes_are_binary_logistic_regression():
    """With w₁ = −w₀ = v/2 the penalty is λ[(1−α)/4 v² + α|v|], which scikit-learn solves for v."""
    x, y = problem(1, n_classes=2, spread=0.4)
    lam, alpha = 0.03, 0.9
    strength = lam * alpha + lam * (1 - alpha) / 2
    binary = LogisticRegression(
        solver="saga", l1_ratio=lam * alpha / strength, C=1 / (len(y) * strength), tol=1e-10, max_iter=20_000
    ).fit(x, y)
    solution = glm.solve(x, y, 2, lam=lam, alpha=alpha, tol=1e-11)
    assert 0 < solution.nnz < solution.weight.size
    np.testing.assert_allclose(solution.weight[1], -solution.weight[0], atol=1e-6)
    np.testing.assert_allclose(2 * solution.weight[1], binary.coef_[0], atol=1e-4)
    np.testing.assert_allclose(2 * solution.bias[1], binary.intercept_[0], atol=1e-4)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
def test_objective_against_glm_saga():
    x, y = problem(2)
    lam, alpha = 0.02, 0.99
    linear = torch.nn.Linear(x.shape[1], 4).double()
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    loader = [(torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(y)))]
    double = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        train_saga(linear, loader, 0.3, 2000, lam, alpha, group=False, n_ex=len(y), n_classes=4, tol=1e-9)
    finally:
        torch.set_default_dtype(double)
    weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    theirs = glm.certify(x, y, 4, weight, bias, lam=lam, alpha=alpha)
    ours = glm.solve(x, y, 4, lam=lam, alpha=alpha)
    assert theirs.objective == pytest.approx(objective(x, y, weight, bias, lam, alpha), rel=1e-13)
    assert ours.objective <= theirs.objective
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-5)


def test_lambda_max_worked_by_hand():
    """π = (3/4, 1/4) and Σ_i (Y − π)_i1 x_i / n = (3·(1/4)·1 + 1·(3/4)·1) / 4 = 3/8 for x = (−1, −1, −1, 1)."""
    x, y = np.array([[-1.0], [-1.0], [-1.0], [1.0]]), np.array([0, 0, 0, 1])
    assert glm.lambda_max(x, y, 2, 1.0) == pytest.approx(3 / 8, rel=1e-14)
    assert glm.lambda_max(x, y, 2, 0.5) == pytest.approx(3 / 4, rel=1e-14)
    assert glm.lambda_max(x, y, 2, 0.0) == np.inf


@pytest.mark.parametrize("alpha", [1.0, 0.99, 0.3])
def test_from_lambda_max_on_only_the_log_odds_remain(alpha):
    x, y = problem(3)
    top = glm.lambda_max(x, y, 4, alpha)
    log_share = np.log(np.bincount(y) / len(y))
    for factor in (1.0, 1.7):
        solution = glm.solve(x, y, 4, lam=top * factor, alpha=alpha)
        assert (solution.nnz, solution.n_iter, solution.converged) == (0, 0, True)
        assert not solution.weight.any()
        np.testing.assert_allclose(solution.bias, log_share - log_share.mean(), rtol=1e-13)
        assert solution.objective == pytest.approx(-(np.exp(log_share) * log_share).sum(), rel=1e-14)
        assert solution.relative_gap < 1e-14
    assert glm.solve(x, y, 4, lam=top * 0.999, alpha=alpha, tol=1e-9).nnz > 0


@pytest.mark.parametrize("alpha", [1.0, 0.99, 0.4, 0.0])
def test_gap_bounds_the_suboptimality_of_any_iterate(alpha):
    x, y = problem(4)
    lam = 0.01
    best = glm.solve(x, y, 4, lam=lam, alpha=alpha, tol=1e-13)
    rng = np.random.default_rng(0)
    tight = []
    for size in (1e-6, 1e-4, 1e-2, 0.3, 1.0, 10.0):
        for _ in range(10):
            weight = best.weight + size * rng.standard_normal(best.weight.shape) * (rng.random(best.weight.shape) < 0.5)
            bias = best.bias + size * rng.standard_normal(4)
            iterate = glm.certify(x, y, 4, weight, bias, lam=lam, alpha=alpha)
            suboptimality = objective(x, y, weight, bias, lam, alpha) - best.objective
            assert iterate.duality_gap >= suboptimality - 1e-14
            assert iterate.relative_gap == pytest.approx(iterate.duality_gap / iterate.objective, rel=1e-14)
            if size == 1e-4:
                tight.append(iterate.relative_gap)
    assert max(tight) < 0.05  # the bound must also say something near the optimum
    assert best.relative_gap <= 1e-13


@pytest.mark.parametrize("alpha", [1.0, 0.99, 0.4])
def test_gap_is_the_best_dual_value_along_the_segment(alpha):
    """The dual of the module's text, written out for every s on a grid."""
    x, y = problem(17)
    n, lam = len(y), 0.01
    rng = np.random.default_rng(0)
    for size in (1e-3, 0.1, 1.0):
        weight, bias = size * rng.standard_normal((4, 12)), size * rng.standard_normal(4)
        iterate = glm.certify(x, y, 4, weight, bias, lam=lam, alpha=alpha, tol=1e-12)
        p, onehot = softmax(x @ weight.T + bias, axis=1), np.eye(4)[y]
        count = onehot.sum(0)
        t = max(0, (1 - count / p.sum(0)).max())
        q = (1 - t) * p + (count - (1 - t) * p.sum(0)) / n
        np.testing.assert_allclose(q.sum(0), count, rtol=1e-12)
        correlation = np.abs((q - onehot).T @ x) / n
        values = []
        for s in np.linspace(0, 1, 20_001):
            point = onehot + s * (q - onehot)
            entropy = xlogy(point, point).sum() / n
            excess = np.maximum(s * correlation - lam * alpha, 0)
            if alpha < 1:
                values.append(-entropy - (excess**2).sum() / (2 * lam * (1 - alpha)))
            elif not excess.any():
                values.append(-entropy)
        expected = objective(x, y, weight, bias, lam, alpha) - max(values)
        assert iterate.duality_gap == pytest.approx(expected, rel=1e-3)


def test_gap_holds_when_the_steps_run_out():
    x, y = problem(5, n=60, p=40)
    lam = 1e-3
    best = glm.solve(x, y, 4, lam=lam, tol=1e-13)
    start = glm.solve(x, y, 4, lam=10 * lam)
    for steps in range(4):
        stopped = glm.solve(x, y, 4, lam=lam, tol=1e-12, max_iter=steps, init=start)
        assert not stopped.converged
        assert stopped.duality_gap >= stopped.objective - best.objective > 0


@pytest.mark.parametrize("alpha", [1.0, 0.99])
def test_path_agrees_with_cold_starts(alpha):
    x, y = problem(6, n=70, p=30, n_classes=3)
    path = glm.path(x, y, 3, alpha=alpha, n_lambdas=25, min_ratio=1e-3, tol=1e-9)
    top = glm.lambda_max(x, y, 3, alpha)
    np.testing.assert_allclose([item.lam for item in path], top * np.logspace(0, -3, 25), rtol=1e-12)
    assert path[0].nnz == 0
    for item in path:
        cold = glm.solve(x, y, 3, lam=item.lam, alpha=alpha, tol=1e-9)
        assert item.converged and cold.converged
        assert item.objective == pytest.approx(cold.objective, rel=2e-9)
        assert item.objective == pytest.approx(objective(x, y, item.weight, item.bias, item.lam, alpha), rel=1e-12)
        assert violation(x, y, item) == pytest.approx(item.kkt_gap, abs=1e-14)
        assert item.nnz == np.count_nonzero(item.weight)


def test_explicit_lambdas_need_not_start_at_the_top_nor_be_regular():
    x, y = problem(7)
    lambdas = [0.1, 0.099, 0.01, 0.0099, 1e-4]
    path = glm.path(x, y, 4, lambdas=lambdas, tol=1e-8)
    assert [item.lam for item in path] == lambdas
    for item in path:
        cold = glm.solve(x, y, 4, lam=item.lam, tol=1e-8)
        assert item.converged
        assert item.objective == pytest.approx(cold.objective, rel=2e-8)


def test_warm_start_from_the_solution_needs_no_step():
    x, y = problem(8)
    first = glm.solve(x, y, 4, lam=0.01)
    again = glm.solve(x, y, 4, lam=0.01, init=first)
    assert first.n_iter > 0 and again.n_iter == 0
    np.testing.assert_array_equal(again.weight, first.weight)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(6, 60),
    p=st.integers(1, 40),
    n_classes=st.integers(2, 6),
    alpha=st.sampled_from([1.0, 0.99, 0.5, 0.0]),
    ratio=st.sampled_from([0.9, 0.1, 1e-2, 1e-4]),
    constant=st.booleans(),
    duplicate=st.sampled_from([0.0, 1.0, -1.0]),
    spread=st.sampled_from([0.0, 1.0, 10.0]),
)
def test_any_small_problem_is_solved(seed, n, p, n_classes, alpha, ratio, constant, duplicate, spread):
    """n < p, separable classes, constant and duplicate columns, next to no signal."""
    x, y = problem(seed, n, p, n_classes, spread)
    if duplicate:
        x = np.column_stack([x, duplicate * x[:, : (p + 1) // 2]])
    if constant:
        x = np.column_stack([np.zeros(n), x])
    top = glm.lambda_max(x, y, n_classes, alpha or 1.0)
    solution = glm.solve(x, y, n_classes, lam=ratio * top, alpha=alpha, tol=1e-7)
    assert solution.converged and 0 <= solution.relative_gap <= 1e-7
    assert solution.objective == pytest.approx(
        objective(x, y, solution.weight, solution.bias, solution.lam, alpha), rel=1e-10
    )
    assert violation(x, y, solution) == pytest.approx(solution.kkt_gap, abs=1e-13)
    assert solution.bias.mean() == pytest.approx(0, abs=1e-12)
    if constant:
        assert not solution.weight[:, 0].any()


def test_duplicate_columns_share_the_weight_unless_the_penalty_is_pure_l1():
    x, y = problem(9)
    twice = np.column_stack([x, x])
    shared = glm.solve(twice, y, 4, lam=0.01, alpha=0.9, tol=1e-11)
    np.testing.assert_allclose(shared.weight[:, :12], shared.weight[:, 12:], atol=1e-5)
    lasso = [glm.solve(features, y, 4, lam=0.01, alpha=1.0, tol=1e-10) for features in (x, twice)]
    assert lasso[0].objective == pytest.approx(lasso[1].objective, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.99, 0.0])
def test_implicit_hessian_finds_the_same_optimum(alpha, monkeypatch):
    x, y = problem(10, p=30)
    dense = glm.solve(x, y, 4, lam=2e-3, alpha=alpha, tol=1e-9)
    monkeypatch.setattr(glm, "DENSE_LIMIT", 0)
    implicit = glm.solve(x, y, 4, lam=2e-3, alpha=alpha, tol=1e-9)
    assert implicit.converged
    assert implicit.objective == pytest.approx(dense.objective, rel=2e-9)
    np.testing.assert_allclose(implicit.weight, dense.weight, atol=1e-3)


def test_hessian_products_agree_with_finite_differences_of_the_gradient():
    x, y = problem(11, n=50, p=5, n_classes=3)
    data = glm._Problem(x, y, 3)
    rng = np.random.default_rng(0)
    theta, direction = 0.3 * rng.standard_normal((2, 3, 6))
    rows, columns = np.nonzero(np.ones((3, 6)))
    ridge = np.array([0.1] * 5 + [0.0])

    def gradient(at):
        return data.gradient(data.softmax(at @ data.design)[1]) + ridge * at

    expected = (gradient(theta + 1e-5 * direction) - gradient(theta - 1e-5 * direction)) / 2e-5
    direction[:, -1] -= direction[:, -1].mean()  # the common shift of the biases has an arbitrary curvature
    probability = data.probability(data.softmax(theta @ data.design)[1])
    for kind in (glm._DenseHessian, glm._ImplicitHessian):
        hessian = kind(data, probability, rows, columns, ridge)
        product = hessian.dot(direction[rows, columns])
        np.testing.assert_allclose(product, expected[rows, columns], atol=1e-8)
        back = hessian.solve(np.arange(18), product)
        np.testing.assert_allclose(hessian.dot(back), product, atol=2e-2 * np.abs(product).max())


def test_more_samples_than_one_block_of_the_hessian(monkeypatch):
    x, y = problem(12)
    whole = glm.solve(x, y, 4, lam=0.01, tol=1e-10)
    monkeypatch.setattr(glm, "_CHUNK", 17)
    blocks = glm.solve(x, y, 4, lam=0.01, tol=1e-10)
    np.testing.assert_allclose(blocks.weight, whole.weight, atol=1e-8)


def test_shifted_features_only_move_the_bias():
    x, y = problem(13)
    shift = np.linspace(-2, 2, x.shape[1])
    centred = glm.solve(x, y, 4, lam=0.01, tol=1e-11)
    shifted = glm.solve(x + shift, y, 4, lam=0.01, tol=1e-11)
    assert shifted.objective == pytest.approx(centred.objective, rel=1e-10)
    np.testing.assert_allclose(shifted.weight, centred.weight, atol=1e-5)
    moved = centred.bias - centred.weight @ shift
    np.testing.assert_allclose(shifted.bias, moved - moved.mean(), atol=1e-4)


def test_single_precision_features_are_solved_in_double():
    x, y = problem(14)
    x = x.astype(np.float32)
    solution = glm.solve(x, y.astype(np.int32), 4, lam=0.01, tol=1e-11)
    assert solution.weight.dtype == solution.bias.dtype == np.float64
    assert solution.converged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.full((6, 2), np.nan)}, r"NaN or infinity in 2 of 2 columns, first \[0, 1\]"),
        ({"x": np.ones(6)}, r"need x \[n, p\] and y \[n\]"),
        ({"x": np.ones((5, 2))}, r"need x \[n, p\] and y \[n\]"),
        ({"x": np.ones((6, 0))}, r"need x \[n, p\] and y \[n\]"),
        ({"y": np.zeros(6, int)}, "all 6 samples are of class 0"),
        ({"y": np.array([0, 0, 2, 2, 2, 0])}, r"classes \[1\] have no sample"),
        ({"y": np.array([0, 1, 2, 3, 1, 2])}, r"y must be in 0\.\.2, got 0\.\.3"),
        ({"y": np.array([0, 1, 2, -1, 1, 2])}, r"y must be in 0\.\.2, got -1\.\.2"),
        ({"y": np.array([0.0, 1, 2, 0, 1, 2])}, "integers, got float64"),
        ({"n_classes": 1}, "at least 2 classes"),
        ({"lam": 0.0}, "lambda must be positive"),
        ({"lam": np.nan}, "lambda must be positive"),
        ({"alpha": 1.01}, r"alpha .* in \[0, 1\]"),
        ({"tol": 0.0}, "tol must be positive"),
    ],
)
def test_what_cannot_be_solved_is_said(change, message):
    arguments = {"x": np.arange(12.0).reshape(6, 2), "y": np.array([0, 1, 2, 0, 1, 2]), "n_classes": 3}
    arguments |= {"lam": 0.1, "alpha": 0.5, "tol": 1e-6} | change
    with pytest.raises(ValueError, match=message):
        glm.solve(**arguments)


def test_what_cannot_be_a_path_is_said():
    x, y = problem(15)
    with pytest.raises(ValueError, match="strictly decreasing"):
        glm.path(x, y, 4, lambdas=[0.1, 0.1])
    with pytest.raises(ValueError, match="strictly decreasing"):
        glm.path(x, y, 4, lambdas=[])
    with pytest.raises(ValueError, match="lambda_max is inf for alpha=0"):
        glm.path(x, y, 4, alpha=0)
    with pytest.raises(ValueError, match=r"lambda_max is 0\.0"):
        glm.path(np.zeros_like(x), y, 4)
    with pytest.raises(ValueError, match="min_ratio"):
        glm.path(x, y, 4, min_ratio=1.0)
    assert [item.converged for item in glm.path(x, y, 4, alpha=0, lambdas=[1.0, 0.1])] == [True, True]


def test_a_warm_start_of_another_shape_is_said():
    x, y = problem(16)
    other = glm.solve(x[:, :5], y, 4, lam=0.1)
    with pytest.raises(ValueError, match=r"weights of shape \[4, 5\], this problem needs \[4, 12\]"):
        glm.solve(x, y, 4, lam=0.1, init=other)
    with pytest.raises(ValueError, match=r"must be \[4, 12\] and \[4\]"):
        glm.certify(x, y, 4, other.weight, other.bias, lam=0.1)


def test_penn_action_features(real_data):
    """1256 videos, 768 VideoMAE features, 15 actions, at the λ of DANCE's published classifier."""
    folder = real_data / "penn_action"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    features = torch.load(
        folder / "features" / "penn-action_train_vmae_vit_base_patch16_224.pt", weights_only=True, map_location="cpu"
    )
    x = standardise(features.numpy().astype(np.float64))
    with (folder / "train.csv").open() as file:
        y = np.array([int(row[1]) for row in csv.reader(file)])
    solution = glm.solve(x, y, 15, lam=7e-4)
    assert solution.converged and solution.relative_gap <= 1e-6
    assert violation(x, y, solution) == pytest.approx(solution.kkt_gap, abs=1e-13)
    assert solution.kkt_gap < 1e-3 * solution.lam
    assert solution.nnz < 300
    accuracy = ((x @ solution.weight.T + solution.bias).argmax(1) == y).mean()
    assert accuracy > 0.99
