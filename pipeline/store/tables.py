"""Artifacts of rows: one Parquet file with provenance in the schema metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.atomic import ArtifactError, damage_is_told, replace_when_done
from pipeline.store.provenance import canonical

KEY = b"conceptreel"
# As in `pipeline.store.arrays`: what a header may claim whatever the size of the file, and for each of its bytes.
FREE_VALUES = 1_000_000
MAX_RATIO = 100


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


def _record(schema: pa.Schema, path: str | Path) -> dict[str, Any]:
    metadata = schema.metadata or {}
    record = json.loads(metadata[KEY]) if KEY in metadata else None
    if not isinstance(record, dict) or "content_digest" not in record:
        raise ArtifactError(f"{path} was not written by this project: it has no provenance")
    return record


def read_attributes(path: str | Path) -> dict[str, Any]:
    """The attributes alone, without reading rows."""
    with damage_is_told(path), open(path, "rb") as file:
        return _record(pq.read_schema(file), path)


def read_table(path: str | Path) -> tuple[pa.Table, dict[str, Any]]:
    """Rows and attributes of a table, checked against the content digest.

    Raises:
        ArtifactError: absent, damaged, changed by hand, or not an artifact of this project.
    """
    # Not `pq.read_table`: where no further thread can be started for lack of memory, its scanner waits for ever.
    with damage_is_told(path), open(path, "rb") as opened, pq.ParquetFile(opened, pre_buffer=False) as file:
        attributes = _record(file.schema_arrow, path)
        header = file.metadata
        if header.num_rows * max(1, header.num_columns) > FREE_VALUES + MAX_RATIO * Path(path).stat().st_size:
            raise ArtifactError(
                f"{path} is damaged: {header.num_rows} rows cannot fit into a file of its size; delete it and run the "
                f"pipeline again"
            )
        table = file.read(use_threads=False)
        content = {key: value for key, value in attributes.items() if key not in ("content_digest", "provenance")}
        found = table_digest(table, content)
    if found != attributes["content_digest"]:
        raise ArtifactError(f"{path} was changed after it was written; delete it and run the pipeline again")
    return table, attributes
