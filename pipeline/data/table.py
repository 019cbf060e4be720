"""The tables of the stages `videos` and `index`: the columns they share, and what later stages see of them.

A stage that needs no label and no split reads the videos: the experiments on them then share what it makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeVar

import numpy as np

from pipeline.data.entries import Entry, Segment, shard_of
from pipeline.jobs.stage import Job, StageError


def columns_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """The columns that both tables have: one row per video, in the order of the data set's lists."""
    import pyarrow as pa

    first, end = zip(*(entry.frames or (None, None) for entry in entries), strict=True)
    return {
        "video_id": [entry.video_id for entry in entries],
        "path": [entry.path for entry in entries],
        "first_frame": pa.array(first, pa.int32()),
        "end_frame": pa.array(end, pa.int32()),
        "listed": [entry.listed for entry in entries],
        "status": ["failed" if entry.problem else "ok" for entry in entries],
        "reason": [entry.problem or "" for entry in entries],
    }


@dataclass(frozen=True)
class Files:
    """Videos of a data set in the order of their ids.

    Attributes:
        video_id, path: object ``[n]``.
        frames: object ``[n]``: first frame and end of an excerpt, None for a whole file.
    """

    video_id: np.ndarray
    path: np.ndarray
    frames: np.ndarray

    def __len__(self) -> int:
        return len(self.video_id)

    def take(self, chosen: np.ndarray) -> Self:
        """Rows by mask or index."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: own[chosen] for name, own in columns.items() if isinstance(own, np.ndarray)})

    def files(self) -> list[tuple[str, str, tuple[int, int] | None]]:
        """Id, path and excerpt of every video, for stages that open them."""
        return list(zip(self.video_id, self.path, self.frames, strict=True))

    def in_shard(self, index: int, count: int) -> Self:
        return self.take(np.array([shard_of(key, count) == index for key in self.video_id], bool))

    def rows_of(self, ids: list[str]) -> np.ndarray:
        """Row per id, −1 where the table does not know it: int64 ``[len(ids)]``."""
        where = {key: row for row, key in enumerate(self.video_id)}
        return np.array([where.get(key, -1) for key in ids], np.int64)


@dataclass(frozen=True)
class Videos(Files):
    """Videos without what an experiment says about them; see `Files`.

    Attributes:
        developed: bool ``[n]``: some experiment trains on it or validates with it.
    """

    developed: np.ndarray


@dataclass(frozen=True)
class VideoTable(Files):
    """Videos with their labels and splits; see `Files`.

    Attributes:
        labels: object ``[n]`` of int32 ``[n_labels]``, ascending indices into ``class_names``: none, one or several.
        segments: object ``[n]`` of tuples of `Segment`, in order of time.
        split, group: object ``[n]``.
    """

    labels: np.ndarray
    segments: np.ndarray
    split: np.ndarray
    group: np.ndarray
    class_names: list[str]

    def single_label(self, who: str = "this method") -> np.ndarray:
        """The label of every video, int32 ``[n]``, for methods that decide among classes that exclude each other.

        Args:
            who: decides, for the message.

        Raises:
            StageError: a video has none or several.
        """
        counts = np.array([len(own) for own in self.labels], int)
        wrong = np.flatnonzero(counts != 1)
        if len(wrong):
            names = ", ".join(self.class_names[label] for label in self.labels[wrong[0]])
            raise StageError(
                f"{who} decides between mutually exclusive classes; {len(wrong)} of {len(self)} videos have none or "
                f"several labels, for example `{self.video_id[wrong[0]]}` has {counts[wrong[0]]}"
                f"{f' ({names})' if names else ''}; give each video one label, or choose a method for label sets"
            )
        return np.array([own[0] for own in self.labels], np.int32)


def objects(values: Sequence[Any]) -> np.ndarray:
    """An object array ``[n]``; of arrays or tuples of one length `np.array` would make a matrix."""
    return np.fromiter(values, object, len(values))


T = TypeVar("T", bound=Files)


def _ok(table: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rows whose status is ok, in the order of their ids, and the columns of `Files`."""
    ids = np.array(table["video_id"].to_pylist(), object)
    ok = np.array(table["status"].to_pylist(), object) == "ok"
    order = np.argsort(ids.astype(str), kind="stable")
    order = order[ok[order]]
    excerpts = zip(table["first_frame"].to_pylist(), table["end_frame"].to_pylist(), strict=True)
    frames = objects([None if first is None else (first, end) for first, end in excerpts])
    path = np.array(table["path"].to_pylist(), object)
    return order, {"video_id": ids[order], "path": path[order], "frames": frames[order]}


def _of_shard(job: Job, videos: T) -> T:
    if not job.shard:
        return videos
    videos = videos.in_shard(*job.shard)
    job.note_videos(dict(zip(videos.video_id, videos.path, strict=True)))
    return videos


def read_videos(job: Job) -> Videos:
    """Videos of the job's artifact ``videos`` whose status is ok, restricted to the job's shard if it has one."""
    table, _ = job.read_table("videos")
    order, columns = _ok(table)
    return _of_shard(job, Videos(**columns, developed=np.array(table["developed"].to_pylist(), bool)[order]))


def read_index(job: Job) -> VideoTable:
    """Videos of the job's artifact ``index`` whose status is ok, restricted to the job's shard if it has one."""
    table, attributes = job.read_table("index")
    order, columns = _ok(table)
    labels = [np.array(own, np.int32) for own in table["labels"].to_pylist()]
    segments = [tuple(Segment(**segment) for segment in own) for own in table["segments"].to_pylist()]
    videos = VideoTable(
        **columns,
        labels=objects(labels)[order],
        segments=objects(segments)[order],
        split=np.array(table["split"].to_pylist(), object)[order],
        group=np.array(table["group"].to_pylist(), object)[order],
        class_names=attributes["class_names"],
    )
    return _of_shard(job, videos)


def listed_ids(job: Job) -> dict[str, list[str]]:
    """Ids in the order of the data set's own lists, failed ones included: split as listed → ids.

    Matrices that others extracted have their rows in this order.
    """
    table, _ = job.read_table("videos")
    result: dict[str, list[str]] = {}
    for listed, video_id in zip(table["listed"].to_pylist(), table["video_id"].to_pylist(), strict=True):
        result.setdefault(listed, []).append(video_id)
    return result


def all_ids(job: Job) -> list[str]:
    """Ids of all videos of the data set."""
    return [key for ids in listed_ids(job).values() for key in ids]


@dataclass(frozen=True)
class Rows:
    """Rows of a sharded artifact, joined over the shards.

    Attributes:
        video_id: ids of the rows.
        values: ``[n, ...]``.
        failed: id → reason of the videos that have no row.
        attributes: those of the first shard.
    """

    video_id: list[str]
    values: np.ndarray
    failed: dict[str, str]
    attributes: dict


def join_shards(job: Job, name: str, array: str) -> Rows:
    """Concatenate one array of all shards of an input."""
    ids: list[str] = []
    parts: list[np.ndarray] = []
    failed: dict[str, str] = {}
    first: dict = {}
    for arrays, attributes in job.read_arrays(name):
        first = first or attributes
        ids += attributes["video_id"]
        parts.append(arrays[array])
        failed.update({item["video_id"]: item["reason"] for item in attributes["failed"]})
    filled = [part for part in parts if len(part)] or parts[:1]
    if not ids:
        raise StageError(f"{name}: no video has a row; all failed, for example: {dict(list(failed.items())[:5])}")
    return Rows(ids, np.concatenate(filled), failed, first)
