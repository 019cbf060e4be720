"""How concepts are spoken of."""

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
    """What a concept is called in reasons and pictures: ``motion 007 (both knees bend, then straighten)``."""
    words = words_of(types, about, m)
    return f"{concepts[m]} ({words['short']})" if words else concepts[m]
