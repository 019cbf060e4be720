"""What a results folder holds, as one digest per file, so that two runs can be compared whatever their clocks said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from pipeline.jobs import restart
from pipeline.store.arrays import read_arrays
from pipeline.store.inspect import is_artifact
from pipeline.store.tables import read_table


def content(path: Path) -> str:
    """Digest of one file's content, read in full; run times and the writer's way of packing are left out.

    Raises:
        ArtifactError: the file is an artifact that is damaged or was changed after it was written.
    """
    if is_artifact(path):
        read = read_table if path.suffix == ".parquet" else read_arrays
        return read(path)[1]["content_digest"]
    digest = hashlib.blake2b(digest_size=8)
    if path.name == "model.pt":
        for name, value in sorted(torch.load(path, weights_only=True).items()):
            digest.update(name.encode())
            digest.update(value.numpy().tobytes() if isinstance(value, torch.Tensor) else str(value).encode())
    elif path.name == "metrics.json":
        metrics = json.loads(path.read_text())
        del metrics["seconds"]
        digest.update(json.dumps(metrics, sort_keys=True).encode())
    else:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def files(results: Path) -> list[Path]:
    """All files but the logs; hidden ones, which no finished run leaves, too."""
    logs = results / "logs"
    return sorted(path for path in results.rglob("*") if path.is_file() and logs not in path.parents)


def contents(results: Path) -> dict[str, str]:
    """Content of every file of a results folder, by its path in it; see `content`."""
    return {str(path.relative_to(results)): content(path) for path in files(results)}


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """One line per file that is missing, additional or different."""
    lines = [f"missing: {name}" for name in sorted(expected.keys() - found.keys())]
    lines += [f"additional: {name}" for name in sorted(found.keys() - expected.keys())]
    return lines + [
        f"different: {name}" for name in sorted(found.keys() & expected.keys()) if found[name] != expected[name]
    ]


def finished_artifacts(run_folder: Path) -> dict[Path, tuple[int, int]]:
    """Artifacts of finished jobs, with the identity of their files; for `made_again`.

    Raises:
        ArtifactError: a file that bears an artifact's name cannot be read in full, whether its job has finished or not.
    """
    unfinished = {run_folder / mark.output for mark in restart.marks(run_folder)}
    found = {}
    for path in sorted((run_folder / "results").rglob("*")):
        if is_artifact(path):
            content(path)
            if path not in unfinished:
                found[path] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def made_again(before: dict[Path, tuple[int, int]], after: dict[Path, tuple[int, int]]) -> list[Path]:
    """Artifacts that were finished before and are not the same files any more."""
    return [path for path, identity in before.items() if after.get(path) != identity]
