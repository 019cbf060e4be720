"""Reading files that someone else made, with one line for whatever is wrong with them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.exchange.errors import ForeignFileError


def read_torch(path: Path, allowed: Sequence[Any] = ()) -> Any:
    """Tensors, and plain containers of them, as `torch.save` wrote them; nothing is executed.

    Args:
        allowed: further classes, as `torch.serialization.safe_globals` takes them; making one must do nothing.

    Raises:
        ForeignFileError: damaged, or it holds something else.
    """
    import torch

    try:
        # Training scripts store their arguments in the file; a Namespace holds values and does nothing.
        with torch.serialization.safe_globals([argparse.Namespace, *allowed]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for hostile files
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ForeignFileError(
            f"{path} is not a file of tensors, and nothing else is ever unpickled ({first})"
        ) from None


def read_json(path: Path) -> Any:
    """Raises: ForeignFileError: not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ForeignFileError(f"{path} is not JSON ({error})") from None
