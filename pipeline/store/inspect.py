"""What lies in the cache: every artifact with its size, counts, origin and whether it is stale."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.store.arrays import Arrays
from pipeline.store.atomic import ArtifactError
from pipeline.store.code import code_digest
from pipeline.store.tables import read_attributes


@dataclass
class Report:
    """One artifact.

    Attributes:
        rows, shape, dtype: of its largest array, or of the table.
        stale: why the next run would make it again; empty if it is current.
        problem: why it cannot be read; empty if it can.
    """

    path: str
    bytes: int
    stage: str = ""
    rows: int = 0
    shape: list[int] = field(default_factory=list)
    dtype: str = ""
    arrays: dict[str, dict[str, Any]] = field(default_factory=dict)
    ok: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    revision: str = ""
    content: str = ""
    stale: str = ""
    problem: str = ""


def is_artifact(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.name.endswith((".zarr.zip", ".parquet"))


def _described(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Attributes and array descriptions, without reading the data."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        attributes = read_attributes(path)
        header = pq.ParquetFile(path)
        columns = {
            name: {"shape": [header.metadata.num_rows], "dtype": str(header.schema_arrow.field(name).type)}
            for name in header.schema_arrow.names
        }
        return attributes, columns
    with Arrays(path) as artifact:
        return artifact.attributes, {name: artifact.describe(name) for name in artifact.names()}


def inspect_artifact(path: Path) -> tuple[Report, dict[str, Any]]:
    """Report on one file, and its attributes (empty if it is unreadable)."""
    report = Report(str(path), path.stat().st_size)
    try:
        attributes, arrays = _described(path)
        record = attributes["provenance"]
        report.stage, report.settings, report.code = record["stage"], record["settings"], record["code_digest"]
        report.ok, report.seconds = record["counts"]["ok"], record["seconds"]
    except ArtifactError as error:
        report.problem = str(error)
        return report, {}
    except (KeyError, TypeError) as error:
        report.problem = f"{path} has no complete provenance ({error!r})"
        return report, {}
    report.arrays = arrays
    if arrays:
        largest = max(arrays.values(), key=lambda item: _size(item["shape"]))
        report.shape, report.dtype = largest["shape"], largest["dtype"]
        report.rows = largest["shape"][0]
    report.failed = attributes.get("failed", [])
    git = record.get("git", {})
    report.revision = git.get("revision", "")[:10] + ("+" if git.get("dirty") else "")
    report.content = attributes["content_digest"]
    if code_digest(record["module"]) != record["code_digest"]:
        report.stale = "its code has changed"
    return report, attributes


def _size(shape: list[int]) -> int:
    result = 1
    for side in shape:
        result *= side
    return result


def mark_stale(
    folder: Path, found: list[tuple[Report, dict[str, Any]]], settings_digests: dict[str, str], current: set[str]
) -> None:
    """Fill in ``stale``: other settings, inputs that have changed since, or a file that no rule makes any more.

    Args:
        settings_digests: stage → digest of today's settings.
        current: artifact paths relative to ``folder`` that today's configuration makes.
    """
    digest_by_name = {}
    for report, attributes in found:
        if attributes:
            digest_by_name.setdefault((report.stage, Path(report.path).name), set()).add(attributes["content_digest"])
    names = {name for _, name in digest_by_name}
    today = {name: {d for (_, n), ds in digest_by_name.items() if n == name for d in ds} for name in names}
    for report, attributes in found:
        if report.problem or report.stale:
            continue
        record = attributes["provenance"]
        relative = str(Path(report.path).relative_to(folder))
        expected = settings_digests.get(report.stage)
        if relative not in current:
            report.stale = "not part of the current configuration (other shards?)"
        elif expected is not None and expected != record["settings_digest"]:
            report.stale = "its settings have changed"
        else:
            for name, digest in record["inputs"].items():
                file = name.rpartition("/")[2]
                if file in today and digest not in today[file]:
                    report.stale = f"its input {file} has changed"
                    break


def expand(artifacts: dict[str, tuple[str, ...]], shards: list[str]) -> set[str]:
    """Relative paths of all artifacts: ``floor → patterns`` with ``{shard}`` filled in."""
    paths = set()
    for floor, patterns in artifacts.items():
        for pattern in patterns:
            filled = [pattern.replace("{shard}", shard) for shard in shards] if "{shard}" in pattern else [pattern]
            paths.update(f"{floor}/{path}" for path in filled)
    return paths


def readable(size: float) -> str:
    """A size in bytes as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
