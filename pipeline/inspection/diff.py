"""Two caches side by side: which artifacts differ, what they were made with, and by how much their rows differ.

Rows are joined by ``video_id``, so that caches with different numbers of shards can be compared too.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.inspection.cache import InspectionError, artifacts_in, kind_of
from pipeline.inspection.rows import RowIndex
from pipeline.inspection.text import readable
from pipeline.store.arrays import Arrays
from pipeline.store.inspect import inspect_artifact
from pipeline.store.tables import read_table

# Where the shards of both sides differ, whole arrays are joined in memory; beyond this it is told and left out.
MAX_JOINED_BYTES = 2 << 30
NOT_COMPARED = ("content_digest", "provenance", "video_id", "failed")


@dataclass
class ArrayDifference:
    """One array or column.

    Attributes:
        words: what differs if it is not the values: absent, other shape, other type.
        rows, rows_differing: of the values that both have.
        largest, mean: absolute difference over the rows that differ; None for values that are no numbers.
    """

    name: str
    words: str = ""
    rows: int = 0
    rows_differing: int = 0
    largest: float | None = None
    mean: float | None = None

    def __str__(self) -> str:
        if self.words:
            return f"{self.name}: {self.words}"
        text = f"{self.name}: {self.rows_differing} of {self.rows} rows differ"
        return text if self.largest is None else f"{text}, by at most {self.largest:.4g}, on average {self.mean:.4g}"


@dataclass
class Difference:
    """One artifact, or all shards of one kind where their numbers differ.

    Attributes:
        only: ``first`` or ``second`` if the other side has no such artifact.
        provenance: key → (first, second), of the settings, code, versions and counts.
        content: attributes that differ → (first, second).
        videos: (ids only in the first, ids only in the second).
    """

    path: str
    only: str = ""
    problem: str = ""
    provenance: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    content: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    videos: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    arrays: list[ArrayDifference] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether the content does: other settings or code may well have led to the same values."""
        return bool(self.only or self.problem or self.content or self.arrays or any(self.videos))

    def __bool__(self) -> bool:
        return self.differs or bool(self.provenance)


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    if not isinstance(value, dict) or (prefix and not value):
        return {prefix: value}
    result = {}
    for key, item in value.items():
        result.update(flattened(item, f"{prefix}.{key}" if prefix else str(key)))
    return result


def _pairs_that_differ(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        key: (first.get(key), second.get(key))
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    }


def provenance_difference(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys of two records that could change a result and differ; wall time and places are left out."""
    result = {}
    for name in ("settings", "versions", "weights", "device", "dtype"):
        a, b = ({name: record[name]} if name in record else {} for record in (first, second))
        result.update(_pairs_that_differ(flattened(a), flattened(b)))
    if first.get("code_digest") != second.get("code_digest"):
        # Artifacts of older releases do not tell their definitions apart.
        known = "definitions" in first and "definitions" in second
        sources = (
            _pairs_that_differ(*(flattened(side["definitions"], "source") for side in (first, second))) if known else {}
        )
        result.update(sources)
        if not sources:
            result["code_digest"] = (first.get("code_digest"), second.get("code_digest"))
    return result


def value_difference(name: str, first: np.ndarray, second: np.ndarray) -> ArrayDifference | None:
    """Compare rows that belong to each other; NaN equals NaN."""
    if first.shape[1:] != second.shape[1:] or first.dtype != second.dtype:
        sides = (f"{'×'.join(map(str, side.shape[1:])) or 'scalar'} {side.dtype}" for side in (first, second))
        return ArrayDifference(name, "rows of " + " and ".join(sides))
    differing, largest, total, count = 0, 0.0, 0.0, 0
    numbers = first.dtype.kind in "fiu"
    # Row blocks: as float64 a whole array of clips would not fit.
    step = max(1, (1 << 24) // max(1, first[:1].size))
    for start in range(0, len(first), step):
        a, b = first[start : start + step], second[start : start + step]
        unequal = a != b
        if first.dtype.kind == "f":
            unequal &= ~(np.isnan(a) & np.isnan(b))
        rows = unequal.reshape(len(a), -1).any(1) if a.size else np.zeros(len(a), bool)
        differing += int(rows.sum())
        if numbers and rows.any():
            gap = np.abs(a[rows].astype(np.float64) - b[rows].astype(np.float64))
            gap = gap[~np.isnan(gap)]  # a NaN on one side differs, but by no number
            if gap.size:
                largest, total, count = max(largest, float(gap.max())), total + float(gap.sum()), count + gap.size
    if not differing:
        return None
    if not count:
        return ArrayDifference(name, rows=len(first), rows_differing=differing)
    return ArrayDifference(name, rows=len(first), rows_differing=differing, largest=largest, mean=total / count)


class _Side:
    """The array artifacts of one kind in one cache, opened, as if they were one."""

    def __init__(self, opened: list[Arrays]):
        self.opened = opened
        self.indices = [RowIndex(artifact) for artifact in opened]
        self.attributes = opened[0].attributes
        self.names = list(self.indices[0].shapes)
        self.where = {key: n for n, index in enumerate(self.indices) for key in index.video_id}

    def content(self) -> dict[str, Any]:
        """Attributes without lists that have an entry per video or row: they follow the videos, and these are told."""
        per_video = {len(self.indices[0].video_id), self.indices[0].length()} if self.where else set()
        return {
            key: value
            for key, value in self.attributes.items()
            if key not in NOT_COMPARED and not (isinstance(value, list) and len(value) in per_video)
        }

    def axis(self, name: str) -> str:
        return next((index.axis(name) for index in self.indices if index.shapes[name][0]), self.indices[0].axis(name))

    def bytes(self, name: str) -> int:
        described = [artifact.describe(name) for artifact in self.opened]
        return sum(math.prod(each["shape"]) * np.dtype(each["dtype"]).itemsize for each in described)

    def rows(self, name: str, ids: list[str], axis: str) -> tuple[np.ndarray, list[int]]:
        """Rows of the given videos in their order, and how many each one has."""
        values = [np.moveaxis(artifact[name], 1, 0) if axis == "second" else artifact[name] for artifact in self.opened]
        parts = []
        for key in ids:
            n = self.where[key]
            index = self.indices[n]
            if axis == "ragged":
                parts.append(values[n][index.ragged_rows(key)])
            else:
                parts.append(values[n][index.position(key) : index.position(key) + 1])
        return (np.concatenate(parts) if parts else values[0][:0]), [len(part) for part in parts]


def _compare_arrays(first: list[Path], second: list[Path], result: Difference) -> None:
    with contextlib.ExitStack() as stack:
        a, b = (_Side([stack.enter_context(Arrays(path)) for path in paths]) for paths in (first, second))
        result.provenance = provenance_difference(a.attributes["provenance"], b.attributes["provenance"])
        result.videos = (sorted(a.where.keys() - b.where.keys()), sorted(b.where.keys() - a.where.keys()))
        ids = [key for key in a.where if key in b.where]
        result.content = _pairs_that_differ(flattened(a.content()), flattened(b.content()))
        for name in dict.fromkeys([*a.names, *b.names]):
            if name in ("offsets", "row") and a.where:
                continue  # positions: they follow the rows that are compared
            if name not in a.names or name not in b.names:
                found = ArrayDifference(name, f"only in the {'first' if name in a.names else 'second'}")
            elif len(first) + len(second) > 2 and (size := max(a.bytes(name), b.bytes(name))) > MAX_JOINED_BYTES:
                words = f"{readable(size)} are too much to join over different shards; make both with equal data.shards"
                found = ArrayDifference(name, words)
            else:
                found = _compare_one(name, a, b, ids)
            if found:
                result.arrays.append(found)


def _compare_one(name: str, a: _Side, b: _Side, ids: list[str]) -> ArrayDifference | None:
    axis = a.axis(name)
    if axis == "none":
        whole = a.opened[0][name], b.opened[0][name]
        if whole[0].shape != whole[1].shape:
            shapes = " and ".join("×".join(map(str, side.shape)) for side in whole)
            return ArrayDifference(name, f"shapes {shapes}")
        return value_difference(name, *whole)
    rows_a, lengths_a = a.rows(name, ids, axis)
    rows_b, lengths_b = b.rows(name, ids, axis)
    if lengths_a == lengths_b:
        return value_difference(name, rows_a, rows_b)
    equal = np.array(lengths_a) == np.array(lengths_b)
    found = value_difference(name, rows_a[np.repeat(equal, lengths_a)], rows_b[np.repeat(equal, lengths_b)])
    words = f"{int((~equal).sum())} of {len(ids)} videos have another number of rows"
    return ArrayDifference(name, f"{words}; of the others {str(found).partition(': ')[2]}" if found else words)


def _key_columns(first: pa.Table, second: pa.Table) -> list[str]:
    """Columns that tell the rows of both tables apart; empty if only their position does."""
    if "video_id" in first.column_names:
        return ["video_id"]
    chosen = []
    for name in first.column_names:
        if pa.types.is_string(first.schema.field(name).type) and name in second.column_names:
            chosen.append(name)
            if all(
                table.select(chosen).group_by(chosen).aggregate([]).num_rows == len(table) for table in (first, second)
            ):
                return chosen
    return []


def _compare_tables(first: list[Path], second: list[Path], result: Difference) -> None:
    read = [[read_table(path) for path in paths] for paths in (first, second)]
    records = [side[0][1] for side in read]
    result.provenance = provenance_difference(records[0]["provenance"], records[1]["provenance"])
    content = ({key: value for key, value in record.items() if key not in NOT_COMPARED} for record in records)
    result.content = _pairs_that_differ(*map(flattened, content))
    a, b = (pa.concat_tables([table for table, _ in side], promote_options="permissive") for side in read)
    for name in sorted({*a.column_names} ^ {*b.column_names}):
        side = "first" if name in a.column_names else "second"
        result.arrays.append(ArrayDifference(name, f"only in the {side}"))
    keys = _key_columns(a, b)
    if not keys and len(a) != len(b):
        result.arrays.append(ArrayDifference("rows", f"{len(a)} and {len(b)}"))
        return
    places = []
    for table in (a, b):
        columns = [table[name].to_pylist() for name in keys] or [range(len(table))]
        places.append({key: i for i, key in enumerate(zip(*columns, strict=True))})
    names = [[" ".join(map(str, key)) for key in side if key not in other] for side, other in (places, places[::-1])]
    result.videos = (sorted(names[0]), sorted(names[1]))
    common = [key for key in places[0] if key in places[1]]
    for name in (column for column in a.column_names if column in b.column_names and column not in keys):
        values = [
            table[name].take(pa.array([place[key] for key in common], pa.int64()))
            for table, place in zip((a, b), places, strict=True)
        ]
        found = _column_difference(name, *values)
        if found:
            result.arrays.append(found)


def _column_difference(name: str, first: pa.ChunkedArray, second: pa.ChunkedArray) -> ArrayDifference | None:
    if all(pa.types.is_floating(column.type) for column in (first, second)):
        numbers = (column.to_numpy(zero_copy_only=False).astype(np.float64) for column in (first, second))
        return value_difference(name, *numbers)
    unequal = sum(x != y for x, y in zip(first.to_pylist(), second.to_pylist(), strict=True))
    return ArrayDifference(name, rows=len(first), rows_differing=unequal) if unequal else None


def compare_artifacts(first: list[Path], second: list[Path], name: str) -> Difference:
    """Compare one artifact, or all shards of one kind, of two caches.

    Args:
        name: what the difference is called.
    """
    result = Difference(name)
    reports = [[inspect_artifact(path) for path in side] for side in (first, second)]
    problems = [report.problem for side in reports for report, _ in side if report.problem]
    if problems:
        result.problem = problems[0]
        return result
    if len(first) == len(second) == 1:
        (a, attributes_a), (b, attributes_b) = reports[0][0], reports[1][0]
        if a.content == b.content:
            result.provenance = provenance_difference(attributes_a["provenance"], attributes_b["provenance"])
            return result
    (_compare_tables if first[0].suffix == ".parquet" else _compare_arrays)(first, second, result)
    return result


def _by_kind(folder: Path) -> dict[str, dict[str, Path]]:
    """Pattern → shard → path."""
    result: dict[str, dict[str, Path]] = {}
    for path in artifacts_in(folder):
        kind, shard = kind_of(path.relative_to(folder).as_posix())
        result.setdefault(kind, {})[shard] = path
    return result


def _metrics(first: Path, second: Path) -> Iterator[Difference]:
    """The figures of both runs."""
    paths = [folder / "metrics.json" for folder in (first, second)]
    present = [path.is_file() for path in paths]
    if not any(present):
        return
    if not all(present):
        yield Difference("metrics.json", only="first" if present[0] else "second")
        return
    try:
        values = [flattened(json.loads(path.read_text())) for path in paths]
    except ValueError as error:
        yield Difference("metrics.json", problem=f"metrics.json is not JSON: {error}")
        return
    # How long something took says nothing about what came out.
    figures = [{key: value for key, value in side.items() if "seconds" not in key.split(".")} for side in values]
    yield Difference("metrics.json", content=_pairs_that_differ(*figures))


def compare_caches(first: Path, second: Path) -> Iterator[Difference]:
    """Differences of two results folders, or of two artifacts, one by one; what is equal in all is left out.

    Raises:
        InspectionError: a folder is compared with a file, or one holds no artifact.
    """
    for path in (first, second):
        if not path.exists():
            raise InspectionError(f"{path} does not exist")
    if first.is_file() != second.is_file():
        raise InspectionError("a folder and a file cannot be compared; name two of a kind")
    if first.is_file():
        yield from filter(None, [compare_artifacts([first], [second], first.name)])
        return
    kinds = [_by_kind(folder) for folder in (first, second)]
    for kind in sorted(kinds[0].keys() | kinds[1].keys()):
        a, b = (side.get(kind, {}) for side in kinds)
        if not a or not b:
            yield Difference(kind, only="first" if a else "second")
        elif _shard_counts(a) == _shard_counts(b):
            for shard in sorted(a.keys() | b.keys()):
                name = kind.replace("{shard}", shard)
                if shard in a and shard in b:
                    yield from filter(None, [compare_artifacts([a[shard]], [b[shard]], name)])
                else:
                    yield Difference(name, only="first" if shard in a else "second")
        else:
            yield from filter(None, [compare_artifacts(list(a.values()), list(b.values()), kind)])
    yield from filter(None, _metrics(first, second))


def _shard_counts(shards: Iterable[str]) -> set[str]:
    return {shard.rpartition("-")[2] for shard in shards}
