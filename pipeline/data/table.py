"""The index as the later stages see it: rows that are ok, found by ``video_id`` or by split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.data.entries import shard_of
from pipeline.jobs.stage import Job, StageError


@dataclass(frozen=True)
class VideoTable:
    """Videos of a data set in the order of their ids.

    Attributes:
        video_id, path, split, group: object arrays ``[n]``.
        label: int32 ``[n]``, index into ``class_names``.
        frames: per video the first frame and the end of an excerpt, None for a whole file; None if all are whole.
    """

    video_id: np.ndarray
    path: np.ndarray
    label: np.ndarray
    split: np.ndarray
    group: np.ndarray
    class_names: list[str]
    frames: list[tuple[int, int] | None] | None = None

    def __len__(self) -> int:
        return len(self.video_id)

    def take(self, chosen: np.ndarray) -> VideoTable:
        """Rows by mask or index."""
        return VideoTable(
            self.video_id[chosen],
            self.path[chosen],
            self.label[chosen],
            self.split[chosen],
            self.group[chosen],
            self.class_names,
            self.frames and [self.frames[row] for row in np.arange(len(self))[chosen]],
        )

    def files(self) -> list[tuple[str, str, tuple[int, int] | None]]:
        """Id, path and excerpt of every video, for stages that open them."""
        return list(zip(self.video_id, self.path, self.frames or [None] * len(self), strict=True))

    def in_shard(self, index: int, count: int) -> VideoTable:
        return self.take(np.array([shard_of(key, count) == index for key in self.video_id], bool))

    def rows_of(self, ids: list[str]) -> np.ndarray:
        """Row per id, −1 where the index does not know it: int64 ``[len(ids)]``."""
        where = {key: row for row, key in enumerate(self.video_id)}
        return np.array([where.get(key, -1) for key in ids], np.int64)


def read_index(job: Job) -> VideoTable:
    """Videos of the job's index artifact whose status is ok, restricted to the job's shard if it has one."""
    table, attributes = job.read_table("index")
    columns = {name: np.array(table[name].to_pylist(), object) for name in ("video_id", "path", "split", "group")}
    ok = np.array(table["status"].to_pylist(), object) == "ok"
    order = np.argsort(columns["video_id"].astype(str), kind="stable")
    order = order[ok[order]]
    label = np.array(table["label"].to_pylist(), np.int32)
    excerpts = list(zip(table["first_frame"].to_pylist(), table["end_frame"].to_pylist(), strict=True))
    frames = [None if excerpts[row][0] is None else excerpts[row] for row in order]
    videos = VideoTable(
        *(columns[name][order] for name in ("video_id", "path")),
        label[order],
        columns["split"][order],
        columns["group"][order],
        attributes["class_names"],
        frames,
    )
    if not job.shard:
        return videos
    videos = videos.in_shard(*job.shard)
    job.note_videos(dict(zip(videos.video_id, videos.path, strict=True)))
    return videos


def listed_ids(job: Job) -> dict[str, list[str]]:
    """Ids in the order of the data set's own lists, failed ones included: split as listed → ids.

    Matrices that others extracted have their rows in this order.
    """
    table, _ = job.read_table("index")
    result: dict[str, list[str]] = {}
    for listed, video_id in zip(table["listed"].to_pylist(), table["video_id"].to_pylist(), strict=True):
        result.setdefault(listed, []).append(video_id)
    return result


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
