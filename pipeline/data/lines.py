"""Text files that people write: one entry per line."""

from __future__ import annotations

from pathlib import Path

from pipeline.store.atomic import StageError


def lines_of(path: Path, purpose: str, error: type[Exception] = StageError) -> list[tuple[int, str]]:
    """Number, from 1, and text of every line that is not blank; any line ends, with or without a byte order mark.

    Args:
        purpose: where the file is named and what it should hold, for the message if it is missing.
        error: what to raise.

    Raises:
        StageError: or what is asked for: missing, or no UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise error(f"{path} does not exist; {purpose}") from None
    except (UnicodeDecodeError, OSError) as reason:
        raise error(f"{path} cannot be read as UTF-8 text ({reason})") from None
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
