"""Boxes, relations and segments as rows, and the tables that any detector can write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.lines import text_of
from pipeline.data.tracks import link
from pipeline.jobs.stage import StageError

BOXES = pa.schema(
    [
        ("video_id", pa.string()),
        ("frame", pa.int32()),
        ("time_s", pa.float32()),
        ("node", pa.string()),
        ("class", pa.string()),
        *((name, pa.float32()) for name in ("x1", "y1", "x2", "y2", "score")),
        ("source", pa.string()),
    ]
)
RELATIONS = pa.schema(
    [
        ("video_id", pa.string()),
        ("frame", pa.int32()),
        ("time_s", pa.float32()),
        ("subject", pa.string()),
        ("object", pa.string()),
        ("relation", pa.string()),
        ("score", pa.float32()),
        ("source", pa.string()),
    ]
)
SEGMENTS = pa.schema(
    [
        ("video_id", pa.string()),
        ("class", pa.string()),
        *((name, pa.float32()) for name in ("start_s", "end_s", "length_s")),
        ("scene", pa.string()),
        ("subject", pa.string()),
    ]
)
# Frames of a table in which a node may be unseen and still be the same.
MAX_GAP = 3
CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class Tables:
    """What a source gives; notes say what was mended."""

    boxes: pa.Table
    relations: pa.Table
    segments: pa.Table = field(default_factory=lambda: SEGMENTS.empty_table())
    notes: list[str] = field(default_factory=list)


def table(schema: pa.Schema, columns: Mapping[str, Any]) -> pa.Table:
    """Columns as a table of this schema; what is absent is 1 for scores and empty elsewhere."""
    size = len(next(iter(columns.values()), ()))
    empty = {"score": 1.0, "time_s": np.nan, "scene": "", "subject": "", "source": "", "node": ""}
    arrays = [
        pa.array(columns[item.name] if item.name in columns else [empty[item.name]] * size, item.type)
        for item in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def read_file(path: Path, schema: pa.Schema, source: str, needs_nodes: bool = True) -> pa.Table:
    """A table that a user or a detector wrote, Parquet or JSON lines.

    Args:
        source: what to call it where it does not say so; needs_nodes: false where nodes are made of its boxes.

    Raises:
        StageError: missing, damaged, a column lacks, a value is of another type, or a number is not finite.
    """
    optional = {"time_s", "score", "source"} | (set() if needs_nodes else {"node"})
    if not path.is_file():
        raise StageError(f"{path} does not exist; graphs.tables names it, below the data set's root")
    try:
        if path.suffix.lower() == ".parquet":
            found = pq.read_table(path, use_threads=False).to_pydict()
        else:
            lines = [json.loads(line) for line in text_of(path.read_bytes()).splitlines() if line.strip()]
            names = dict.fromkeys(name for line in lines for name in line)
            found = {name: [line.get(name) for line in lines] for name in names}
    except (pa.ArrowException, OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise StageError(f"{path} is neither Parquet nor JSON lines ({first})") from None
    lacking = [name for name in schema.names if name not in found and name not in optional]
    if lacking:
        raise StageError(f"{path} lacks the column `{lacking[0]}`; it has {', '.join(found) or 'none'}")
    columns = {name: found[name] for name in schema.names if name in found}
    columns.setdefault("source", [source] * len(columns["video_id"]))
    if "node" in columns:
        columns["node"] = [str(value) for value in columns["node"]]
    for name in ("subject", "object"):
        if name in columns:
            columns[name] = [str(value) for value in columns[name]]
    try:
        result = table(schema, columns)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise StageError(f"{path}: a value has another type than its column ({str(error)[:200]})") from None
    for name in ("video_id", "frame", "class", "relation", "score"):
        if name in result.column_names and result[name].null_count:
            raise StageError(f"{path}: the column `{name}` has a row without a value")
    for name in (*CORNERS, "score"):
        if name in result.column_names and not np.isfinite(result[name].drop_null().to_numpy()).all():
            raise StageError(f"{path}: the column `{name}` holds NaN or infinity; leave a box out, or write null")
    return result


def with_nodes(boxes: pa.Table, kind: str) -> pa.Table:
    """Boxes with nodes that are made of them: one per class, or tracks of each class in each video.

    Args:
        boxes: visible ones; kind: ``class`` or ``overlap``.
    """
    names = np.array(boxes["class"].to_pylist(), object)
    nodes = names.copy()
    if kind == "overlap":
        videos, frames = np.array(boxes["video_id"].to_pylist(), object), boxes["frame"].to_numpy()
        columns = np.stack([boxes[name].to_numpy() for name in (*CORNERS, "score")], 1)
        groups: dict[tuple[str, str], list[int]] = {}
        for row, key in enumerate(zip(videos, names, strict=True)):
            groups.setdefault(key, []).append(row)
        for (_, name), rows in groups.items():
            own = np.array(rows)
            looks = [own[frames[own] == frame] for frame in np.unique(frames[own])]
            for number, track in enumerate(link([columns[look] for look in looks], MAX_GAP, min_score=0.0)):
                for at, place in zip(track.frames, track.rows, strict=True):
                    nodes[looks[at][place]] = f"{name}_{number + 1}"
    position = boxes.schema.get_field_index("node")
    return boxes.set_column(position, BOXES.field("node"), pa.array(nodes.tolist(), pa.string()))


def visible(boxes: pa.Table) -> tuple[pa.Table, int]:
    """Boxes that show something, cut at the border of the picture, and how many do not: null, or of no extent."""
    corners = np.stack([boxes[name].to_numpy(zero_copy_only=False).astype(np.float32) for name in CORNERS], 1)
    with np.errstate(invalid="ignore"):
        corners = np.clip(corners, 0, 1)
        good = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    kept = boxes.filter(pa.array(good))
    for number, name in enumerate(CORNERS):
        position = kept.schema.get_field_index(name)
        kept = kept.set_column(position, BOXES.field(name), pa.array(corners[good, number], pa.float32()))
    return kept, int((~good).sum())


def mended_segments(rows: list[dict[str, Any]]) -> tuple[pa.Table, int, int]:
    """Segments cut at the end of their video, without those that end before they begin; both are counted."""
    kept, clipped, dropped = [], 0, 0
    for row in rows:
        end = min(row["end_s"], row["length_s"]) if row["length_s"] > 0 else row["end_s"]
        clipped += end < row["end_s"]
        if end > max(row["start_s"], 0):
            kept.append({**row, "start_s": max(row["start_s"], 0.0), "end_s": end})
        else:
            dropped += 1
    columns = {name: [row.get(name, "") for row in kept] for name in SEGMENTS.names}
    return table(SEGMENTS, columns), clipped, dropped
