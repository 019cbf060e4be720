"""Concepts that go with labels."""

from __future__ import annotations

import numpy as np

from pipeline.methods.pcmci.concepts import correlations, joined, strongest


def test_correlations_are_numpys():
    random = np.random.default_rng(0)
    logits, concepts = random.normal(size=(30, 4)), random.normal(size=(30, 6))
    expected = np.corrcoef(logits.T, concepts.T)[:4, 4:]
    assert np.allclose(correlations(logits, concepts), expected)
    concepts[:, 2] = 7  # a motion that every video has tells nothing
    assert (correlations(logits, concepts)[:, 2] == 0).all()


def test_what_goes_with_a_label_comes_first():
    random = np.random.default_rng(1)
    concepts = random.normal(size=(60, 8))
    logits = np.stack([concepts[:, 5] + 0.1 * random.normal(size=60), -concepts[:, 1]], 1)
    types = ["motion"] * 4 + ["object"] * 4
    rows = strongest(logits, concepts, ["stir", "pour"], [f"c{k}" for k in range(8)], types)
    first = next(row for row in rows if row["label"] == "stir" and row["type"] == "object")
    assert first["concept"] == "c5" and first["r"] > 0.98 and first["videos"] == 60
    # What speaks against a label does not go with it.
    assert not [row for row in rows if row["label"] == "pour" and row["concept"] == "c1"]
    assert strongest(logits[:4], concepts[:4], ["stir", "pour"], [f"c{k}" for k in range(8)], types) == []


def test_videos_are_joined_by_their_ids():
    logits, values = np.arange(3)[:, None], np.array([[30], [10]])
    left, right = joined(["a", "b", "c"], logits, ["c", "a"], values)
    assert left.ravel().tolist() == [0, 2] and right.ravel().tolist() == [10, 30]
