"""Figures with a known truth: purity, mutual information, the response matrix, counterfactual clips."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.readers import sample_indices
from pipeline.data.settings import Decode
from pipeline.demo.classes import CLASSES, FACTORS
from pipeline.demo.clips import render, sample_spec
from pipeline.demo.settings import Generate
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.truth.counterfactuals import changed, class_of, model_clip
from pipeline.methods.dance.truth.faithfulness import (
    agreement,
    contingency,
    presence,
    purity,
    response_matrix,
    shortfalls,
    taken_out,
)


def test_purity_by_hand():
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.integers(0, 6, 200), rng.integers(0, 3, 200)
        b[:120] = a[:120] % 3
        counts = contingency(a, b, 6, 3)
        assert purity(counts) == pytest.approx(
            np.mean([np.bincount(b[a == k]).max() * (a == k).sum() / (a == k).sum() for k in range(6)]) * 6 / 200
        )


def test_perfect_concepts_and_shuffled_ones():
    truth = np.repeat(np.arange(4), 25)
    found = agreement(truth * 2 + (np.arange(100) % 2), truth, 8, 4)
    # Entropies of log 4 and, nearly, log 8 nats: their mean is 5/4 of what they share.
    assert found["purity"] == 1.0 and found["nmi"] == pytest.approx(0.8, abs=1e-3)
    assert found["purity_of_shuffled"] < 0.55 and found["nmi_of_shuffled"] < 0.2


def test_response_matrix_and_its_shortfalls():
    types = ["motion", "motion", "object", "scene"]
    model = ConceptModel([], [], types, {}, np.zeros((1, 4)), np.zeros(1), np.zeros(0), {})
    z = np.zeros((4, 5, 4))
    z[1, :, :2] = 2.0  # another motion: motion concepts only
    z[2, :, 2] = -1.0
    z[2, :, 0] = 1.0  # another object: half of the motion concepts too
    z[3, :, 3] = 4.0
    matrix, error = response_matrix(model, z)
    np.testing.assert_allclose(matrix, [[2, 0.5, 0], [0, 1, 0], [0, 0, 4]])
    np.testing.assert_allclose(error, 0)
    assert shortfalls(matrix) == []
    matrix[0, 1] = 1.0
    assert shortfalls(matrix) == [{"type": "motion", "factor": "object", "ratio": 2.0}]
    no_motion = ConceptModel([], [], types[2:], {}, np.zeros((1, 2)), np.zeros(1), np.zeros(0), {})
    matrix, _ = response_matrix(no_motion, z[..., 2:])
    assert np.isnan(matrix[0]).all() and shortfalls(matrix) == []


def test_presence_counts_pairs_of_a_clip_and_a_value():
    # Concepts 0 and 1 stand for `lift`, 2 for `wave`; the last clip shows what no concept stands for.
    value, true = np.array(["lift", "lift", "wave"]), np.array(["lift", "lift", "wave", "kick"])
    said = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1]], bool)
    # Said: lift; wave; lift and wave. True of these: the first and the last.
    assert presence(said, value, true) == {"precision": 2 / 4, "recall": 2 / 3, "n": 3}
    assert presence(np.eye(3, dtype=bool)[[0, 1, 2, 0]], value, true) == {"precision": 1.0, "recall": 1.0, "n": 3}
    nothing = presence(np.zeros((4, 3), bool), value, true)
    assert np.isnan(nothing["precision"]) and nothing["recall"] == 0


def test_what_is_taken_out_changes_decisions_as_far_as_its_level_goes():
    layer = {"mean": np.array([-3.0, 0]), "std": np.ones(2), "levels": np.array([[-1.0, np.nan]] * 5)}
    model = ConceptModel(
        ["a", "b"], ["x", "y"], ["object"] * 2, layer, np.array([[1.0, 0], [0, 0]]), np.zeros(2), np.zeros(0), {}
    )
    z = np.array([[2.0, 5.0], [2.0, 5.0]])
    found = taken_out(model, z, np.array([[True, True], [False, False]]))
    # At −1 the decision turns, at the mean it is a tie that the first class wins, at a raw output of 0 it stays.
    assert {level: row["changed"] for level, row in found.items()} == {"absent": 0.5, "mean": 0.0, "zero": 0.0}
    sure = 1 / (1 + np.exp(-2))
    assert found["mean"]["after"] == pytest.approx((0.5 + sure) / 2) and found["mean"]["before"] == pytest.approx(sure)
    assert found["zero"]["after"] == pytest.approx((1 / (1 + np.exp(-3)) + sure) / 2)


def test_one_factor_changes_and_nothing_else():
    spec = sample_spec(5, motion="lift", object="ball", scene="gym")
    for factor, values in zip(
        FACTORS, (["lift", "squat"], ["ball", "barbell"], ["gym", "beach", "street"]), strict=True
    ):
        other = changed(spec, factor, values, 0)
        assert other == changed(spec, factor, values, 0)
        assert getattr(other, factor) in values and getattr(other, factor) != getattr(spec, factor)
        assert all(getattr(other, name) == getattr(spec, name) for name in ("seed", "actor", "n_frames"))
        assert sum(getattr(other, name) != getattr(spec, name) for name in FACTORS) == 1


def test_classes_of_counterfactuals():
    for item in CLASSES:
        assert class_of(sample_spec(1, motion=item.motion, object=item.object, scene=item.scene)) == item.name
    assert class_of(sample_spec(1, motion="lift", object="ball", scene="beach")) == "ball_lift"  # the gym is a habit
    assert class_of(sample_spec(1, motion="wave", object="umbrella", scene="gym")) is None
    assert class_of(sample_spec(1, motion="wave", object="ball", scene="gym")) is None


def test_a_clip_for_the_model_is_what_decode_would_cut():
    spec = sample_spec(11)
    wanted = sample_indices(spec.n_frames, 16)
    frames, masks = model_clip(spec, Generate(), Decode(size=112), wanted)
    assert frames.shape == (16, 112, 112, 3) and masks.shape == (16, 128, 128)
    full, masks = model_clip(spec, Generate(size=112), Decode(size=112), wanted)
    np.testing.assert_array_equal(full, render(spec, 112).frames[wanted])
    np.testing.assert_array_equal(masks, render(spec, 112).object_mask[wanted])
    picture, _ = model_clip(spec, Generate(media="images"), Decode(size=112), np.zeros(16, int))
    assert (picture == picture[:1]).all()
