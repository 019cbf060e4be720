"""Reading videos: one small interface over decord, PyAV, torchcodec, folders of pictures and single pictures.

Every file ends in correct frames or in a `VideoError` that says why not. To get there a file is first looked through
with PyAV, whatever the backend (`pipeline.data.probe`). That look decides what is a video at all and whether all of it
is there, and gives size, orientation and timestamps, which decord gets wrong for streams whose packets carry none (a
third of the UCF-101 clips at hand).

Where the chosen backend stops early or shows other pixels than the look has seen, PyAV takes over at that very frame.
decord 0.6 needs this: it has no AV1 decoder, returns unusable arrays for some frames narrower than 50 pixels and black
ones for some palettes, and how far it gets in a damaged stream differs from run to run, because its decoding thread
runs ahead. PyAV alone reads MPEG program and transport streams, and videos with a display matrix.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from pipeline.data.probe import (
    NOMINAL_FPS,
    SAME_LEVELS,
    Probe,
    Turn,
    VideoError,
    first_look,
    is_folder,
    rate_of,
    refuse_other_content,
    rgb,
    sample,
    since_first,
    words_of,
)
from pipeline.data.seeking import INDEXED, is_cheaper, sought
from pipeline.data.settings import MIN_FRACTION
from pipeline.store.atomic import StageError

logger = logging.getLogger("conceptreel")

# What a video says of its decoder where frames were sought.
SEEKING = "pyav, seeking"
BACKENDS = ("decord", "pyav", "torchcodec")

# Bounds the memory of a pass for large pictures: 32 frames of 1080p are 190 MiB, of 8K they would be 3 GiB.
MAX_BATCH_BYTES = 256 * 2**20

# Program and transport streams: decord and torchcodec scan the file, rewind, and land up to 12 frames late in silence.
_WITHOUT_INDEX = ("mpeg", "mpegts")
_PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png"))


class BackendError(StageError):
    """The chosen backend is unknown or not installed: no fault of any video, so no `VideoError`."""


class _GaveUp(Exception):
    """A decoder can deliver no further frame."""


# What a decoder yields: an upright RGB frame uint8 [H, W, 3] and its time in seconds, if the decoder tells it.
Frames = Iterator[tuple[np.ndarray, float | None]]


class Video:
    """An opened video; see `open_video`.

    Attributes:
        n_frames: frames that the file holds. A damaged one can decode to fewer.
        n_decoded: frames that a complete pass found; None before one ended.
        fps: mean frame rate in frames per second, from the timestamps where these exist.
        height, width: of the upright picture, in pixels. Pixels are taken as square.
        timestamps: float64 ``[n_frames]``, seconds since the first frame, never decreasing; ``[n_decoded]`` once a
            complete pass found fewer frames.
        decoder: which decoder the last pass took, several where one went on for another; empty before the first.
        instead: why it is not the chosen one for any video here; empty if it is.
        note: what was unusual about the file and the last pass, empty if nothing was.
    """

    def __init__(
        self,
        name: str,
        probe: Probe,
        sources: dict[str, Callable[[], Frames]],
        min_fraction: float = MIN_FRACTION,
        instead: str = "",
        place: Path | None = None,
    ):
        self._place = place
        self._name, self._probe, self._sources, self._min_fraction = name, probe, sources, min_fraction
        self._shape = probe.shape
        self.n_frames = probe.n_frames
        self.n_decoded: int | None = None
        self.fps = probe.fps
        self.height, self.width = self._shape[:2]
        self.timestamps = probe.timestamps
        self.decoder = ""
        self.instead = instead
        self.note = probe.remark
        if probe.share < min_fraction:
            raise VideoError("damaged", f"{name}: {probe.remark}; it was probably truncated")

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        """Decoders live in the generators of a pass and go with them; nothing is held open between two passes."""

    def batches(self, size: int = 32) -> Iterator[tuple[int, np.ndarray]]:
        """Decode all frames in order, in one pass.

        Each batch is a new array, so it may be kept; a kept *view* of it keeps the whole batch in memory.

        Args:
            size: frames per batch, at most; fewer where a batch would exceed 256 MiB.

        Yields:
            Index of the first frame, and RGB frames uint8 ``[b, H, W, 3]`` with ``1 <= b <= size``.

        Raises:
            VideoError: ``damaged``, if less than ``min_fraction`` of the promised frames decode.
        """
        if size < 1:
            raise ValueError(f"a batch needs at least one frame, got size={size}")
        size = min(size, max(1, MAX_BATCH_BYTES // int(np.prod(self._shape))))
        start, filled = 0, 0
        batch = np.empty((0, *self._shape), np.uint8)
        for frame in self._pass():
            if filled == len(batch):
                if filled:
                    yield start, batch
                start, filled = start + filled, 0
                batch = np.empty((min(size, self.n_frames - start), *self._shape), np.uint8)  # [b, H, W, 3]
            batch[filled] = frame
            filled += 1
        if filled:
            yield start, batch[:filled]
        self.n_decoded = start + filled

    def frames(self, indices: Iterable[int]) -> np.ndarray:
        """Frames by index, in the given order, repeats allowed: RGB uint8 ``[k, H, W, 3]``.

        Decodes from the first frame up to the largest index instead of seeking: seeking misses frames in streams
        without timestamps and in open groups of pictures.

        Raises:
            IndexError: an index is negative, or not below ``n_frames``.
            VideoError: ``damaged``, if decoding ends before the largest index.
        """
        wanted = [int(index) for index in indices]
        end = self.n_frames if self.n_decoded is None else self.n_decoded
        if not all(0 <= index < end for index in wanted):
            raise IndexError(f"{self._name}: frames {min(wanted)} to {max(wanted)} of a video of {end} frames")
        result = np.empty((len(wanted), *self._shape), np.uint8)  # [k, H, W, 3]
        places: dict[int, list[int]] = {}
        for place, index in enumerate(wanted):
            places.setdefault(index, []).append(place)
        last = max(wanted, default=-1)
        if last < 0:
            return result
        frames = self._pass()
        for index, frame in enumerate(frames):
            if index in places:
                result[places[index]] = frame
            if index == last:
                frames.close()
                return result
        raise VideoError("damaged", f"{self._name}: frame {last} is needed, but {self.note}")

    def sought(self, indices: Iterable[int], size: int) -> np.ndarray | None:
        """Single frames by seeking, as square pictures: uint8 ``[k, size, size, 3]``, one at a time in full size.

        None where one pass is cheaper, or where a frame is not found by its time stamp: then read it in one pass.

        Args:
            indices: ascending.
        """
        wanted = [int(index) for index in indices]
        if self._place is None or self._probe.container not in INDEXED or not is_cheaper(self._probe, wanted):
            return None
        try:
            frames = [resize_and_crop(frame[None], size)[0] for frame in sought(self._place, self._probe, wanted)]
        except Exception as error:  # see `first_look`
            self.note = f"not by seeking: {words_of(error)}"
            return None
        self.decoder = SEEKING
        return np.stack(frames)

    def _pass(self) -> Iterator[np.ndarray]:
        """Frames in order from the first source; where it stops early, the next one goes on at that frame."""
        self.note, self.decoder = self._probe.remark, ""
        decoded = 0
        for name, source in self._sources.items():
            times: list[float | None] = []
            stop = "the stream ends"
            try:
                for position, (frame, time) in enumerate(source()):
                    times.append(time)
                    if position < decoded:
                        continue
                    if not self.decoder.endswith(name):
                        self.decoder += f" + {name}" if self.decoder else name
                    yield frame
                    decoded += 1
                    if decoded == self.n_frames:
                        return
            except _GaveUp as error:
                stop = str(error)
            self.note = "; ".join(filter(None, (self.note, f"at frame {decoded}: {stop}")))
        # How far the first decoder gets is a matter of chance; neither a result nor a reason may depend on that.
        certain = "; ".join(filter(None, (self._probe.remark, f"at frame {len(times)}: {stop}")))
        if len(times) < decoded:
            raise VideoError("damaged", f"{self._name}: two decoders disagree ({certain})")
        promised = round(self.n_frames / self._probe.share)
        if decoded < max(1, self._min_fraction * promised):
            raise VideoError("damaged", f"{self._name}: {decoded} of {promised} frames decode ({certain})")
        self.note = f"{decoded} of {promised} frames decode ({self.note})"
        # Frames are missing, so the times of the packets no longer belong to them one by one.
        if None in times:
            self.timestamps = self.timestamps[:decoded]
        else:
            self.timestamps = since_first(times)
            self.fps = rate_of(self.timestamps, self.fps)


class Excerpt(Video):
    """Consecutive frames of a longer video, as a video of its own: times count from its first frame.

    Args:
        whole: the longer video, whose ``min_fraction`` is 0: what it lacks outside of the excerpt does not matter.
        frames: first frame and end, counted from 0; the end is excluded, and cut to what the header promises.

    Raises:
        VideoError: ``too_short``, the longer video ends before the excerpt begins; ``damaged``, see `open_video`.
    """

    def __init__(self, whole: Video, frames: tuple[int, int], min_fraction: float = MIN_FRACTION):
        first, end = frames
        if first >= whole.n_frames:
            raise VideoError("too_short", f"{whole._name} has {whole.n_frames} frames, the excerpt begins at {first}")
        self._whole, self._first, self._end = whole, first, min(end, whole.n_frames)
        times = since_first(whole.timestamps[first : self._end])
        n_frames = self._end - first
        share = n_frames / (min(end, max(whole.n_frames, round(whole.n_frames / whole._probe.share))) - first)
        probe = replace(
            whole._probe,
            n_frames=n_frames,
            timestamps=times,
            fps=rate_of(times, whole.fps),
            share=share,
        )
        super().__init__(f"{whole._name}, frames {first} to {end}", probe, {}, min_fraction, whole.instead)

    def sought(self, indices: Iterable[int], size: int) -> np.ndarray | None:
        """See `Video.sought`."""
        found = self._whole.sought([self._first + int(index) for index in indices], size)
        self.note, self.decoder = self._whole.note, self._whole.decoder
        return found

    def _pass(self) -> Iterator[np.ndarray]:
        # Decoded from the start of the file, for the reason given in `Video.frames`.
        frames, index = self._whole._pass(), -1
        for index, frame in enumerate(frames):
            if index >= self._first:
                self.note, self.decoder = self._whole.note, self._whole.decoder
                yield frame
            if index + 1 == self._end:
                frames.close()
                return
        self.note, self.decoder = self._whole.note, self._whole.decoder
        found = max(0, index + 1 - self._first)
        promised = round(self.n_frames / self._probe.share)
        if found < max(1, self._min_fraction * promised):
            certain = "; ".join(filter(None, (self._probe.remark, f"at frame {index + 1} of the film it ends")))
            raise VideoError("damaged", f"{self._name}: {found} of {promised} frames decode ({certain})")
        self.timestamps = since_first(self._whole.timestamps[self._first : self._first + found])
        self.fps = rate_of(self.timestamps, self.fps)


def open_video(
    path: str | os.PathLike[str],
    backend: str = "decord",
    frames: tuple[int, int] | None = None,
    min_fraction: float = MIN_FRACTION,
) -> Video:
    """Open a video file, or a folder of pictures in natural order (``2.jpg`` before ``10.jpg``), as a context manager.

    A file named .jpg, .jpeg or .png is a video of one frame.

    The container's display matrix is applied as FFmpeg applies it: pictures are upright. Frames that change size within
    a stream are scaled to the first one. Decoders of a damaged stream may fill missing parts with grey or older parts;
    only frames that no decoder returns count as missing.

    Args:
        backend: ``decord``, ``pyav`` or ``torchcodec``; the last one must be installed by the user. Where it cannot be
            trusted, and where decord is not installed, PyAV decodes instead.
        frames: first frame and end of an excerpt that is wanted instead of the whole; see `Excerpt`.
        min_fraction: a video of which less is there than this part of what its header promises is ``damaged``. AVI, MP4
            and IVF promise frames; Matroska, WebM, Flash, Windows Media and fragmented MP4 promise a duration.

    Raises:
        VideoError: the file cannot be used; ``reason`` is one of `REASONS`.
        BackendError: the backend is unknown, or torchcodec is chosen and not installed.
    """
    if backend not in BACKENDS:
        raise BackendError(f"unknown decoding backend `{backend}`; choose one of {', '.join(BACKENDS)}")
    if backend == "torchcodec":
        _import_torchcodec()
    instead = _why_not_decord() if backend == "decord" else ""
    if instead:
        say_once(instead)
    whole = _open_whole(Path(path), "pyav" if instead else backend, min_fraction if frames is None else 0, instead)
    return whole if frames is None else Excerpt(whole, frames, min_fraction)


def _open_whole(place: Path, backend: str, min_fraction: float, instead: str) -> Video:
    if is_folder(place):
        return _open_folder(place, min_fraction)
    refuse_other_content(place)
    if place.suffix.lower() in _PICTURE_SUFFIXES:
        return _of_pictures(place.name, [place], min_fraction)
    try:
        probe = first_look(place)
    except VideoError:
        raise
    except Exception as error:  # what FFmpeg's bindings raise for broken bytes is not a closed set
        raise VideoError("damaged", f"{place.name}: {words_of(error)}") from None
    decoders = {"decord": _decord_frames, "torchcodec": _torchcodec_frames, "pyav": _pyav_frames}
    if probe.container in _WITHOUT_INDEX or probe.turn != Turn():
        # decord does not mirror, nor turn by the matrix of every container, and a first frame may look alike turned.
        backend = "pyav"
    sources = {name: partial(decoders[name], place, probe) for name in dict.fromkeys((backend, "pyav"))}
    return Video(place.name, probe, sources, min_fraction, instead, place)


@functools.cache
def say_once(words: str) -> None:
    """Log a warning, unless this process has logged it before."""
    logger.warning(words)


# ------------------------------------------------------------------------------------------------------------ decoders
# Each yields its frames in the order of presentation and raises `_GaveUp`.


def _one_by_one(
    name: str, probe: Probe, reader_of: Callable[[], Any], frame_of: Callable[[Any, int], np.ndarray]
) -> Frames:
    """Frames of a reader that counts them and hands them out singly; each library raises types of its own."""
    try:
        reader = reader_of()
        count = len(reader)
    except Exception as error:
        raise _GaveUp(f"{name} cannot open it, {type(error).__name__}") from None
    for position in range(count):
        try:
            frame = frame_of(reader, position)
        except Exception as error:
            raise _GaveUp(f"{name} stopped, {type(error).__name__}") from None
        if frame.shape != probe.shape:
            raise _GaveUp(f"{name} gives frames {frame.shape}")
        if position < len(probe.samples):
            apart = np.abs(sample(frame) - probe.samples[position]).mean()
            if apart > SAME_LEVELS:
                raise _GaveUp(f"{name} shows other pixels, {apart:.0f} grey levels apart")
        yield frame, None


def _why_not_decord() -> str:
    """Why PyAV decodes instead of decord; empty where decord is installed. It has wheels for few machines."""
    try:
        import decord  # noqa: F401
    except Exception as error:  # ImportError, or OSError where a library is missing
        return f"decord cannot be loaded, pyav decodes instead ({words_of(error)})"
    return ""


def _decord_frames(path: Path, probe: Probe) -> Frames:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    # Without a limit decord fills missing frames with older ones and says nothing; this one is below one frame.
    reader_of = partial(decord.VideoReader, str(path), num_threads=1, fault_tol=1e-9)
    return _one_by_one("decord", probe, reader_of, lambda reader, _: reader.next().asnumpy())


def _pyav_frames(path: Path, probe: Probe) -> Frames:
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            stream = container.streams.best("video")
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                yield probe.turn.apply(rgb(frame, probe.stored_width, probe.stored_height)), frame.time
    except Exception as error:  # see first_look
        raise _GaveUp(words_of(error)) from None


def _import_torchcodec():
    try:
        from torchcodec import decoders
    except Exception as error:  # ImportError, or RuntimeError and OSError where FFmpeg's libraries are not found
        raise BackendError(
            "the backend torchcodec cannot be loaded: install the package `torchcodec` that fits the installed torch, "
            "and FFmpeg's shared libraries from the system; or set data.decode.backend to decord "
            f"({words_of(error)})"
        ) from None
    return decoders


def _torchcodec_frames(path: Path, probe: Probe) -> Frames:
    decoder = _import_torchcodec().VideoDecoder
    reader_of = partial(decoder, str(path), dimension_order="NHWC", num_ffmpeg_threads=1)
    return _one_by_one("torchcodec", probe, reader_of, lambda reader, n: reader.get_frame_at(n).data.numpy())


# ------------------------------------------------------------------------------------------------- folders of pictures


def _open_folder(folder: Path, min_fraction: float) -> Video:
    try:
        names = [
            entry.name
            for entry in os.scandir(folder)
            if os.path.splitext(entry.name)[1].lower() in _PICTURE_SUFFIXES and not entry.name.startswith(".")
        ]
    except OSError as error:
        raise VideoError("unreadable", f"{folder.name}: {error.strerror}") from None
    if not names:
        raise VideoError("no_frames", f"the folder {folder.name} holds no .jpg, .jpeg or .png picture")
    return _of_pictures(
        f"the folder {folder.name}", [folder / name for name in sorted(names, key=_natural)], min_fraction
    )


def _of_pictures(name: str, files: list[Path], min_fraction: float) -> Video:
    try:
        height, width = _read_picture(files[0]).shape[:2]
    except _GaveUp as error:
        raise VideoError("damaged", f"the first picture of {name} does not decode ({error})") from None
    probe = Probe(len(files), np.arange(len(files)) / NOMINAL_FPS, NOMINAL_FPS, height, width, "folder")

    def pictures() -> Frames:
        for position, file in enumerate(files):
            picture = _read_picture(file)
            if picture.shape[:2] != (height, width):
                picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            yield picture, position / NOMINAL_FPS

    return Video(name, probe, {"opencv": pictures}, min_fraction)


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Order of ``2.jpg`` before ``10.jpg``; names that differ only in leading zeros keep a fixed order."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], name


def _read_picture(file: Path) -> np.ndarray:
    """One picture as RGB uint8 ``[H, W, 3]``, EXIF orientation applied."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _GaveUp(f"{file.name}: {error.strerror}") from None
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes at all
        picture = None
    if picture is None:
        raise _GaveUp(f"{file.name} is not a complete picture")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


# -------------------------------------------------------------------------------------------- from frames to the model


def sample_indices(n_frames: int, n: int, mode: str = "uniform", stride: int = 4) -> np.ndarray:
    """Frames of the model clip, as VideoMAE (Tong et al. 2022) samples for evaluation with one clip: int32 ``[n]``.

    ``uniform``: the centres of ``n`` equal segments, ``floor((i + 1/2) · n_frames / n)``; a video shorter than ``n``
    repeats frames evenly. ``dense``: every ``stride``-th frame of a window in the middle of the video; a video shorter
    than the window starts at frame 0 and repeats its last frame.

    Args:
        n_frames: frames of the video, at least 1.
        stride: frame distance of ``dense``.

    Raises:
        ValueError: an argument is out of range.
    """
    if min(n_frames, n, stride) < 1:
        raise ValueError(f"n_frames, n and stride must be at least 1, got {n_frames}, {n} and {stride}")
    position = np.arange(n)
    if mode == "uniform":
        return ((2 * position + 1) * n_frames // (2 * n)).astype(np.int32)
    if mode == "dense":
        start = max(0, (n_frames - ((n - 1) * stride + 1)) // 2)
        return np.minimum(start + position * stride, n_frames - 1).astype(np.int32)
    raise ValueError(f"unknown sampling `{mode}`; choose uniform or dense")


def resize_and_crop(frames: np.ndarray, size: int) -> np.ndarray:
    """Frames as square pictures, uint8 ``[t, H, W, 3]`` → ``[t, size, size, 3]``, as in VideoMAE's evaluation.

    The shorter side is scaled to ``size``, the aspect ratio stays, and the middle is cut out of the longer side.
    Shrinking averages over the area of a pixel, which avoids aliasing; enlarging is bilinear.

    Raises:
        ValueError: ``frames`` has another shape or type, or ``size`` is not positive.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape[1:]:
        raise ValueError(f"frames must be uint8 [t, H, W, 3], got {frames.dtype} {list(frames.shape)}")
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    height, width = frames.shape[1:3]
    new_height, new_width = (max(size, round(side * size / min(height, width))) for side in (height, width))
    enlarges = new_height > height or new_width > width
    top, left = (new_height - size) // 2, (new_width - size) // 2
    result = np.empty((len(frames), size, size, 3), np.uint8)
    for target, frame in zip(result, frames, strict=True):
        if (new_height, new_width) != (height, width):
            how = cv2.INTER_LINEAR if enlarges else cv2.INTER_AREA
            frame = cv2.resize(frame, (new_width, new_height), interpolation=how)
        target[:] = frame[top : top + size, left : left + size]
    return result
