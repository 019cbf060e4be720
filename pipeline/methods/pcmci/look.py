"""What both encoders see of a whole video: rows of single frames at their times, and tokens of clips.

Pixels are never stored: the chosen frames of a video are sought, or kept from one pass over it where that is cheaper,
until they are encoded; memory does not grow with the video's length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.backbone.encoders import Backbone, encode, load_backbone
from pipeline.context.encoders import DualEncoder, load_dual_encoder
from pipeline.data.decode import Decoding, keep_frames
from pipeline.data.isolated import Decoder
from pipeline.data.readers import VideoError, open_video, sample_indices
from pipeline.data.settings import Decode
from pipeline.data.table import read_videos
from pipeline.encoding.hardware import batch_size
from pipeline.jobs import stage
from pipeline.jobs.runtime import AUTO, Runtime

# Frames uint8 [t, size, size, 3] of one video → rows [n, D].
Encode = Callable[[np.ndarray], np.ndarray]


def pictures(
    path: Path, n: int, decode: Decode, opener: Callable | None = None, excerpt: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """``n`` frames evenly over a whole video, uint8 ``[n, size, size, 3]``, and their times in seconds ``[n]``.

    Raises:
        VideoError: with the reason in words.
    """
    with (opener or open_video)(path, decode.backend, frames=excerpt, min_fraction=decode.min_fraction) as video:
        wanted = sample_indices(video.n_frames, n)
        single = np.unique(wanted)
        found = video.sought(single, decode.size) if video.n_frames >= decode.min_frames else None
        if found is not None:
            return found[np.searchsorted(single, wanted)], video.timestamps[wanted]
        wanted, kept, _ = keep_frames(video, decode, lambda count: sample_indices(count, n))
        return np.stack([kept[int(index)] for index in wanted]), video.timestamps[wanted]


def frame_rows(encoder: DualEncoder, frames: np.ndarray, size: int) -> np.ndarray:
    """A unit row per frame ``[L, E]`` of uint8 ``[L, size, size, 3]``."""
    return encoder.videos(frames[:, None], 1, size)


def clip_tokens(backbone: Backbone, frames: np.ndarray, clip_frames: int, size: int) -> np.ndarray:
    """Tokens ``[clips × slices, D]``: of every clip the mean over space of each slice of its map, in order of time.

    Clips go through the encoder one by one in time: given all frames at once, encoders with few positions stretch
    these, which blurs the order.
    """
    clips = frames.reshape(-1, clip_frames, *frames.shape[1:])
    try:
        backbone.frames_taken(clip_frames)
    except stage.StageError as error:
        words = str(error).partition(";")[0]
        raise stage.StageError(f"{words}; set pcmci.tokens.clip_frames") from None
    maps = encode(backbone, clips, size, "maps", then=lambda rows: rows.mean((2, 3), keepdim=True))
    return maps.reshape(-1, maps.shape[-1])


def loaded(named: Mapping[str, str], kind: str, runtime: Runtime = AUTO) -> Any:
    """The dual encoder or the backbone that ``model``, ``revision`` and ``sha256`` name."""
    load = load_dual_encoder if kind == "dual_encoder" else load_backbone
    return load(named["model"], named["revision"], sha256=named["sha256"], runtime=runtime)


def write_rows(job: stage.Job, output: str, n_frames: int, kind: str, rows_of: Callable[[Any, np.ndarray], np.ndarray]):
    """Rows of one encoder for every video of a shard, as float16 beside the times of the frames.

    Args:
        rows_of: encoder and frames → rows.
    """
    named, decode = job.settings["encoder"], Decode.model_validate(job.settings["decode"])
    encoder = loaded(named, kind, job.runtime)
    videos = read_videos(job)
    ids, rows, times, failed = [], [], [], {}
    decoding = Decoding()
    with Decoder(**job.runtime.decoder) as decoder:
        for video_id, path, excerpt in stage.progress(videos.files(), output):
            try:
                opener = partial(decoding.open, decoder.open, video_id)
                seen, when = pictures(job.root / path, n_frames, decode, opener, excerpt)
            except VideoError as error:
                failed[video_id] = str(error)
                continue
            ids.append(video_id)
            rows.append(rows_of(encoder, seen).astype(np.float16))
            times.append(when)
    job.check_failures(failed, len(videos), decode.max_failed_fraction, slack=1)
    arrays = {
        output: np.stack(rows) if rows else np.zeros((0, 1, 1), np.float16),
        "times": np.stack(times) if times else np.zeros((0, n_frames)),
    }
    record = encoder.record(named["model"], named["revision"])
    job.write_arrays(output, arrays, {"video_id": ids}, n_ok=len(ids), failed=failed, **decoding.record(), **record)


class Look:
    """Both encoders of a model, loaded once for many videos.

    Args:
        about: ``frames``, ``tokens``, ``decode``, ``dual_encoder`` and ``backbone`` of the model file.
    """

    def __init__(self, about: Mapping[str, Any], runtime: Runtime = AUTO):
        self.n_frames = about["frames"]["n_frames"]
        self.n_clips, self.clip_frames = about["tokens"]["n_clips"], about["tokens"]["clip_frames"]
        self.decode = Decode.model_validate(about["decode"])
        self.dual = loaded(about["dual_encoder"], "dual_encoder", runtime)
        self.backbone = loaded(about["backbone"], "backbone", runtime)
        self.size = batch_size("dual_encoder", runtime)

    def __call__(self, path: str | Path) -> dict[str, np.ndarray]:
        """``pictures``, ``times``, ``frames`` ``[L, E]``, ``tokens`` ``[L_v, D]``; VideoError if not."""
        seen, times = pictures(Path(path), self.n_frames, self.decode)
        clips, _ = pictures(Path(path), self.n_clips * self.clip_frames, self.decode)
        return {
            "pictures": seen,
            "times": times,
            "frames": frame_rows(self.dual, seen, self.size),
            "tokens": clip_tokens(self.backbone, clips, self.clip_frames, self.size),
        }
