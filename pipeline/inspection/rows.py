"""The rows of one video in an artifact."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.inspection.cache import InspectionError, attributes_of, nearest
from pipeline.inspection.text import shape
from pipeline.store.arrays import Arrays
from pipeline.store.inspect import inspect_artifact, texts_by_video
from pipeline.store.tables import read_table

# Arrays whose videos are not along the first axis; and arrays and attributes that have nothing to do with videos, but
# may happen to be as long as there are some.
VIDEO_AXIS = {("concept_layers", "map_activations"): 1}
NOT_OF_VIDEOS = {
    "pseudo_labels": ("texts", "types", "names"),
    "concept_layers": (
        *("map_mean", "map_std", "map_weight", "mean", "std", "weight"),
        *("kinds", "names", "types", "map_names", "map_types"),
    ),
}

# Values of a row that are printed.
VALUES = 8


@dataclass
class VideoRows:
    """What an artifact holds of one video.

    Attributes:
        values: name → rows: one row ``[...]`` of arrays with a row per video, several ``[n, ...]`` of ragged ones, a
            list for columns of tables.
        ragged: names of arrays with several rows per video.
        failed: why the video has no rows; empty if it has.
    """

    path: str
    video_id: str
    values: dict[str, Any] = field(default_factory=dict)
    ragged: set[str] = field(default_factory=set)
    failed: str = ""


class RowIndex:
    """Where the rows of each video are in an opened array artifact."""

    def __init__(self, artifact: Arrays):
        self.schema: str = artifact.attributes.get("schema", "")
        self.video_id: list[str] = artifact.attributes.get("video_id", [])
        self.shapes = {name: artifact.describe(name)["shape"] for name in artifact.names()}
        self._position = {key: i for i, key in enumerate(self.video_id)}
        self._offsets = artifact["offsets"] if "offsets" in self.shapes else None
        # Clips of videos carry the number of their video instead of offsets.
        self._row = artifact["row"] if "row" in self.shapes else None

    def length(self) -> int | None:
        """Rows of the ragged arrays, None where there are none."""
        if self._offsets is not None:
            return int(self._offsets[-1])
        return None if self._row is None else len(self._row)

    def ragged_rows(self, video_id: str) -> slice | np.ndarray:
        """Rows of a video in the ragged arrays."""
        i = self._position[video_id]
        if self._offsets is not None:
            return slice(int(self._offsets[i]), int(self._offsets[i + 1]))
        return np.flatnonzero(self._row == i)

    def axis(self, name: str) -> str:
        """How an array is arranged: ``ragged``, ``video``, ``second`` (videos along the second axis) or ``none``."""
        if not self.video_id or name in NOT_OF_VIDEOS.get(self.schema, ()):
            return "none"
        if (self.schema, name) in VIDEO_AXIS:
            return "second"
        if name in ("offsets", "row"):
            return "none"
        side = self.shapes[name][0]
        if side == self.length():
            return "ragged"
        return "video" if side == len(self.video_id) else "none"

    def position(self, video_id: str) -> int:
        return self._position[video_id]


def _of_arrays(path: Path, video_id: str) -> VideoRows:
    rows = VideoRows(str(path), video_id)
    with Arrays(path) as artifact:
        index = RowIndex(artifact)
        attributes = artifact.attributes
        failed = {item["video_id"]: item["reason"] for item in attributes.get("failed", [])}
        if video_id in failed:
            rows.failed = failed[video_id]
            return rows
        for name, part in (("decoder", "decoders"), ("note", "notes")):
            if text := texts_by_video(attributes["provenance"], part).get(video_id):
                rows.values[name] = text
        if not index.video_id:
            raise InspectionError(f"{path} has no rows of videos; it holds {', '.join(index.shapes)}")
        if video_id not in index.video_id:
            raise InspectionError(f"{path} has no video `{video_id}`{nearest(video_id, [*index.video_id, *failed])}")
        i = index.position(video_id)
        own = index.ragged_rows(video_id) if index.length() is not None else slice(0)
        for name, value in attributes.items():
            others = ("video_id", "failed", *NOT_OF_VIDEOS.get(index.schema, ()))
            if name in others or not isinstance(value, list):
                continue
            if len(value) == len(index.video_id):
                rows.values[name] = value[i]
            elif len(value) == index.length():
                rows.values[name] = np.array(value, object)[own].tolist()
                rows.ragged.add(name)
        for name in index.shapes:
            axis = index.axis(name)
            if axis == "ragged":
                rows.values[name] = artifact.part(name, own) if isinstance(own, slice) else artifact[name][own]
                rows.ragged.add(name)
            elif axis == "video":
                rows.values[name] = artifact.part(name, slice(i, i + 1))[0]
            elif axis == "second":
                rows.values[name] = artifact[name][:, i]
    return rows


def _of_table(path: Path, video_id: str) -> VideoRows:
    table, attributes = read_table(path)
    rows = VideoRows(str(path), video_id)
    if "video_id" not in table.column_names:
        raise InspectionError(f"{path} has no rows of videos; its columns are {', '.join(table.column_names)}")
    ids = table["video_id"].to_pylist()
    failed = {item["video_id"]: item["reason"] for item in attributes.get("failed", [])}
    if video_id in ids:
        (rows.values,) = table.drop_columns("video_id").slice(ids.index(video_id), 1).to_pylist()
    elif video_id in failed:
        rows.failed = failed[video_id]
    else:
        raise InspectionError(f"{path} has no video `{video_id}`{nearest(video_id, [*ids, *failed])}")
    return rows


def video_rows(path: Path, video_id: str) -> VideoRows:
    """Everything that one artifact holds of one video.

    Raises:
        InspectionError: the artifact cannot be read, does not know the video (with the nearest names), or has no rows
            of videos.
    """
    attributes_of(path)
    return (_of_table if path.suffix == ".parquet" else _of_arrays)(path, video_id)


def known_videos(path: Path) -> list[str]:
    """Ids of all videos that an artifact has rows of, or lists as failed; none where it is unreadable."""
    report, attributes = inspect_artifact(path)
    if "video_id" in report.arrays and path.suffix == ".parquet":
        ids = read_table(path)[0]["video_id"].to_pylist()
    else:
        ids = attributes.get("video_id", [])
    return [*ids, *(item["video_id"] for item in report.failed)]


def described(values: Any, n_rows: int, ragged: bool) -> list[str]:
    """Rows as lines of text: shape and range, then the first values of the first rows."""
    if not isinstance(values, np.ndarray):
        return [str(values)]
    head = f"{shape(list(values.shape)) or 'scalar'} {values.dtype}"
    if values.dtype != bool and values.size > 1:
        finite = values[np.isfinite(values)].astype(np.float64)
        if finite.size:
            head += f", {finite.min():.4g} to {finite.max():.4g}, mean {finite.mean():.4g}"
        if finite.size < values.size:
            head += f", {values.size - finite.size} not finite"
    rows = values[:n_rows] if ragged else values[None]
    lines = [head]
    for row in rows.reshape(len(rows), -1):
        shown = " ".join(str(value) if values.dtype.kind in "biu" else f"{value:.4g}" for value in row[:VALUES])
        lines.append(f"{shown} …" if len(row) > VALUES else shown)
    if ragged and len(values) > n_rows:
        lines.append(f"… {len(values) - n_rows} more rows")
    return lines
