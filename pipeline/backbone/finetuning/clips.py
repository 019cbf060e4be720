"""Clips of the train and validation split in one uncompressed file, from which any row is read at once.

The artifacts of stage `decode` are compressed and checked as wholes; a training reads their rows in another order fifty
times. Test clips are never copied.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.entries import DEVELOPMENT
from pipeline.data.table import VideoTable
from pipeline.jobs.stage import Job, StageError
from pipeline.store.atomic import replace_when_done


def gather(job: Job, videos: VideoTable, path: Path) -> tuple[dict[str, dict[str, list[int]]], list[str]]:
    """Copy the clips of both splits into one ``.npy`` file; its rows are those videos in the order of their ids.

    Videos that could not be decoded leave a gap in the file that nobody reads.

    Returns:
        (split → ``rows`` in the file, and their ``labels``; content digests of the artifacts).

    Raises:
        StageError: a split has no clip.
    """
    videos = videos.take(np.isin(videos.split.astype(str), DEVELOPMENT))
    row_of = {key: row for row, key in enumerate(videos.video_id)}
    decoded: list[int] = []
    digests: list[str] = []
    with replace_when_done(path) as temporary:
        file: np.memmap | None = None
        for arrays, described in job.read_arrays("clips"):
            frames = arrays["frames"]
            digests.append(described["content_digest"])
            if file is None:
                shape = (len(videos), *frames.shape[1:])
                file = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
            for source, key in enumerate(described["video_id"]):
                if key in row_of:
                    file[row_of[key]] = frames[source]
                    decoded.append(row_of[key])
        if file is not None:
            file.flush()
    rows = np.sort(np.array(decoded, np.int64))
    result = {}
    for split in DEVELOPMENT:
        own = rows[videos.split[rows] == split]
        if not len(own):
            raise StageError(f"no clip of the split `{split}` could be decoded; fine-tuning needs train and validation")
        result[split] = {"rows": own.tolist(), "labels": videos.label[own].tolist()}
    return result, digests
