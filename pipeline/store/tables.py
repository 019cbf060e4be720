"""Artifacts of rows: one Parquet file with provenance in the schema metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.atomic import ArtifactError, replace_when_done
from pipeline.store.provenance import canonical

KEY = b"conceptreel"


def table_digest(table: pa.Table, content: Mapping[str, Any]) -> str:
    """Digest of the values and descriptive attributes; the bytes of a Parquet file depend on the writer's version."""
    digest = hashlib.blake2b(digest_size=8)
    for field in table.schema:
        digest.update(f"{field.name}|".encode())
        digest.update(json.dumps(table[field.name].to_pylist(), ensure_ascii=False).encode())
    digest.update(canonical(content).encode())
    return digest.hexdigest()


def write_table(path: str | Path, columns: pa.Table, content: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """Write a table atomically; see `pipeline.store.arrays.write_arrays` for the arguments."""
    digest = table_digest(columns, content)
    record = {**content, "content_digest": digest, "provenance": dict(provenance)}
    table = columns.replace_schema_metadata({KEY: json.dumps(record, ensure_ascii=False).encode()})
    with replace_when_done(path, check=lambda temporary: read_table(temporary)) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return digest


def read_attributes(path: str | Path) -> dict[str, Any]:
    """The attributes alone, without reading rows."""
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist") from None
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"{path} is damaged ({error}); delete it and run the pipeline again") from None
    try:
        return json.loads((schema.metadata or {})[KEY])
    except (KeyError, ValueError):
        raise ArtifactError(f"{path} was not written by this project: it has no provenance") from None


def read_table(path: str | Path) -> tuple[pa.Table, dict[str, Any]]:
    """Rows and attributes of a table, checked against the content digest.

    Raises:
        ArtifactError: absent, damaged, changed by hand, or not an artifact of this project.
    """
    attributes = read_attributes(path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"{path} is damaged ({error}); delete it and run the pipeline again") from None
    content = {key: value for key, value in attributes.items() if key not in ("content_digest", "provenance")}
    if table_digest(table, content) != attributes.get("content_digest"):
        raise ArtifactError(f"{path} was changed after it was written; delete it and run the pipeline again")
    return table, attributes
