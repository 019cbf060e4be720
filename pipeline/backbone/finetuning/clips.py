"""Clips of the train and validation split in uncompressed files, from which any row is read at once.

The artifacts of stages `decode` and `views` are compressed and checked as wholes; a training reads their rows in
another order fifty times. Test clips are never copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.data.entries import DEVELOPMENT
from pipeline.data.table import VideoTable
from pipeline.jobs.stage import Job, StageError
from pipeline.store.atomic import replace_when_done


def gather(job: Job, videos: VideoTable, clips: Path, views: Path) -> tuple[dict[str, dict[str, list[int]]], list[str]]:
    """Copy the clips of both splits into one ``.npy`` file, and the views of train videos, if there are, into another.

    Args:
        job: with the artifacts of stage `decode` as input ``clips``, and of stage `views` as input ``views``.
        clips, views: files to write: ``[n, T, H, W, 3]`` and ``[n, n_views, T, H, W, 3]``.

    Returns:
        (split → ``rows`` in the file of clips, and their ``labels``; for train also ``views``, rows of the other file,
        where the job has any; content digests of the artifacts).

    Raises:
        StageError: a split has no clip, or a video has not exactly one label.
    """
    videos = videos.take(np.isin(videos.split.astype(str), DEVELOPMENT))
    row_of, digests = _copy(job, "clips", videos.video_id, clips)
    view_of: dict[str, int] = {}
    if job.given("views"):
        view_of, more = _copy(job, "views", videos.video_id[videos.split == "train"], views)
        digests += more
    result = {}
    for split in DEVELOPMENT:
        own = videos.take(videos.split == split)
        known = [key in row_of and (split != "train" or not view_of or key in view_of) for key in own.video_id]
        own = own.take(np.array(known, bool))
        if not len(own):
            raise StageError(f"no clip of the split `{split}` could be decoded; fine-tuning needs train and validation")
        result[split] = {
            "rows": [row_of[key] for key in own.video_id],
            "labels": own.single_label("fine-tuning").tolist(),
        }
        if split == "train" and view_of:
            result[split]["views"] = [view_of[key] for key in own.video_id]
    return result, digests


def _copy(job: Job, name: str, ids: Sequence[str], path: Path) -> tuple[dict[str, int], list[str]]:
    """Frames of an artifact into one ``.npy`` file with a row per id, in that order.

    Videos that could not be decoded leave a gap in the file that nobody reads.

    Returns:
        (id → row, of those that are there; content digests of the artifacts).
    """
    row_of = {key: row for row, key in enumerate(ids)}
    copied: dict[str, int] = {}
    digests: list[str] = []
    with replace_when_done(path) as temporary:
        file: np.memmap | None = None
        for arrays, described in job.read_arrays(name):
            frames = arrays["frames"]
            digests.append(described["content_digest"])
            if file is None:
                file = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(ids), *frames.shape[1:]))
            for source, key in enumerate(described["video_id"]):
                if key in row_of:
                    file[row_of[key]] = frames[source]
                    copied[key] = row_of[key]
        if file is not None:
            file.flush()
    return copied, digests
