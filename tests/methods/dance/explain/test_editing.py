"""Edits of weights and concepts: what they do, what is suggested, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, read_model
from pipeline.methods.dance.explain import editing
from pipeline.store.names import NameUnknown


def model_of(weight, types=None, names=None) -> ConceptModel:
    weight = np.array(weight, np.float64)
    n_classes, n = weight.shape
    return ConceptModel(
        [f"class {k}" for k in range(n_classes)],
        names or [f"concept {m}" for m in range(n)],
        types or ["motion"] * n,
        {"weight": np.eye(n), "mean": np.zeros(n), "std": np.ones(n)},
        weight,
        np.zeros(n_classes),
        np.zeros((0, 2, 1, 2), np.float32),
        {"dataset": "test", "edits": [], "skeleton": "coco", "n_videos": []},
    )


@pytest.fixture
def random_case():
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(4, 9)) * (rng.random((4, 9)) < 0.4)
    return model_of(weight), rng.normal(size=(200, 9)), rng.integers(0, 4, 200)


def test_contributions_and_contrasts_add_up_to_logits(random_case):
    model, z, _ = random_case
    logits = z[0] @ model.weight.T
    assert sum(item.contribution for item in model.explain(z[0], 2, 9)) == pytest.approx(logits[2])
    assert sum(item.difference for item in editing.contrast(model, z[0], 2, 0, 9)) == pytest.approx(
        logits[2] - logits[0]
    )
    differences = [abs(item.difference) for item in editing.contrast(model, z[0], 2, 0, 9)]
    assert differences == sorted(differences, reverse=True)


def test_a_deactivated_concept_adds_nothing(random_case):
    model, z, _ = random_case
    off = model.without(z[0], [1, 4], "mean")
    expected = z[0] @ model.weight.T - z[0][[1, 4]] @ model.weight[:, [1, 4]].T
    np.testing.assert_allclose(off @ model.weight.T, expected)
    assert z[0][1] != 0  # a copy was changed


def test_margin_is_negative_exactly_where_the_decision_is_wrong(random_case):
    model, z, y = random_case
    margin = editing.margins(model, z, y)
    np.testing.assert_array_equal(margin < 0, editing.decisions(model, z) != y)


def test_reweighting_leaves_the_model_and_logs_the_edit(random_case, tmp_path):
    model, _, _ = random_case
    before = model.weight.copy()
    edited = model.reweight(1, 3, 0.5)
    np.testing.assert_array_equal(model.weight, before)
    assert model.about["edits"] == []
    twice = edited.reweight(0, 2, -1.0)
    twice.save(tmp_path / "new.pt")
    read = read_model(tmp_path / "new.pt")
    assert [(item["class"], item["concept"], item["after"]) for item in read.about["edits"]] == [
        ("class 1", "concept 3", 0.5),
        ("class 0", "concept 2", -1.0),
    ]
    assert read.weight[1, 3] == 0.5
    with pytest.raises(ValueError, match="finite"):
        model.reweight(0, 0, float("inf"))


def test_effect_counts_what_is_fixed_and_broken():
    model = model_of([[1.0, 0], [0, 1.0]])
    z = np.array([[1.0, 2.0], [1.0, 0.5], [3.0, 2.5]])
    y = np.array([0, 0, 1])
    effect = editing.effect(model, model.reweight(1, 1, 0.4), z, y)
    assert effect.fixed.tolist() == [0] and effect.broken.tolist() == []
    effect = editing.effect(model, model.reweight(1, 1, 2.2), z, y)
    assert effect.fixed.tolist() == [2] and effect.broken.tolist() == [1]


def test_suggestions_tell_the_truth_and_miss_nothing(random_case):
    """Every suggestion does what it says; no weight of a fine grid on a zero weight does better."""
    model, z, y = random_case
    for true, decided, number in editing.confused_pairs(model, z, y)[:4]:
        assert number == ((y == true) & (editing.decisions(model, z) == decided)).sum()
        found = {item.concept: item for item in editing.suggest(model, z, y, true, decided, min_activation=-np.inf)}
        for concept in np.flatnonzero(model.weight[true] == 0):
            grid = [
                editing.effect(model, model.reweight(true, int(concept), w), z, y).gain
                for w in np.linspace(0.01, np.abs(model.weight).max(), 60)
            ]
            best = found[int(concept)].effect.gain if int(concept) in found else 0
            assert best >= max(grid)
        for item in found.values():
            assert model.weight[true, item.concept] == 0
            done = editing.effect(model, model.reweight(true, item.concept, item.weight), z, y)
            np.testing.assert_array_equal(done.fixed, item.effect.fixed)
            np.testing.assert_array_equal(done.broken, item.effect.broken)
            assert item.effect.gain > 0


def test_a_weight_that_was_taken_away_is_suggested_again():
    model = model_of([[1.0, 0, 0.3], [0, 1.0, 0.3]])
    z = np.array([[2.0, 0.1, 0.0]] * 5 + [[0.1, 2.0, 0.0]] * 5)
    y = np.array([0] * 5 + [1] * 5)
    damaged = model.reweight(0, 0, 0.0)
    ((true, decided, number),) = editing.confused_pairs(damaged, z, y)
    assert (true, decided, number) == (0, 1, 5)
    best = editing.suggest(damaged, z, y, true, decided)[0]
    assert (best.concept, len(best.effect.fixed), len(best.effect.broken)) == (0, 5, 0)


def test_names_are_found_or_told():
    model = model_of([[1.0, 2.0, 3.0]], ["motion", "object", "scene"], ["wave", "gym", "gym"])
    assert model.find_concept("wave") == 0
    assert model.find_concept("scene:gym") == 2
    with pytest.raises(NameUnknown, match="object:gym"):
        model.find_concept("gym")
    with pytest.raises(NameUnknown, match="did you mean `wave`"):
        model.find_concept("waves")
