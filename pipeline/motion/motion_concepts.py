"""Stage `motion_concepts`: clusters of key clips are the motion dynamics concepts (DANCE eq. 1 and 2)."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.data.entries import DEVELOPMENT
from pipeline.data.entries import video_id as id_of_path
from pipeline.data.table import VideoTable, join_shards, read_index
from pipeline.exchange import pickles
from pipeline.jobs import stage
from pipeline.motion.clustering import kmeans, self_organizing_map
from pipeline.motion.finch import (
    Partition,
    assign,
    cluster_means,
    finch,
    medoids,
    refine_to,
)
from pipeline.motion.pose_clips import KEYS
from pipeline.motion.search import search_device
from pipeline.motion.settings import MotionConcepts
from pipeline.motion.skeleton import TRACKS
from pipeline.motion.skeleton import skeleton as named_skeleton
from pipeline.motion.tracks import windows
from pipeline.motion.words import describe


def discover(
    flat: np.ndarray, video: np.ndarray, settings: MotionConcepts, device: str = "cpu"
) -> tuple[np.ndarray, list[int]]:
    """Cluster the key clips of the development videos.

    Args:
        flat: ``[n, L * J * 2]`` flattened, normalised poses.
        video: int ``[n]``, which video a clip comes from.
        device: where neighbours are searched, see `pipeline.motion.search`.

    Returns:
        labels int32 ``[n]``, −1 for clips of clusters seen in fewer than ``min_videos`` videos; and the number of
        clusters of every FINCH partition, finest first.
    """
    partitions = finch(flat, settings.metric, device) if settings.method == "finch" else []
    sizes = [partition.n_clusters for partition in partitions]
    if settings.method == "kmeans":
        if settings.n_concepts > len(flat):
            raise stage.StageError(
                f"motion_concepts.n_concepts is {settings.n_concepts}, but there are only {len(flat)} key clips"
            )
        labels = kmeans(flat, settings.n_concepts, settings.metric, settings.seed, device)
    elif settings.method == "som":
        labels = self_organizing_map(flat, settings.n_concepts, settings.metric)
    else:
        partition = choose_partition(partitions, settings)
        if settings.n_concepts is not None and not settings.nearest:
            partition = refine_to(flat, partition, settings.n_concepts, settings.metric)
        labels = partition.labels
    pairs = np.unique(np.stack([labels, video], 1), axis=0)
    n_videos = np.bincount(pairs[:, 0], minlength=labels.max() + 1)
    kept = np.flatnonzero(n_videos >= settings.min_videos)
    if not len(kept):
        raise stage.StageError(f"no cluster is seen in {settings.min_videos} videos; lower motion_concepts.min_videos")
    renumbered = np.full(labels.max() + 1, -1, np.int32)
    renumbered[kept] = np.arange(len(kept))
    return renumbered[labels], sizes


def choose_partition(partitions: list[Partition], settings: MotionConcepts) -> Partition:
    """FINCH's partition of the wanted number, or of about the wanted number of clusters.

    That is the one whose count is nearest, the finer of two equally near; or, where it is not to be the nearest, the
    coarsest that has at least so many, which `refine_to` then reduces. The paper always takes the second partition.

    Raises:
        StageError: there is no such partition.
    """
    counts = [partition.n_clusters for partition in partitions]
    wanted = settings.n_concepts
    if settings.partition is not None:
        if not 0 <= settings.partition < len(partitions):
            raise stage.StageError(
                f"motion_concepts.partition is {settings.partition}, but FINCH found only {len(partitions)} partitions "
                f"of {counts} clusters"
            )
        return partitions[settings.partition]
    if wanted is None:
        return partitions[min(1, len(partitions) - 1)]
    if settings.nearest:
        return min(partitions, key=lambda partition: abs(partition.n_clusters - wanted))
    finer = [partition for partition in partitions if partition.n_clusters >= wanted]
    if not finer:
        raise stage.StageError(
            f"motion_concepts.n_concepts is {wanted}, more than the finest partition has clusters ({counts[0]})"
        )
    return finer[-1]


def multi_hot(labels: np.ndarray, video: np.ndarray, n_videos: int, n_concepts: int) -> np.ndarray:
    """bool ``[n_videos, n_concepts]``: does any key clip of the video lie in the cluster (eq. 2)?"""
    result = np.zeros((n_videos, n_concepts), bool)
    inside = labels >= 0
    result[video[inside], labels[inside]] = True
    return result


def read_published(job: stage.Job, settings: MotionConcepts) -> tuple[list[str], np.ndarray]:
    """Published labels: JSON or pickled rows of ``video_name`` and ``attribute_label``; −1: a video without a clip."""
    ids: list[str] = []
    rows: list[list[int]] = []
    for split, name in settings.path.items():
        path = job.note_file(f"labels_{split}", job.root / name)
        try:
            for item in pickles.load(path) if path.suffix == ".pkl" else json.loads(path.read_text(encoding="utf-8")):
                ids.append(id_of_path(item["video_name"]))
                rows.append([int(value) for value in item["attribute_label"]])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise stage.StageError(
                f"{path}: expected a list of objects with video_name and attribute_label ({str(error)[:200]!r})"
            ) from None
    if len({len(row) for row in rows}) != 1:
        raise stage.StageError(f"motion labels differ in length: {sorted({len(row) for row in rows})}")
    if not all(-1 <= value <= 1 for row in rows for value in row):
        raise stage.StageError("motion labels must be 0, 1, or −1 for a video without a clip")
    return ids, np.array(rows, np.int32)


@dataclass(frozen=True)
class KeyClips:
    """What is clustered: n key clips of all videos, or windows of tracks.

    Attributes:
        shown: what is drawn of each, ``[n, L, J, 2]`` poses or ``[n, L, 4, 6]`` tracks.
        flat: what is compared, ``[n, d]``.
        row: of the video in the index ``[n]``; start: first frame ``[n]``.
        failed: id → reason of the videos without a clip; dropped: reasons of the clips that were.
        skeleton: definition of the joints, or ``tracks``.
    """

    shown: np.ndarray
    flat: np.ndarray
    row: np.ndarray
    start: np.ndarray
    failed: dict[str, str]
    dropped: Counter[str]
    skeleton: Any


def read_pose_clips(job: stage.Job, videos: VideoTable) -> KeyClips:
    """The pose clips of all shards that passed the filters."""
    parts: dict[str, list[np.ndarray]] = {"poses": [], "row": [], "start": []}
    failed: dict[str, str] = {}
    dropped: Counter[str] = Counter()
    skeleton: Any = "coco"
    for arrays, described in job.read_arrays("pose_clips"):
        failed.update({item["video_id"]: item["reason"] for item in described["failed"]})
        skeleton = described["skeleton"]
        dropped.update(reason for reason in described["reason"] if reason)
        row = videos.rows_of(described["video_id"])[arrays["row"]] if len(arrays["row"]) else arrays["row"]
        kept = arrays["kept"] & (row >= 0)
        parts["poses"].append(arrays["poses"][kept])
        parts["row"].append(row[kept])
        parts["start"].append(arrays["start"][kept])
    poses, row, start = (np.concatenate(parts[name]) for name in ("poses", "row", "start"))
    return KeyClips(poses, poses.reshape(len(poses), math.prod(poses.shape[1:])), row, start, failed, dropped, skeleton)


def read_windows(job: stage.Job, videos: VideoTable, truth: bool, length: int, stride: int) -> KeyClips:
    """Windows of tracks of all shards, their changes standardised by those of train and validation."""
    tracks = join_shards(job, "tracks", "truth" if truth else "found")
    rows = videos.rows_of(tracks.video_id)
    known = rows >= 0
    changes, paths, starts = windows(tracks.values[known], length, stride)
    row, start = np.repeat(rows[known], len(starts)), np.tile(starts, int(known.sum()))
    changes = changes.reshape(len(row), length - 1, -1)
    flat = standardised(changes, np.isin(videos.split[row], DEVELOPMENT))
    return KeyClips(paths.reshape(len(row), *paths.shape[2:]), flat, row, start, tracks.failed, Counter(), TRACKS)


def standardised(changes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Changes ``[n, L − 1, 6]`` in standard deviations of those seen, at most 4, as vectors ``[n, (L − 1) × 6]``."""
    mean, std = changes[seen].mean((0, 1)), changes[seen].std((0, 1)) + 1e-3
    return np.clip((changes - mean) / std, -4, 4).reshape(len(changes), -1).astype(np.float32)


def build(job: stage.Job) -> None:
    """Write the concepts (medoids, means) and the labels of every video."""
    tracked = job.settings.get("tracks")
    settings = MotionConcepts.model_validate({key: value for key, value in job.settings.items() if key != "tracks"})
    videos = read_index(job)
    clips = read_windows(job, videos, **tracked) if tracked else read_pose_clips(job, videos)
    order = np.lexsort((clips.start, clips.row))  # the clusters must not depend on the number of shards
    poses, row, start, flat = (values[order] for values in (clips.shown, clips.row, clips.start, clips.flat))
    failed, dropped, skeleton = clips.failed, clips.dropped, clips.skeleton

    if settings.source == "imported":
        ids, published = read_published(job, settings)
        where = videos.rows_of(ids)
        labelled = (published >= 0).all(1) & (where >= 0)
        hot = np.zeros((len(videos), published.shape[1]), bool)
        hot[where[labelled]] = published[labelled] == 1
        has_clips = np.zeros(len(videos), bool)
        has_clips[where[labelled]] = True
        arrays = {
            "medoids": np.zeros((0, *poses.shape[1:]), np.float32),
            "means": np.zeros((0, flat.shape[1]), np.float32),
        }
        content = {"partition_sizes": [], "medoid_video_id": [], "medoid_start": [], "words": []}
        searched = {}
    else:
        # Rule 9 of the cache: clusters see train and validation videos only; all others are assigned afterwards.
        seen = np.isin(videos.split[row], DEVELOPMENT)
        if seen.sum() < 4:
            (reason, count), *_ = dropped.most_common(1) or [("no_keyframes", 0)]
            raise stage.StageError(
                f"only {int(seen.sum())} key clips of train and validation videos passed the filters, and 4 are "
                f"needed; {dropped.total()} clips fell to them, {count} for {reason}; change {KEYS[reason]}"
            )
        joints = named_skeleton(skeleton)
        labels = np.full(len(flat), -1, np.int32)
        device = search_device(job.runtime)
        labels[seen], sizes = discover(flat[seen], row[seen], settings, device)
        searched = {"device": device}
        inside = labels >= 0
        means = cluster_means(flat[inside], labels[inside])
        labels[~seen] = assign(flat[~seen], means, settings.metric) if (~seen).any() else []
        members = np.flatnonzero(inside)
        chosen = members[medoids(flat[members], labels[members], settings.metric)]
        hot = multi_hot(labels, row, len(videos), len(means))
        has_clips = np.bincount(row, minlength=len(videos)) > 0
        arrays = {
            "medoids": poses[chosen],
            "means": means.astype(np.float32),
        }
        content = {
            "partition_sizes": sizes,
            "medoid_video_id": [str(videos.video_id[row[clip]]) for clip in chosen],
            "medoid_start": [int(start[clip]) for clip in chosen],
            "words": [words and words.as_dict() for words in (describe(poses[clip], joints) for clip in chosen)]
            if joints
            else [],
        }

    arrays["n_videos"] = hot[np.isin(videos.split, DEVELOPMENT)].sum(0).astype(np.int32)
    names = [f"motion {number:03d}" for number in range(hot.shape[1])]
    job.write_arrays(
        "motion_concepts",
        arrays,
        {"names": names, "skeleton": skeleton, **content},
        n_ok=len(names),
        clips=len(flat),
        **searched,
    )
    table = pa.table(
        {
            "video_id": videos.video_id[has_clips].tolist(),
            "concepts": pa.array([np.flatnonzero(line).tolist() for line in hot[has_clips]], pa.list_(pa.int32())),
        }
    )
    job.write_table("motion_labels", table, {"names": names}, failed=failed)


if __name__ == "__main__":
    stage.run("motion_concepts", build)
