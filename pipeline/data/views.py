"""Stage `views`: more frames of every train video, out of which each epoch of fine-tuning draws a clip of its own.

VideoMAE decodes each video anew in each epoch: for uniform sampling it takes some frame of every segment, for dense
sampling a clip that begins somewhere. Here a video is read once, and K frames of each segment, or K clips, are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from pipeline.data.decode import Decoding, keep_frames
from pipeline.data.isolated import Decoder
from pipeline.data.readers import VideoError, open_video, sample_indices
from pipeline.data.settings import Decode
from pipeline.data.table import read_index
from pipeline.jobs import stage


def sample_views(n_frames: int, n: int, n_views: int, mode: str = "uniform", stride: int = 4) -> np.ndarray:
    """Frames that clips are drawn from, int32 ``[n_views, n]``; nothing is random yet (`finetuning.recipe.draw_clip`).

    ``uniform``: position i of a clip is segment i of ``n`` equal ones, and the column holds the centres of ``n_views``
    equal parts of that segment: with as many views as a segment has frames, all of them. ``dense``: every row is a
    clip of every ``stride``-th frame; the first begins the video, the last ends it, the others begin at equal
    distances. One view is the clip of stage `decode`.

    Raises:
        ValueError: an argument is out of range.
    """
    if n_views < 1:
        raise ValueError(f"n_views must be at least 1, got {n_views}")
    if mode == "uniform":
        return sample_indices(n_frames, n_views * n, mode).reshape(n, n_views).T
    middle = sample_indices(n_frames, n, mode, stride)
    if n_views == 1:
        return middle[None]
    last = max(0, n_frames - ((n - 1) * stride + 1))
    starts = np.round(np.linspace(0, last, n_views)).astype(np.int32)
    return np.minimum(starts[:, None] + np.arange(n, dtype=np.int32) * stride, n_frames - 1)


def decode_views(path, settings: Decode, n_views: int, opener: Callable | None = None) -> np.ndarray:
    """Read one video in a single pass: uint8 ``[n_views, n_frames, size, size, 3]``; see `sample_views`.

    Args:
        opener: path and backend → opened video; by default `open_video` with these settings.

    Raises:
        VideoError: with the reason in words.
    """

    def choose(n_frames: int) -> np.ndarray:
        return sample_views(n_frames, settings.n_frames, n_views, settings.sampling, settings.stride)

    opener = opener or partial(open_video, min_fraction=settings.min_fraction)
    with opener(path, settings.backend) as video:
        wanted, kept, _ = keep_frames(video, settings, choose)
    return np.stack([[kept[int(index)] for index in view] for view in wanted])


def build(job: stage.Job) -> None:
    """Write the views of the train videos of one shard."""
    settings, n_views = Decode.model_validate(job.settings["decode"]), job.settings["views"]
    videos = read_index(job)
    videos = videos.take(videos.split.astype(str) == "train")
    # The whole shard is in memory; a list of its parts would double that when it is joined.
    views = np.zeros((len(videos), n_views, settings.n_frames, settings.size, settings.size, 3), np.uint8)
    ids: list[str] = []
    failed: dict[str, str] = {}
    decoding = Decoding()
    with Decoder(**job.runtime.decoder) as decoder:
        for video_id, path, frames in stage.progress(videos.files(), "views"):
            try:
                opener = partial(
                    decoding.open, decoder.open, video_id, frames=frames, min_fraction=settings.min_fraction
                )
                views[len(ids)] = decode_views(job.root / path, settings, n_views, opener)
                ids.append(video_id)
            except VideoError as error:
                failed[video_id] = str(error)
    job.check_failures(failed, len(videos), settings.max_failed_fraction, slack=1)
    job.write_arrays(
        "views",
        {"frames": views[: len(ids)]},
        {"video_id": ids},
        n_ok=len(ids),
        failed=failed,
        **decoding.record(),
    )


if __name__ == "__main__":
    stage.run("views", build)
