"""Stage `decode`: each video is read once for its model clip and its motion signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np

from pipeline.data.isolated import Decoder
from pipeline.data.readers import Video, VideoError, open_video, resize_and_crop, sample_indices
from pipeline.data.settings import Decode
from pipeline.data.signal import MotionSignal
from pipeline.data.table import read_videos
from pipeline.jobs import stage
from pipeline.store.arrays import ragged


class Decoding:
    """How the videos of one job were decoded, for its provenance."""

    def __init__(self) -> None:
        self._decoders: dict[str, str] = {}
        self._notes: dict[str, str] = {}

    @contextmanager
    def open(
        self, opener: Callable[..., AbstractContextManager[Any]], video_id: str, *args: Any, **options: Any
    ) -> Iterator[Any]:
        """``opener(*args, **options)``, with a look at the video when the caller is done with it."""
        with opener(*args, **options) as video:
            yield video
            self._decoders[video_id] = video.decoder
            if video.note:
                self._notes[video_id] = video.note

    def record(self) -> dict[str, dict[str, str]]:
        """``decoders``: id → the decoder that its frames came from; ``notes``: id → what was unusual, where it was."""
        return {"decoders": dict(sorted(self._decoders.items())), "notes": dict(sorted(self._notes.items()))}


def keep_frames(
    video: Video,
    settings: Decode,
    choose: Callable[[int], np.ndarray],
    watch: Callable[[np.ndarray], None] = lambda batch: None,
) -> tuple[np.ndarray, dict[int, np.ndarray], int]:
    """Chosen frames of a video, as square pictures, in a single pass over all of them.

    Args:
        video: opened; see `open_video`.
        choose: number of frames → indices of those that are wanted, of any shape.
        watch: is shown every batch of frames, uint8 ``[b, H, W, 3]``.

    Returns:
        The indices that were chosen in the end, index → uint8 ``[size, size, 3]`` of at least those, and the number
        of frames that could be decoded.

    Raises:
        VideoError: with the reason in words.
    """
    wanted = choose(video.n_frames)
    kept: dict[int, np.ndarray] = {}
    decoded = 0
    for start, batch in video.batches():
        watch(batch)
        decoded = start + len(batch)
        for index in np.unique(wanted[(wanted >= start) & (wanted < start + len(batch))]):
            kept[int(index)] = resize_and_crop(batch[index - start : index - start + 1], settings.size)[0]
    if decoded < settings.min_frames:
        raise VideoError("too_short", f"{decoded} frames decoded, at least {settings.min_frames} are needed")
    if decoded < video.n_frames:
        # The container promised more than there is: sample again from what exists.
        wanted = choose(decoded)
        missing = sorted(set(wanted.ravel().tolist()) - kept.keys())
        if missing:
            kept.update(zip(missing, resize_and_crop(video.frames(missing), settings.size), strict=True))
    return wanted, kept, decoded


def decode_video(path, settings: Decode, opener: Callable | None = None) -> dict[str, Any]:
    """Read one video in a single pass.

    Args:
        opener: path and backend → opened video; by default `open_video` with these settings.

    Returns:
        ``frames`` uint8 ``[n_frames, size, size, 3]``, ``frame_index`` int32 ``[n_frames]``, the motion signal
        ``diff_sum`` float32 and ``diff_count`` int32 ``[F]``, ``timestamps`` float64 ``[F]`` in seconds,
        ``fps``, ``height``, ``width``, and in ``note`` what was unusual.

    Raises:
        VideoError: with the reason in words.
    """

    def choose(n_frames: int) -> np.ndarray:
        return sample_indices(n_frames, settings.n_frames, settings.sampling, settings.stride)

    opener = opener or partial(open_video, min_fraction=settings.min_fraction)
    with opener(path, settings.backend) as video:
        signal = MotionSignal()
        wanted, kept, decoded = keep_frames(video, settings, choose, signal.add)
        diff_sum, diff_count = signal.result()
        return {
            "frames": np.stack([kept[int(index)] for index in wanted]),  # [T, size, size, 3]
            "frame_index": wanted.astype(np.int32),
            "diff_sum": diff_sum,
            "diff_count": diff_count,
            "timestamps": video.timestamps[:decoded],
            "fps": float(video.fps),
            "height": int(video.height),
            "width": int(video.width),
            "note": video.note,
        }


def build(job: stage.Job) -> None:
    """Write the clips and the signal of one shard."""
    settings = Decode.model_validate(job.settings)
    videos = read_videos(job)
    done: list[dict] = []
    ids: list[str] = []
    failed: dict[str, str] = {}
    decoding = Decoding()
    with Decoder(**job.runtime.decoder) as decoder:
        for video_id, path, frames in stage.progress(videos.files(), "decode"):
            try:
                opener = partial(
                    decoding.open, decoder.open, video_id, frames=frames, min_fraction=settings.min_fraction
                )
                done.append(decode_video(job.root / path, settings, opener))
                ids.append(video_id)
            except VideoError as error:
                failed[video_id] = str(error)
    job.check_failures(failed, len(videos), settings.max_failed_fraction, slack=1)

    clip_shape = (settings.n_frames, settings.size, settings.size, 3)
    frames = np.stack([item["frames"] for item in done]) if done else np.zeros((0, *clip_shape), np.uint8)
    index = [item["frame_index"] for item in done]
    described = {
        "video_id": ids,
        "fps": [item["fps"] for item in done],
        "height": [item["height"] for item in done],
        "width": [item["width"] for item in done],
    }
    job.write_arrays(
        "clips",
        {"frames": frames, "frame_index": np.array(index, np.int32).reshape(len(ids), settings.n_frames)},
        described,
        n_ok=len(ids),
        failed=failed,
        **decoding.record(),
    )
    diff_sum, offsets = ragged([item["diff_sum"] for item in done], (), np.float32)
    diff_count, _ = ragged([item["diff_count"] for item in done], (), np.int32)
    timestamps, _ = ragged([item["timestamps"] for item in done], (), np.float64)
    job.write_arrays(
        "signal",
        {"offsets": offsets, "diff_sum": diff_sum, "diff_count": diff_count, "timestamps": timestamps},
        described,
        n_ok=len(ids),
        failed=failed,
        **decoding.record(),
    )


if __name__ == "__main__":
    stage.run("decode", build)
