"""Sanity checks: clips that cannot be what they were, labels that belong to other videos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.data.table import VideoTable, objects
from pipeline.methods.dance.bottleneck.activations import KindConcepts
from pipeline.methods.dance.bottleneck.concept_layers import Places
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.bottleneck.targets import Targets
from pipeline.methods.dance.explain.retrained import aligned, jaccard_of_top, meaning, other_validation, shuffled
from pipeline.methods.dance.explain.sanity import correlations, perturbed, response


def test_backwards_and_frozen():
    frames = np.arange(2 * 4 * 1 * 1 * 3).reshape(2, 4, 1, 1, 3).astype(np.uint8)
    np.testing.assert_array_equal(perturbed(perturbed(frames, "backwards"), "backwards"), frames)
    assert (perturbed(frames, "backwards")[:, 0] == frames[:, 3]).all()
    assert (perturbed(frames, "frozen") == frames[:, 2:3]).all()
    assert perturbed(frames, "frozen").shape == frames.shape


def test_correlations_of_columns():
    first = np.array([[1.0, 5.0, 1.0], [2.0, 5.0, 0.0], [3.0, 5.0, -1.0]])
    np.testing.assert_allclose(correlations(first, first * [2, 2, -3] + 7), [1, 0, -1])


def test_response_of_a_type_that_changes():
    model = ConceptModel(
        ["a", "b"], ["m", "o"], ["motion", "object"], {}, np.array([[1.0, 0], [0, 1.0]]), np.zeros(2), np.zeros(0), {}
    )  # fmt: skip
    before = np.array([[2.0, 0.0], [0.0, 2.0]])
    figures = response(model, before, before * [0, 1], np.array([0, 1]))
    assert figures["shift_motion"] == 1.0 and figures["shift_object"] == 0.0
    assert figures["kept_object"] == pytest.approx(1) and figures["kept_motion"] == 0.0
    assert figures["top1_before"] == 1.0 and figures["probability_after"] < figures["probability_before"]
    assert "shift_scene" not in figures


@pytest.fixture
def videos():
    n = 60
    nothing = np.full(n, None)
    return VideoTable(
        np.array([f"v{i}" for i in range(n)], object),
        path=nothing,
        frames=nothing,
        labels=objects([np.array([i % 3], np.int32) for i in range(n)]),
        segments=nothing,
        split=np.array(["train"] * 32 + ["val"] * 8 + ["test"] * 20, object),
        group=np.array([f"g{i // 3 % 10}" for i in range(n)], object),
        class_names=["a", "b", "c"],
    )


def test_another_validation_is_carved_by_group(videos):
    label = videos.single_label()
    splits = {seed: other_validation(videos, label, seed).split for seed in range(1, 6)}
    assert len({tuple(split) for split in splits.values()}) == 5
    for split in splits.values():
        np.testing.assert_array_equal(split[40:], "test")
        assert 8 <= (split == "val").sum() <= 10
        assert not set(videos.group[split == "val"]) & set(videos.group[split == "train"])
        assert set(label[split == "train"]) == {0, 1, 2}
    np.testing.assert_array_equal(other_validation(videos, label, 2).split, splits[2])


def test_another_validation_where_nobody_named_a_group(videos):
    """Then every video is a group of its own."""
    split = other_validation(replace(videos, group=np.full(60, "", object)), videos.single_label(), 1).split
    assert (split == "val").sum() == 8 and (split == "train").sum() == 32


def test_shuffled_labels_stay_together_and_leave_the_rest():
    n = 20
    column = np.arange(n, dtype=np.float32)[:, None]
    known = np.ones(n, bool)
    targets = Targets(
        ["m"], column, known, ["o"], np.array(["object"]), np.zeros((1, 2)), column, known, np.zeros(1, int)
    )
    places = Places(column, column, np.ones(n, bool), np.zeros(1))
    chosen = np.arange(n) < 15
    mixed, moved = shuffled(targets, places, chosen, 1)
    order = mixed.labels[:, 0].astype(int)
    assert sorted(order) == list(range(n)) and (order[15:] == np.arange(15, n)).all()
    assert (order[:15] != np.arange(15)).sum() > 8
    np.testing.assert_array_equal(mixed.similarity, mixed.labels)
    np.testing.assert_array_equal(moved.regions, mixed.labels)
    np.testing.assert_array_equal(moved.maps, column)  # what the clip shows does not move


def test_meaning_of_true_and_of_foreign_labels():
    rng = np.random.default_rng(0)
    n = 400
    labels = (rng.random((n, 2)) < 0.5).astype(np.float32)
    similarity = rng.normal(size=(n, 1)).astype(np.float32)
    known, kinds, texts = np.ones(n, bool), np.array(["object"]), np.zeros((1, 2))
    targets = Targets(["m0", "m1"], labels, known, ["o"], kinds, texts, similarity, known, np.zeros(1, int))
    names = [("motion", "m1"), ("motion", "m0"), ("object", "o")]
    z = np.concatenate([labels[:, ::-1] * 2 - 1, similarity * 3 + 1], 1)
    found = meaning(z, names, targets, np.ones(n, bool))
    assert found == pytest.approx({"meaning_motion": 1.0, "meaning_object": 1.0})
    found = meaning(rng.permutation(z), names, targets, np.ones(n, bool))
    assert max(map(abs, found.values())) < 0.15


def test_weights_are_aligned_by_name_and_compared():
    concepts = KindConcepts("dance", ["b", "a"], ["motion", "object"], {}, ["", ""], None, None)
    names = [("object", "a"), ("motion", "a"), ("motion", "b")]
    np.testing.assert_array_equal(aligned(names, concepts, np.array([[1.0, 2.0]])), [[2.0, 0.0, 1.0]])
    first = np.array([[3.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    second = np.array([[3.0, 0.0, 1.0, 0.0], [0.0, 0.0, 5.0, 0.0]])
    assert jaccard_of_top(first, second, 2) == pytest.approx((1 / 3 + 1) / 2)
