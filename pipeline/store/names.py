"""Names that people type, and what they may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class NameUnknown(ValueError):
    """A class, concept, video or other name that there is not; the message has the nearest ones."""


def find(name: str, known: Sequence[str], what: str) -> int:
    """Position of a name among the known ones.

    Args:
        what: kind of thing, for the message.

    Raises:
        NameUnknown: there is no such name.
    """
    if name in known:
        return list(known).index(name)
    lower = {item.lower(): item for item in known}
    near = [lower[key] for key in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.4)]
    hint = f"; did you mean {' or '.join(f'`{item}`' for item in near)}?" if near else f" among {len(known)}"
    raise NameUnknown(f"there is no {what} `{name}`{hint}")
