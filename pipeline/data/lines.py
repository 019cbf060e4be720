"""Text files that people and programs write, whatever their encoding, line ends and quotation marks."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

from pipeline.store.atomic import StageError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins like that of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_QUOTED = re.compile(r""""((?:[^"]|"")*)"|'([^']*)'""")


def composed(text: str) -> str:
    """One spelling of accented letters (Unicode NFC): macOS writes an accent as a character of its own."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def unquoted(text: str) -> str:
    """Without the quotation marks that a CSV writer puts around a value."""
    found = _QUOTED.fullmatch(text) if text[:1] in ('"', "'") else None
    return text if found is None else (found[1].replace('""', '"') if found[2] is None else found[2])


def text_of(data: bytes) -> str:
    """Text in UTF-8, or in UTF-16 or UTF-32 as their byte order marks or zeros tell; composed, with plain line ends.

    Raises:
        UnicodeDecodeError: none of these.
    """
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        # Without a mark: the other byte of a Latin letter is zero.
        for first, name in ((0, "utf-16-be"), (1, "utf-16-le")):
            if data[first::2].count(0) > len(data) // 4:
                encoding = name
    return composed(data.decode(encoding)).replace("\r\n", "\n").replace("\r", "\n")


def lines_of(path: Path, purpose: str, error: type[Exception] = StageError) -> list[tuple[int, str]]:
    """Number, from 1, and text of every line that is not blank.

    Args:
        purpose: where the file is named and what it should hold, for the message if it is missing.
        error: what to raise.

    Raises:
        StageError: or what is asked for: missing, or no text; see `text_of`.
    """
    try:
        text = text_of(path.read_bytes())
    except FileNotFoundError:
        raise error(f"{path} does not exist; {purpose}") from None
    except (UnicodeDecodeError, OSError) as reason:
        raise error(f"{path} cannot be read as UTF-8 text ({reason})") from None
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
