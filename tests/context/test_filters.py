"""Every filter on cases small enough to decide by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.context.filters import (
    Candidate,
    cosine,
    drop_class_names,
    drop_duplicates,
    drop_inactive,
    drop_long,
    drop_similar,
)


def make(*texts: str, kind: str = "object") -> list[Candidate]:
    return [Candidate(kind, text) for text in texts]


def parts_of(similarity: np.ndarray):
    return lambda rows, columns: similarity[np.ix_(rows, columns)]


def kept(candidates: list[Candidate]) -> list[str]:
    return [candidate.text for candidate in candidates if candidate.kept]


def test_duplicates_ignore_case_and_blanks_but_not_the_type():
    candidates = [*make("Ball", "ball ", "tennis  ball", "Tennis ball"), Candidate("scene", "ball")]
    drop_duplicates(candidates)
    assert [candidate.kept for candidate in candidates] == [True, False, True, False, True]
    assert candidates[1].reason == "the same as 'Ball'"


def test_length_counts_characters():
    candidates = make("x" * 30, "x" * 31)
    drop_long(candidates, 30)
    assert [candidate.dropped_by for candidate in candidates] == ["", "length"]
    assert candidates[1].reason == "31 characters, more than 30"


def test_class_names_at_the_threshold_are_dropped():
    candidates = make("a", "b", "c")
    drop_class_names(candidates, np.array([[0.85, 0.1], [0.2, 0.849], [0.0, 0.9]]), ["walk", "run"], 0.85)
    assert kept(candidates) == ["b"]
    assert candidates[2].reason == "0.900 to class 'run', at least 0.85"
    assert candidates[1].class_similarity == pytest.approx(0.849)


def test_of_a_pair_the_one_less_similar_to_all_others_goes():
    similarity = np.array([[1.0, 0.96, 0.5], [0.96, 1.0, 0.1], [0.5, 0.1, 1.0]])
    candidates = make("a", "b", "c")
    drop_similar(candidates, parts_of(similarity), 0.95)
    # a sums to 2.46, b to 2.06
    assert kept(candidates) == ["a", "c"]
    assert "0.960 to 'a'" in candidates[1].reason and "2.06 against 2.46" in candidates[1].reason


def test_of_three_equal_texts_one_stays():
    candidates = make("a", "b", "c")
    drop_similar(candidates, parts_of(np.ones((3, 3))), 0.95)
    assert len(kept(candidates)) == 1


@pytest.mark.parametrize("off", [-3e-7, 3e-7])
def test_rounding_does_not_decide_who_goes(off):
    """Two candidates that have only each other are equally similar to all others, whatever the last digits say."""
    candidates = make("a", "b")
    drop_similar(candidates, parts_of(np.array([[1 + off, 0.97], [0.97, 1]])), 0.95)
    assert kept(candidates) == ["a"]


def test_a_chain_loses_its_ends_only():
    """a–b and b–c are too similar, a–c are not: b, which is like both, stays."""
    similarity = np.array([[1.0, 0.96, 0.5], [0.96, 1.0, 0.97], [0.5, 0.97, 1.0]])
    candidates = make("a", "b", "c")
    drop_similar(candidates, parts_of(similarity), 0.95)
    assert kept(candidates) == ["b"]


def test_dropped_candidates_drop_nobody():
    candidates = make("a" * 40, "b")
    drop_long(candidates, 30)
    drop_similar(candidates, parts_of(np.ones((2, 2))), 0.95)
    assert kept(candidates) == ["b"]


def test_types_are_not_compared():
    candidates = [Candidate("object", "court"), Candidate("scene", "court")]
    drop_similar(candidates, parts_of(np.ones((2, 2))), 0.95)
    assert len(kept(candidates)) == 2


def test_activation_is_the_mean_of_the_strongest_videos():
    similarity = np.array([[0.9, 0.3], [0.1, 0.3], [0.0, 0.3], [0.0, 0.3]])
    candidates = make("seldom", "everywhere")
    drop_inactive(candidates, similarity, top_k=2, cutoff=0.4)
    assert [candidate.activation for candidate in candidates] == pytest.approx([0.5, 0.3])
    assert kept(candidates) == ["seldom"]
    few = make("a")
    drop_inactive(few, similarity[:1, :1], top_k=5, cutoff=0.4)
    assert few[0].activation == pytest.approx(0.9)


def test_similarity_does_not_depend_on_lengths():
    similarity = cosine(np.array([[2.0, 0.0], [3.0, 3.0]]), np.array([[0.0, 3.0], [5.0, 0.0]]))
    np.testing.assert_allclose(similarity, [[0, 1], [np.sqrt(0.5), np.sqrt(0.5)]], atol=1e-12)


def test_similar_candidates_are_found_part_by_part(monkeypatch):
    """Asked for a few rows at once, the filter decides as on the whole matrix."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = rows @ rows.T

    def dropped():
        candidates = [Candidate(("object", "scene")[k % 2], f"c{k}") for k in range(40)]
        drop_similar(candidates, parts_of(similarity), 0.9)
        return [(item.dropped_by, item.reason, round(item.mutual_similarity, 5)) for item in candidates]

    whole = dropped()
    assert 5 < sum(bool(item[0]) for item in whole) < 35
    monkeypatch.setattr("pipeline.context.filters.ROWS_AT_ONCE", 7)
    assert dropped() == whole
