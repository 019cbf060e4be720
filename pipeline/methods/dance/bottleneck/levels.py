"""How active a concept is where it is and where it is not, told by the training videos; what follows for new ones.

A concept is **present** in a video if its activation is nearer to that of the training videos that show it than to
that of those that do not. Which show it is known for motions: some key clip lies in the cluster. For words it is read
from the dual encoder: Otsu's threshold (1979) cuts the similarities of the training videos in two. Where the two parts
are no further apart than chance would have them, nobody knows, and nothing is said of presence. *Nearer* is meant in
standard deviations of either part for motions, because videos without a motion show many others and spread far; for
words it is the middle between both means.

A layer says more of a video that it was trained on than of another one that shows as much. Validation videos, whose
clusters are known too, tell by how much less, and the thresholds of motions move towards absence by that part.
"""

from __future__ import annotations

import math

import numpy as np

# Rows of what is kept of each concept. `absent`, `present`: mean activation of the training videos without and with it;
# `threshold`: from where on it counts as present; NaN where unknown. `n_positive`: how many show it, NaN where they do
# not divide in two. `right`: mean of the shares of both that the rule above gets right.
LEVELS = ("absent", "present", "threshold", "n_positive", "right")
# Ashman's D of the halves of an even spread, which has no two modes; and of a normal distribution.
EVEN = 2 * math.sqrt(3)
NORMAL = 2 * math.sqrt(2 / math.pi) / math.sqrt(1 - 2 / math.pi)
# Halves of a small sample lie further apart by chance: 95 of 100 normal samples of n stay below NORMAL · (1 + 14 / n).
SMALL = 14
# Thresholds are moved if validation shows concepts so often, all together; parts of the way, the whole one first.
ENOUGH = 10
PARTS = np.linspace(1, 0.3, 36)
# Halfway between a coin and certainty.
READABLE = 0.75
# Why a concept is doubtful, in words.
DOUBTS = {
    "dead": "its layer says the same of every training video",
    "undivided": "training videos do not divide into those with it and those without",
    "few_positives": "learned from {n:.0f} training video{s}",
    "unread": "tells training videos with it from those without in {right:.0%} of the cases",
}
# Heat is full where a place is as warm as in all but the warmest of the videos that show the concept.
FULL = 0.95


def halves(values: np.ndarray) -> tuple[np.ndarray, bool]:
    """The upper part of ``[n]`` by Otsu's threshold, bool ``[n]``, and whether the parts are modes of their own.

    They are if Ashman's D, the distance of their means over the root mean square of their deviations, is above that of
    the halves of an even spread, and above what a normal sample of this size reaches by chance.
    """
    n = len(values)
    if n < 2 or np.ptp(values) == 0:
        return np.zeros(n, bool), False
    ordered = np.sort(values.astype(np.float64))
    below = np.arange(1, n)
    sums = np.cumsum(ordered)
    apart = sums[:-1] / below - (sums[-1] - sums[:-1]) / (n - below)
    cut = int((apart**2 * below * (n - below)).argmax())
    upper = values > (ordered[cut] + ordered[cut + 1]) / 2
    spread = math.sqrt((values[upper].var(dtype=float) + values[~upper].var(dtype=float)) / 2)
    return upper, bool(-apart[cut] > max(EVEN, NORMAL * (1 + SMALL / n)) * spread)


def levels_of(activation: np.ndarray, shown: np.ndarray, divided: bool = True, by_spread: bool = False) -> np.ndarray:
    """What is kept of one concept, ``[5]``, see `LEVELS`.

    Args:
        activation: of the training videos of which it is known, ``[n]``; shown: bool ``[n]``.
        divided: whether ``shown`` means anything; without that ``absent`` is the mean of the videos least like it.
        by_spread: whether the threshold is as many standard deviations from one mean as from the other.
    """
    absent, present = (float(activation[part].mean()) if part.any() else math.nan for part in (~shown, shown))
    if not divided:
        return np.array([absent, math.nan, math.nan, math.nan, math.nan])
    if not present > absent:
        # All show it or none does; or a layer that says less where there is more.
        return np.array([absent, present, math.nan, shown.sum(), 0 if shown.any() and not shown.all() else math.nan])
    spread = [float(activation[part].std()) for part in (~shown, shown)]
    if not by_spread or min(spread) == 0:
        spread = [1.0, 1.0]
    threshold = (absent * spread[1] + present * spread[0]) / sum(spread)
    said = activation >= threshold
    right = (said[shown].mean() + (~said[~shown]).mean()) / 2
    return np.array([absent, present, threshold, shown.sum(), right])


def shrinkage(levels: np.ndarray, activation: np.ndarray, shown: np.ndarray) -> float:
    """The part of the way from absence to its threshold at which validation is told best, for all concepts together.

    Args:
        levels: `LEVELS` of ``m`` concepts ``[5, m]``; activation: of validation videos ``[n, m]``; shown: bool.

    Returns:
        what maximises F1 over all concepts and videos, at most 1: nothing is moved away from absence. 1 where
        validation shows too little.
    """
    absent, _, threshold = levels[:3]
    known = np.isfinite(threshold)
    own = shown[:, known]
    if own.sum() < ENOUGH:
        return 1.0
    way = (activation - absent)[:, known] / (threshold - absent)[known]
    found, best = 1.0, -1.0
    for part in PARTS:
        said = way >= part
        f1 = 2 * (said & own).sum() / (said.sum() + own.sum())
        if f1 > best:
            found, best = float(part), f1
    return found


def moved(levels: np.ndarray, part: float) -> np.ndarray:
    """Levels with their thresholds at this part of the way from absence; see `shrinkage`."""
    result = levels.copy()
    result[2] = levels[0] + part * (levels[2] - levels[0])
    return result


def heat_scale(warmest: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """From where on a concept is seen in a place, and where its heat is full: ``[2]``, NaN where unknown.

    *Seen* is the middle between the warmest places of a typical training video without the concept and of one with it
    (medians), as presence is for the whole clip.

    Args:
        warmest: place of each training video, at any time, ``[n]``; shown: bool ``[n]``.
    """
    if not shown.any() or shown.all():
        return np.full(2, math.nan)
    seen = (np.median(warmest[~shown]) + np.median(warmest[shown])) / 2
    full = float(np.quantile(warmest[shown], FULL))
    return np.array([seen, full]) if full > seen else np.full(2, math.nan)


def doubt_of(levels: np.ndarray, dead: bool, min_positives: int) -> str:
    """Why one should not rely on a concept with these `LEVELS` ``[5]``: a key of `DOUBTS`; empty where one may."""
    *_, n_positive, right = levels
    if dead:
        return "dead"
    if math.isnan(n_positive):
        return "undivided"
    if n_positive < min_positives:
        return "few_positives"
    return "unread" if right < READABLE else ""


def doubt_in_words(doubt: str, levels: np.ndarray) -> str:
    """A doubt about the concept with these `LEVELS` ``[5]``, as people read it."""
    *_, n_positive, right = levels
    many = "" if n_positive == 1 else "s"
    return DOUBTS[doubt].format(n=n_positive, s=many, right=right) if doubt else ""
