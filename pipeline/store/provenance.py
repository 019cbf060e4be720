"""What made an artifact: settings, code, inputs, versions, counts.

Everything that decides the content is in the record; wall time is too, because reports want it, but the digests that
compare artifacts leave it out.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import stat
import subprocess
from pathlib import Path
from typing import Any

from pipeline.store.code import PROJECT

# Of the artifacts' attributes and array names; raised when older code could not read what newer code writes, or newer
# code what older code wrote. 2: videos and their labels are two tables, and labels are lists.
SCHEMA_VERSION = 2
PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "zarr",
    "faiss-cpu",
    "faiss-gpu",
    "decord",
    "torchcodec",
    "av",
    "opencv-python-headless",
    "scipy",
)


def canonical(value: Any) -> str:
    """One spelling per value: JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: Any) -> str:
    """Digest of any JSON value: 16 hexadecimal digits."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=8).hexdigest()


def digest_of_file(path: str | Path) -> str:
    """Digest of a file's bytes: 16 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def fingerprint(path: str | Path) -> str:
    """Size in bytes and time of change in nanoseconds: what tells a replaced file without reading it.

    Of a folder, a digest of the names, sizes and times of all files below it but hidden ones: its own time of change
    does not move when a file in it is overwritten. Links to folders are not followed.

    Raises:
        OSError, ValueError: there is no such file, or its name cannot be one.
    """
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return f"{status.st_size}:{status.st_mtime_ns}"
    digest = hashlib.blake2b(digest_size=8)
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(".") or (entry.is_symlink() and entry.is_dir()):
                continue
            try:
                state = fingerprint(entry.path)
            except OSError:  # a link to nowhere
                state = "absent"
            digest.update(os.fsencode(f"{entry.name}\0{state}\n"))
    return digest.hexdigest()


@functools.cache
def versions() -> dict[str, str]:
    """Installed versions of the packages whose release can change a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def git_state() -> dict[str, Any]:
    """Revision of the project and whether the tree differs from it; empty outside a checkout."""
    try:
        run = functools.partial(
            subprocess.run,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        revision = run(["git", "rev-parse", "HEAD"]).stdout.strip()
        dirty = bool(run(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"revision": revision, "dirty": dirty}
