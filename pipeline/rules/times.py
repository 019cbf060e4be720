"""Times of change that mean nothing, set right: after ``cp -r`` of a project, outputs can be older than their inputs.

Snakemake compares contents only of files up to 1 MB; a larger input that is newer makes its job run again. Every
artifact tells what its inputs held, so that nothing has to be read but headers, and these only where times are out of
order. An input that the artifact did not record counts as changed: the pictures of poses do not record their clips.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.config import Dataset
from pipeline.jobs.declare import value_at
from pipeline.rules.graph import STAGES, home, reads, shards
from pipeline.store.atomic import ArtifactError
from pipeline.store.code import PROJECT
from pipeline.store.inspect import header, is_artifact


@functools.cache
def sha256_of(path: Path) -> str:
    """Digest of a file's bytes, as the provenance of a stage has it of its weights."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inputs(section: Dataset, stage: str, shard: str, results: Path) -> dict[str, list[Path]]:
    """Artifacts that a job reads, by the names that its stage gives them."""
    found: dict[str, list[Path]] = {}
    for name, read in reads(section, stage).items():
        if read.of != "dataset" or not read.decides:
            continue
        path = STAGES[read.stage].writes[read.output]
        parts = [shard] if STAGES[stage].sharded else shards(section)
        named = [path.replace("{shard}", part) for part in parts] if "{shard}" in path else [path]
        found[name] = [results / home(section, read.stage) / item for item in named if "{" not in item]
    return found


def _weights(section: Dataset, stage: str) -> list[Path]:
    """Weights of encoders that lie in local folders, which a job reads."""
    named = filter(None, (value_at(section, path) for path in STAGES[stage].checkpoints))
    return [path for name in named for path in sorted((PROJECT / name).glob("*.safetensors"))]


def _holds(paths: Iterable[Path], newer: dict[str, list[Path]], weights: Iterable[Path]) -> bool:
    """Whether outputs were made from what the newer inputs and weights hold."""
    try:
        records = [header(path)["provenance"] for path in paths if is_artifact(path)]
        inputs = {name: digest for record in records for name, digest in record["inputs"].items()}
        encoders = {record["weights"] for record in records if "weights" in record}
        return (
            bool(records)
            and all(
                is_artifact(path) and inputs.get(f"{name}/{path.name}") == header(path)["content_digest"]
                for name, files in newer.items()
                for path in files
            )
            and all(sha256_of(path) in encoders for path in weights)
        )
    except (ArtifactError, OSError, KeyError, TypeError):
        return False


def out_of_order(section: Dataset, results: Path) -> list[list[Path]]:
    """Outputs, job by job in the order of the graph, that are older than inputs of unchanged content.

    A job behind such a job counts too: it will be older once the other's time is set right.

    Args:
        results: the folder ``results``.
    """
    late: set[Path] = set()
    found = []
    for name, stage in STAGES.items():
        if not stage.when(section) or home(section, name) != section.name:
            continue
        for shard in shards(section) if stage.sharded else [""]:
            outputs = [results / section.name / path.replace("{shard}", shard) for path in stage.writes.values()]
            if any("{" in str(path) for path in outputs) or not all(path.is_file() for path in outputs):
                continue
            oldest = min(path.stat().st_mtime for path in outputs)
            newer = {
                key: [path for path in paths if path in late or (path.exists() and path.stat().st_mtime > oldest)]
                for key, paths in _inputs(section, name, shard, results).items()
            }
            weights = [path for path in _weights(section, name) if path.stat().st_mtime > oldest]
            if (weights or any(newer.values())) and _holds(outputs, newer, weights):
                late.update(outputs)
                found.append(outputs)
    return found


def settle(section: Dataset, results: Path, dry: bool) -> str:
    """Give outputs that are older than their unchanged inputs the present time, and say so; empty if there are none.

    Args:
        dry: only say so; nothing may change.
    """
    found = out_of_order(section, results)
    if not found:
        return ""
    jobs = "1 job" if len(found) == 1 else f"{len(found)} jobs"
    words = f"{results / section.name}: results of {jobs} are older than unchanged inputs (a copied project?)"
    if dry:
        return f"{words}; a run sets the times right first, and makes nothing again for that"
    now = time.time()
    try:
        for path in (path for outputs in found for path in outputs):
            os.utime(path, (now, now))
    except OSError as error:  # files of somebody else
        return f"{words}; the times cannot be set right ({error.strerror}), so that these jobs run again"
    return f"{words}; the times were set right"
