"""What a person may change: a concept in one video, or a weight of the sparse classifier.

Everything here works on concept activations, so that an edit needs no video and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, Contribution


def without(z: np.ndarray, concepts: Sequence[int]) -> np.ndarray:
    """Activations with some concepts deactivated: set to 0, the mean over the training videos.

    A standardised activation of 0 adds nothing to any logit (DANCE 4.4 intervenes the same way).

    Args:
        z: ``[..., M]``.
    """
    result = np.array(z, np.float64)
    result[..., list(concepts)] = 0
    return result


@dataclass(frozen=True)
class Effect:
    """What an edit does to a set of videos: the rows whose decision becomes right, and those that become wrong."""

    fixed: np.ndarray
    broken: np.ndarray

    @property
    def gain(self) -> int:
        return len(self.fixed) - len(self.broken)


def decisions(model: ConceptModel, z: np.ndarray) -> np.ndarray:
    """Class of the highest logit, int64 ``[n]``."""
    return model.logits(z).argmax(1)


def margins(model: ConceptModel, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Logit of the true class minus the highest of the others, ``[n]``; negative where the decision is wrong."""
    logits = model.logits(z)
    own = logits[np.arange(len(y)), y].copy()
    logits[np.arange(len(y)), y] = -np.inf
    return own - logits.max(1)


def effect(before: ConceptModel, after: ConceptModel, z: np.ndarray, y: np.ndarray) -> Effect:
    """Compare two models on activations ``[n, M]`` with labels ``[n]``."""
    was, is_now = decisions(before, z) == y, decisions(after, z) == y
    return Effect(np.flatnonzero(~was & is_now), np.flatnonzero(was & ~is_now))


@dataclass(frozen=True)
class Suggestion:
    """One weight that is zero, what it could be instead, and what that would do.

    Attributes:
        label, concept: which weight.
        weight: its new value.
        activation: mean of the concept over the videos that are confused, in standard deviations.
        effect: on the videos it was chosen on.
    """

    label: int
    concept: int
    weight: float
    activation: float
    effect: Effect


def confused_pairs(model: ConceptModel, z: np.ndarray, y: np.ndarray) -> list[tuple[int, int, int]]:
    """(true class, decided class, number of videos), most frequent first."""
    decided = decisions(model, z)
    pairs, counts = np.unique(np.stack([y, decided], 1)[y != decided], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(pairs[i, 0]), int(pairs[i, 1]), int(counts[i])) for i in order]


def suggest(
    model: ConceptModel, z: np.ndarray, y: np.ndarray, true: int, decided: int, min_activation: float = 0.5
) -> list[Suggestion]:
    """Edits that would win videos of one class back from another: concepts they show, but their class does not use.

    A weight moves only the logit of its own class. The decision on video i turns at the weight
    ``(best other logit − own logit) / z_i``, so that the only weights worth trying lie just above those of these
    thresholds that turn a wrong decision into a right one; the one that fixes most less what it breaks is taken, the
    smallest on ties. No
    weight above the largest of the model is suggested: it would outvote everything else.

    Args:
        z, y: activations ``[n, M]`` and labels ``[n]`` of the videos to choose on.
        true, decided: the class of the videos, and the one that they are taken for.
        min_activation: mean activation over the confused videos, in standard deviations, from which on a concept counts
            as shown.

    Returns:
        suggestions with a gain above zero, best first.
    """
    logits = model.logits(z)  # [n, K]
    chosen = logits.argmax(1)
    confused = (y == true) & (chosen == decided)
    if not confused.any():
        return []
    others = np.delete(logits, true, 1)
    margin = others.max(1) - logits[:, true]  # [n]; what the class lacks
    # Without the class, would the decision be right? That is what a lost weight contest leaves.
    right_without = np.delete(np.arange(logits.shape[1]), true)[others.argmax(1)] == y
    was_right = chosen == y
    limit = np.abs(model.weight).max()
    result = []
    for concept in np.flatnonzero(model.weight[true] == 0):
        activation = float(z[confused, concept].mean())
        if activation < min_activation:
            continue
        gained = np.where(z[:, concept] > 0, (y == true) & ~was_right, (chosen == true) & right_without & ~was_right)
        gained &= z[:, concept] != 0
        candidates = np.unique(margin[gained] / z[gained, concept]) * 1.001 + 1e-6  # just beyond the threshold
        candidates = candidates[(candidates > 0) & (candidates <= limit)]
        if not len(candidates):
            continue
        wins = candidates[:, None] * z[:, concept] > margin  # [candidates, n]
        right = np.where(wins, y == true, right_without)
        gains = (right & ~was_right).sum(1) - (~right & was_right).sum(1)
        best = int(gains.argmax())
        if gains[best] <= 0:
            continue
        result.append(
            Suggestion(
                true,
                int(concept),
                float(candidates[best]),
                activation,
                Effect(np.flatnonzero(right[best] & ~was_right), np.flatnonzero(~right[best] & was_right)),
            )
        )
    return sorted(result, key=lambda item: (-item.effect.gain, len(item.effect.broken), -item.activation))


@dataclass(frozen=True)
class Contrast:
    """What one concept says for one class rather than another: ``(w_a − w_b) · z``."""

    concept: str
    type: str
    difference: float
    activation: float
    weight: float
    other_weight: float
    index: int
    said: str = ""


def contrast(model: ConceptModel, z: np.ndarray, label: int, other: int, top_k: int = 5) -> list[Contrast]:
    """Why one class and not another: concepts by the absolute difference they make between the two logits.

    All differences (and that of the biases) add up to the difference of the logits.

    Args:
        z: ``[M]``.
    """
    parts = (model.weight[label] - model.weight[other]) * z
    order = np.argsort(-np.abs(parts), kind="stable")[:top_k]
    return [
        Contrast(
            model.concepts[m],
            model.types[m],
            float(parts[m]),
            float(z[m]),
            float(model.weight[label, m]),
            float(model.weight[other, m]),
            int(m),
            model.named(m),
        )
        for m in order
        if parts[m] != 0
    ]


def top_concepts(model: ConceptModel, label: int, top_k: int = 5) -> list[Contribution]:
    """The largest weights of one class, by magnitude; a contribution at an activation of one standard deviation."""
    return model.explain(np.ones(len(model.concepts)), label, top_k)
