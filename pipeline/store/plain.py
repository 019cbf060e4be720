"""JSON that every reader takes: the standard has no NaN and no infinity, which Python would write all the same."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.store.atomic import replace_when_done


def defined(value: Any) -> Any:
    """The same with None for every number that is not finite, at every depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: defined(item) for key, item in value.items()}
    return [defined(item) for item in value] if isinstance(value, list | tuple) else value


def as_json(value: Any, indent: int | None = 2, default: Callable[[Any], Any] | None = None) -> str:
    """JSON text that UTF-8 can hold; what is not defined is null."""
    text = json.dumps(defined(value), indent=indent, ensure_ascii=False, allow_nan=False, default=default)
    # Bytes of a file's name that are no UTF-8, as Python has them.
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with replace_when_done(path) as temporary:
        temporary.write_text(as_json(value) + "\n", encoding="utf-8")
