"""Writing frames as H.264 video files."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np


def write_video(path: str | os.PathLike[str], frames: np.ndarray, fps: int = 25) -> None:
    """Writes RGB frames as an H.264 MP4 file (yuv420p, constant rate factor 18).

    The same frames always give the same bytes: one encoding thread and no dates. The file appears
    under its name only when it is complete.

    Args:
        frames: uint8 `[n_frames, H, W, 3]`, n_frames > 0, H and W even.

    Raises:
        ValueError: if `frames` has another shape or type.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise ValueError(
            f"{path}: frames must be uint8 [n_frames > 0, H, W, 3], got {frames.dtype} {list(frames.shape)}"
        )
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"{path}: yuv420p needs an even height and width, got {height} x {width}")
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with av.open(temporary, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"crf": "18", "preset": "medium", "threads": "1"}
            stream.codec_context.thread_count = 1
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
