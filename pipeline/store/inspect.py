"""What one artifact says about itself: size, counts, origin, and whether the code that made it has changed."""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.store.atomic import ArtifactError, damage_is_told
from pipeline.store.code import code_digest, path_of, recorded_definitions
from pipeline.store.provenance import SCHEMA_VERSION
from pipeline.store.tables import read_attributes

# An edit that touches many definitions or files is told by the first of them.
_LISTED = 5


@dataclass
class Report:
    """One artifact.

    Attributes:
        rows, shape, dtype: of its largest array, or of the table.
        decoders, unusual: id → the decoder that a video's frames came from; id → what was unusual about it.
        notes: what it says of its making that is no failure.
        warnings: what its job has warned of.
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
    decoders: dict[str, str] = field(default_factory=dict)
    unusual: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    revision: str = ""
    content: str = ""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stale: str = ""
    problem: str = ""


def is_artifact(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.name.endswith((".zarr.zip", ".parquet"))


def _described(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Attributes and array descriptions, without reading the data."""
    with damage_is_told(path):
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            header = pq.ParquetFile(path)
            columns = {
                name: {"shape": [header.metadata.num_rows], "dtype": str(header.schema_arrow.field(name).type)}
                for name in header.schema_arrow.names
            }
            return read_attributes(path), columns
        return _array_header(path)


def _array_header(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The same as opening with Zarr and asking every array, 20 times as fast: a listing looks into hundreds of files.

    Zarr v3 keeps what describes a group or an array in one ``zarr.json`` each.
    """
    with zipfile.ZipFile(path) as file:
        described = {
            name.rpartition("/")[0]: json.loads(file.read(name))
            for name in sorted(file.namelist())
            if name.rpartition("/")[2] == "zarr.json"
        }
    if "" not in described:
        raise ArtifactError(f"{path} holds no Zarr group")
    attributes = described.pop("")["attributes"]
    arrays = {
        name: {"shape": list(item["shape"]), "dtype": item["data_type"]}
        for name, item in described.items()
        if item["node_type"] == "array"
    }
    sides = [side for item in arrays.values() for side in item["shape"]]
    if not isinstance(attributes, dict) or not all(type(side) is int and side >= 0 for side in sides):
        raise ValueError("its description is none of a group of arrays")
    return attributes, arrays


def header(path: Path) -> dict[str, Any]:
    """Attributes of an artifact, without reading its data.

    Raises:
        ArtifactError: it cannot be read.
    """
    return _described(path)[0]


def inspect_artifact(path: Path) -> tuple[Report, dict[str, Any]]:
    """Report on one file, and its attributes (empty if it is unreadable)."""
    report = Report(str(path), path.stat().st_size)
    try:
        attributes, arrays = _described(path)
        version = attributes["schema_version"]
        if version != SCHEMA_VERSION:
            raise ArtifactError(
                f"{path} has schema version {version}, this release reads {SCHEMA_VERSION}; "
                + ("use the release that wrote it" if version > SCHEMA_VERSION else "run the pipeline again")
            )
        record = attributes["provenance"]
        report.stage, report.settings, report.code = record["stage"], record["settings"], record["code_digest"]
        report.ok, report.seconds = record["counts"]["ok"], record["seconds"]
        report.content = attributes["content_digest"]
        report.warnings = record.get("warnings", {}).get(report.stage, [])
    except ArtifactError as error:
        report.problem = str(error)
        return report, {}
    except (AttributeError, KeyError, TypeError) as error:
        report.problem = f"{path} has no complete provenance ({error!r})"
        return report, {}
    report.arrays = arrays
    if arrays:
        largest = max(arrays.values(), key=lambda item: math.prod(item["shape"]))
        report.shape, report.dtype = largest["shape"], largest["dtype"]
        report.rows = largest["shape"][0]
    report.failed = attributes.get("failed", [])
    report.decoders, report.unusual = texts_by_video(record, "decoders"), texts_by_video(record, "notes")
    report.notes = attributes.get("notes", [])
    git = record.get("git", {})
    report.revision = git.get("revision", "")[:10] + ("+" if git.get("dirty") else "")
    report.stale = _changed_code(record)
    return report, attributes


def texts_by_video(record: dict[str, Any], name: str) -> dict[str, str]:
    """A part of a provenance that says something about single videos; empty where it says nothing."""
    found = record.get(name)
    return {str(key): str(text) for key, text in found.items()} if isinstance(found, dict) else {}


def _changed_code(record: dict[str, Any]) -> str:
    """What has become of the code that made an artifact; empty if it is still the same."""
    try:
        if code_digest(record["module"]) == record["code_digest"]:
            return ""
    except ModuleNotFoundError:
        return f"its stage {record['module']} no longer exists"
    if "definitions" not in record:
        return "another release made it, which recorded its code in another way"
    return f"its code has changed ({'; '.join(_first(changed_sources(record)))})"


def changed_sources(record: dict[str, Any]) -> list[str]:
    """Definitions that have changed, come or gone since, by file: ``pipeline/motion/finch.py: assign, medoids``.

    Empty where the record does not tell them apart: that of another release, and that of a stage that is gone.
    """
    try:
        now = recorded_definitions(record["module"]) if "definitions" in record else {}
    except ModuleNotFoundError:
        now = {}
    then = record.get("definitions", {}) if now else {}
    changed = []
    for module in sorted(then.keys() | now.keys()):
        before, after = then.get(module, {}), now.get(module, {})
        names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if names:
            changed.append(f"{path_of(module)}: {', '.join(_first(names))}")
    return changed


def _first(items: list[str]) -> list[str]:
    return [*items[:_LISTED], *([f"{len(items) - _LISTED} more"] if len(items) > _LISTED else [])]
