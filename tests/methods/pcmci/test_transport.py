"""Sinkhorn against a linear program and POT, and what transport does to weights of frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from pipeline.methods.pcmci.transport import log_plan, log_similarity, refined, unit_rows


def cosines(n_labels, n_frames, seed=0, n=1):
    random = torch.Generator().manual_seed(seed)
    texts = torch.nn.functional.normalize(torch.randn(n_labels, 16, generator=random, dtype=torch.float64), dim=1)
    frames = torch.nn.functional.normalize(torch.randn(n, n_frames, 16, generator=random, dtype=torch.float64), dim=2)
    return texts, frames


def least_cost(cost):
    """⟨P, cost⟩ of the best plan in U(1/N, 1/L), by a linear program."""
    n_labels, n_frames = cost.shape
    rows = [np.kron(np.eye(n_labels)[i], np.ones(n_frames)) for i in range(n_labels)]
    columns = [np.kron(np.ones(n_labels), np.eye(n_frames)[j]) for j in range(n_frames)]
    mass = [1 / n_labels] * n_labels + [1 / n_frames] * n_frames
    return linprog(cost.ravel(), A_eq=np.array(rows + columns), b_eq=mass).fun


@pytest.mark.parametrize("regularisation", [1.0, 0.1, 0.02, 0.005])
def test_cost_is_that_of_the_linear_program_up_to_the_entropy(regularisation):
    cost = np.random.default_rng(0).random((5, 7)) * 3
    plan = log_plan(torch.from_numpy(-cost)[None], regularisation, tolerance=1e-9, rounds=20_000).exp()[0].numpy()
    above = (plan * cost).sum() - least_cost(cost)
    assert -1e-6 <= above <= regularisation * math.log(plan.size)
    if regularisation == 0.005:
        assert above < 1e-3


@pytest.mark.parametrize(("n_labels", "n_frames"), [(10, 16), (48, 64)])
def test_plan_is_that_of_pot(n_labels, n_frames):
    ot = pytest.importorskip("ot")
    texts, frames = cosines(n_labels, n_frames)
    similarity = log_similarity(texts, frames, 0.07)
    plan = log_plan(similarity, 2.0, tolerance=1e-12, rounds=5000).exp()[0].numpy()
    mass = np.full(n_labels, 1 / n_labels), np.full(n_frames, 1 / n_frames)
    theirs = ot.bregman.sinkhorn_log(*mass, -similarity[0].numpy(), 2.0, numItermax=5000, stopThr=1e-14, warn=False)
    assert np.abs(plan - theirs).max() * plan.size < 1e-9


def test_marginals_are_uniform_and_padding_has_none():
    texts, frames = cosines(6, 9, n=2)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 5:] = False
    similarity = log_similarity(texts, frames, 0.07, mask)
    plan = log_plan(similarity.float(), 2.0).exp()
    assert torch.allclose(plan.sum(2), torch.full((2, 6), 1 / 6), rtol=2e-4)
    assert torch.allclose(plan[0].sum(0), torch.full((9,), 1 / 9), rtol=1e-4)
    assert torch.allclose(plan[1, :, :5].sum(0), torch.full((5,), 1 / 5), rtol=1e-4)
    assert not plan[1, :, 5:].any()
    alone = refined(log_similarity(texts, frames[1:, :5], 0.07), 2.0)
    for kind in ("product", "plan", "similarity", "mean"):
        weights = refined(similarity, 2.0, kind)
        assert torch.allclose(weights.sum(2), torch.ones(2, 6, dtype=weights.dtype))
        assert not weights[1, :, 5:].any()
    assert torch.allclose(refined(similarity, 2.0)[1:, :, :5], alone, atol=1e-4)


def test_equal_similarities_weigh_all_frames_alike():
    assert torch.allclose(refined(torch.zeros(1, 4, 8), 2.0), torch.full((1, 4, 8), 1 / 8))


def test_much_entropy_gives_the_outer_product():
    texts, frames = cosines(5, 7)
    plan = log_plan(log_similarity(texts, frames, 0.07), 1e3).exp()
    assert torch.allclose(plan, torch.full_like(plan, 1 / 35), rtol=0.03)


def test_permuted_frames_and_labels_give_permuted_weights():
    texts, frames = cosines(6, 9)
    weights = refined(log_similarity(texts, frames, 0.07), 2.0)
    labels, order = torch.randperm(6), torch.randperm(9)
    moved = refined(log_similarity(texts[labels], frames[:, order], 0.07), 2.0)
    assert torch.allclose(moved, weights[:, labels][:, :, order])


def test_product_is_a_softmax_with_column_potentials():
    """The row potential cancels: S̃ = softmax((1 + 1/λ) log S + g)."""
    texts, frames = cosines(6, 9)
    similarity, regularisation = log_similarity(texts, frames, 0.07), 2.0
    plan = log_plan(similarity, regularisation)
    potentials = plan - similarity / regularisation  # f_n + g_l
    expected = ((1 + 1 / regularisation) * similarity + potentials[:, :1] - potentials[:, :1, :1]).softmax(2)
    assert torch.allclose(refined(similarity, regularisation), expected)


def test_a_frame_that_every_label_claims_is_discounted():
    similarity = torch.full((1, 4, 5), 0.0)
    similarity[0, :, 0] = 6.0  # the hub
    similarity[0, torch.arange(4), torch.arange(1, 5)] = 5.0
    assert (refined(similarity, 2.0)[0, :, 0] < 0.7 * refined(similarity, 2.0, "similarity")[0, :, 0]).all()


def test_softmax_weights_are_the_normalised_weighted_geometric_mean():
    """NWGM: Π p^w / Z of softmax outputs is the softmax of the weighted mean of logits."""
    logits, weights = torch.randn(5, 7, dtype=torch.float64), torch.rand(5, dtype=torch.float64).softmax(0)
    product = (logits.softmax(1).log() * weights[:, None]).sum(0).exp()
    assert torch.allclose(product / product.sum(), (weights[:, None] * logits).sum(0).softmax(0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: log_similarity(torch.ones(1, 4), torch.ones(1, 3, 4), 0.1), "there is 1; name at least two"),
        (lambda: log_similarity(torch.ones(2, 4), torch.ones(1, 3, 4), 0.0), "τ must be positive"),
        (lambda: log_plan(torch.zeros(1, 2, 3), -1.0), "λ must be positive"),
        (lambda: log_plan(torch.full((1, 2, 3), math.nan), 2.0), "look for NaN"),
        (lambda: log_plan(torch.full((1, 2, 3), -math.inf), 2.0), "a video has no frame"),
        (lambda: unit_rows(torch.zeros(2, 3), "texts"), "texts: a row is zero"),
        (lambda: unit_rows(torch.full((2, 3), math.nan), "texts"), "texts: a row is zero or not finite"),
    ],
)
def test_bad_input_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_as_sharp_as_the_product_without_transport():
    """All that the product has beside it are potentials of frames, the same for every label."""
    similarity, regularisation = log_similarity(*cosines(5, 9), 0.5), 2.0
    product, sharp = (refined(similarity, regularisation, kind) for kind in ("product", "sharpened"))
    potentials = (product / sharp).log()
    potentials = potentials - potentials.mean(-1, keepdim=True)
    assert potentials.abs().max() > 1e-3
    assert torch.allclose(potentials, potentials[:, :1].expand_as(potentials), atol=1e-4)
    assert torch.allclose(sharp, refined(1.5 * similarity, regularisation, "similarity"))
