"""How concepts are spoken of: their names, and whether a video shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def words_of(types: Sequence[str], about: Mapping[str, Any], m: int) -> dict[str, Any] | None:
    """What the medoid of a motion concept does, see `pipeline.motion.words.Description`; None where nobody knows.

    Args:
        types, about: of a model, see `pipeline.methods.dance.bottleneck.recogniser.ConceptModel`.
    """
    words = about.get("motion_words", [])
    place = list(types[:m]).count("motion")
    return words[place] if types[m] == "motion" and place < len(words) else None


def named(concepts: Sequence[str], types: Sequence[str], about: Mapping[str, Any], m: int) -> str:
    """What a concept is called in reasons and pictures: ``motion 007 (both knees bend, then straighten)``.

    A motion without words is told by the video of its medoid.
    """
    words = words_of(types, about, m)
    if words:
        return f"{concepts[m]} ({words['short']})"
    sources = about.get("medoid_video_id", [])
    place = list(types[:m]).count("motion")
    if types[m] != "motion" or place >= len(sources):
        return concepts[m]
    return f"{concepts[m]} (as in {sources[place]})"


def signed(name: str, present: bool | None, activation: float) -> str:
    """A concept with its sign: ``barbell present``, ``no barbell``, or only its name where nobody knows.

    Args:
        activation: standardised; where its side of the mean is not what one would expect, that is said too.
    """
    if present is None:
        return name
    if present:
        return f"{name} present" + (", below average" if activation < 0 else "")
    return f"no {name}" + (", yet above average" if activation > 0 else "")


def speaks(value: float) -> str:
    """For or against: the side that a contribution or a difference is on."""
    return "for" if value > 0 else "against"


def concept_named(word: str, names: list[str], types: list[str], wanted: str = "object") -> int | None:
    """Position of the concept of a type that means ``word``: it itself, or the first name that has it as a word."""
    own = [m for m, kind in enumerate(types) if kind == wanted]
    exact = [m for m in own if names[m] == word]
    within = [m for m in own if word in names[m].split()]
    return next(iter(exact + within), None)
