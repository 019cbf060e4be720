"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path


class ArtifactError(ValueError):
    """An artifact that cannot be used: absent, damaged, of another schema or made with other settings."""


class StageError(RuntimeError):
    """A stage cannot give a result; the message says what to do, so no stack trace is shown."""


@contextlib.contextmanager
def replace_when_done(path: str | Path, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """Yield a temporary name in the same folder; rename it to ``path`` once the block and ``check`` have passed.

    The temporary name is hidden and carries the process id, so that two writers never share one; it keeps the suffix,
    because some writers choose their format by it. A crash leaves at most that hidden file, never a half ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        if check is not None:
            check(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename itself must survive a power cut
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)
