"""Where a concept counts as present: rules against cases with a known answer, and against chance."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.methods.dance.bottleneck.levels import (
    doubt_in_words,
    doubt_of,
    halves,
    heat_scale,
    levels_of,
    moved,
    shrinkage,
)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("n", [20, 200])
def test_two_modes_are_found(share, n):
    rng = np.random.default_rng([n, int(100 * share)])
    shown = np.arange(n) < round(share * n)
    upper, divided = halves(np.where(shown, 0.3, 0.2) + 0.01 * rng.normal(size=n))
    assert divided and (upper == shown).all()


@pytest.mark.parametrize("n", [8, 12, 20, 40, 100, 1000])
def test_what_has_no_two_modes_is_rarely_divided(n):
    rng = np.random.default_rng(n)
    found = [halves(rng.normal(size=n))[1] for _ in range(500)]
    assert np.mean(found) < 0.08


def test_too_little_is_not_divided():
    for values in ([], [1.0], [1.0, 1.0, 1.0], [0.0, 1.0]):
        upper, divided = halves(np.array(values))
        assert len(upper) == len(values) and (not divided or upper.tolist() == [False, True])


def test_levels_are_means_and_the_middle_decides():
    z = np.array([0.0, 0, 2, 1, 4, 4, 1, 3])
    shown = np.array([0, 0, 0, 0, 1, 1, 1, 1], bool)
    # Absent 0.75, present 3, the middle 1.875: one wrong in four on each side.
    assert levels_of(z, shown).tolist() == [0.75, 3, 1.875, 4, 0.75]
    absent, *rest = levels_of(z, shown, divided=False)
    assert absent == 0.75 and np.isnan(rest).all()
    for given in (np.zeros(8, bool), np.ones(8, bool)):
        assert np.isnan(levels_of(z, given)[2]) and levels_of(z, given)[3] == given.sum()
    # A layer that says less where there is more tells nothing.
    assert np.isnan(levels_of(-z, shown)[2]) and levels_of(-z, shown)[4] == 0


def test_threshold_by_spread_is_as_many_deviations_from_both():
    z, shown = np.array([-1.0, 1, 10, 10.5, 11, 11.5]), np.array([0, 0, 1, 1, 1, 1], bool)
    absent, present, threshold, *_ = levels_of(z, shown, by_spread=True)
    assert (threshold - absent) / z[:2].std() == pytest.approx((present - threshold) / z[2:].std())
    # One video has no spread: the middle is left.
    assert levels_of(z[:3], shown[:3], by_spread=True)[2] == 5


def test_thresholds_move_to_where_new_videos_show_concepts():
    """Two concepts, absent at 0 and 10, threshold at 1 and 12 on train: new videos reach 0.61 of that way."""
    levels = np.array([[0.0, 10], [2, 14], [1, 12], [9, 9], [1, 1]])
    shown = np.arange(60).reshape(30, 2) % 3 == 0
    new = np.where(shown, [0.61, 11.22], [0.1, 10.2])
    part = shrinkage(levels, new, shown)
    assert part == pytest.approx(0.6)
    after = moved(levels, part)
    np.testing.assert_allclose(after[2], [0.6, 11.2])
    np.testing.assert_array_equal(after[[0, 1, 3, 4]], levels[[0, 1, 3, 4]])
    assert ((new >= after[2] - 1e-9) == shown).all()


def test_thresholds_never_move_away_from_absence_nor_by_little_evidence():
    levels = np.array([[0.0], [2], [1], [9], [1]])
    shown = np.arange(40)[:, None] % 2 == 0
    assert shrinkage(levels, np.where(shown, 3.0, 1.5), shown) == 1  # a higher threshold would be better
    assert shrinkage(levels, np.where(shown, 0.6, 0.1)[:8], shown[:8]) == 1  # four videos show it
    unknown = levels.copy()
    unknown[2] = np.nan
    assert shrinkage(unknown, np.where(shown, 0.6, 0.1), shown) == 1


def test_heat_begins_between_the_warmest_places_without_and_with():
    warmest = np.array([0.0, 1, 2, 5, 6, 7])
    seen, full = heat_scale(warmest, warmest > 3)
    assert seen == (1 + 6) / 2 and full == pytest.approx(6.9)
    assert np.isnan(heat_scale(warmest, warmest > 9)).all() and np.isnan(heat_scale(warmest, warmest > 3.0 - 9)).all()
    assert np.isnan(heat_scale(-warmest, warmest > 3)).all()


@pytest.mark.parametrize(
    ("levels", "dead", "doubt", "words"),
    [
        ([0, 1, 0.5, 9, 1], False, "", ""),
        ([0, 1, 0.5, 9, 1], True, "dead", "says the same of every training video"),
        ([0, np.nan, np.nan, np.nan, np.nan], False, "undivided", "do not divide"),
        ([0, 1, 0.5, 1, 1], False, "few_positives", "learned from 1 training video"),
        ([0, 1, 0.5, 4, 1], False, "few_positives", "learned from 4 training videos"),
        ([0, 1, 0.5, 9, 0.6], False, "unread", "in 60% of the cases"),
        ([0, np.nan, np.nan, 9, 0], False, "unread", "in 0% of the cases"),
    ],
)
def test_doubts(levels, dead, doubt, words):
    assert doubt_of(np.array(levels, float), dead, 5) == doubt
    assert words in doubt_in_words(doubt, np.array(levels, float))
    assert not doubt_in_words("", np.array(levels, float))
