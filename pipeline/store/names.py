"""Names that people type, and what they may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class NameUnknown(ValueError):
    """A class, concept, video or other name that there is not; the message has the nearest ones."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that are like this one, whatever their capitals, the nearest first."""
    by_lower = {item.lower(): item for item in known}
    return [by_lower[key] for key in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.4)]


def find(name: str, known: Sequence[str], what: str) -> int:
    """Position of a name among the known ones.

    Args:
        what: kind of thing, for the message.

    Raises:
        NameUnknown: there is no such name.
    """
    if name in known:
        return list(known).index(name)
    near = " or ".join(f"`{item}`" for item in nearest(name, known))
    hint = f"; did you mean {near}?" if near else f" among {len(known)}"
    raise NameUnknown(f"there is no {what} `{name}`{hint}")
