"""Single frames of a long video by seeking, where that decodes less than one pass over it.

A frame is taken only if its own time stamp says that it is the wanted one. Where any is missing nobody is told of any:
the caller then reads the video in one pass, so that results do not depend on what a demuxer finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np

from pipeline.data.probe import Probe, rgb

# Containers with an index of key frames that FFmpeg jumps by; others are scanned, and land anywhere.
INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
# What a jump costs, in frames that are decoded: a decoder is emptied and filled again (bench/seeking.py).
JUMP = 8


def jumps(keys: np.ndarray, wanted: Sequence[int]) -> list[int | None]:
    """Where to jump for each wanted frame: a key frame at or before it, or None to go on from the frame before.

    Args:
        keys: numbers of the key frames, ascending, the first at most the first wanted; wanted: ascending.
    """
    found: list[int | None] = []
    place = -1
    for number in wanted:
        key = int(keys[np.searchsorted(keys, number, "right") - 1])
        found.append(key if place < 0 or key > place + JUMP else None)
        place = number
    return found


def decoded(keys: np.ndarray, wanted: Sequence[int]) -> int:
    """How many frames decoding the wanted ones with `jumps` is worth, what jumps cost included."""
    total, place = 0, -1
    for number, key in zip(wanted, jumps(keys, wanted), strict=True):
        total += number - place if key is None else number - key + 1 + JUMP
        place = number
    return total


def is_cheaper(probe: Probe, wanted: Sequence[int]) -> bool:
    """Whether single frames (numbers, ascending) should be sought: fewer are decoded then than in one pass.

    One pass converts every frame to RGB besides, so that this errs on its side.
    """
    if probe.keys is None or not len(probe.keys) or not len(wanted) or wanted[0] < probe.keys[0]:
        return False
    return decoded(probe.keys, wanted) < wanted[-1] + 1


def sought(path: Path, probe: Probe, wanted: Sequence[int]) -> Iterator[np.ndarray]:
    """The wanted frames (numbers, ascending), upright RGB uint8 ``[H, W, 3]``.

    Raises:
        LookupError: a frame is not where its time stamp says. Whatever FFmpeg raises.
    """
    with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1
        frames: Iterator[av.VideoFrame] = iter(())
        for number, key in zip(wanted, jumps(probe.keys, wanted), strict=True):
            if key is not None:
                container.seek(int(probe.ticks[key]), stream=stream)
                frames = container.decode(stream)
            frame = next((frame for frame in frames if frame.pts is None or frame.pts >= probe.ticks[number]), None)
            if frame is None or frame.pts != probe.ticks[number] or frame.is_corrupt:
                raise LookupError(f"frame {number} is not where the index says")
            yield probe.turn.apply(rgb(frame, probe.stored_width, probe.stored_height))
