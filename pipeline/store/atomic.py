"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path


class ArtifactError(ValueError):
    """An artifact that cannot be used: absent, damaged, of another schema or made with other settings."""


class StageError(RuntimeError):
    """A stage cannot give a result; the message says what to do, so no stack trace is shown."""


@contextlib.contextmanager
def damage_is_told(path: str | Path) -> Iterator[None]:
    """Zip, Zarr, its codecs, Arrow, Thrift and JSON raise types of their own for damaged bytes; a user needs one.

    Raises:
        ArtifactError: whatever the block raises.
    """
    try:
        yield
    except ArtifactError:
        raise
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist") from None
    except Exception as error:
        words = str(error)[:200] or type(error).__name__
        raise ArtifactError(f"{path} is damaged ({words}); delete it and run the pipeline again") from None


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


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a hidden folder beside ``out``; it gets that name once the block has passed, and is gone if it has not.

    Raises:
        StageError: there is something already, and more than an empty folder.
    """
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise StageError(f"{out} exists and is no empty folder; name another one with --out")
    temporary = out.with_name(f".{os.getpid()}.{out.name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
