"""Reading videos: one small interface over decord, PyAV, torchcodec, folders of pictures and single pictures.

Every file ends in correct frames or in a `VideoError` that says why not. To get there a file is first looked through
with PyAV, whatever the backend: it finds the stream, decodes one frame and lists the packets without decoding them
(2 ms for a UCF-101 clip). That look decides what is a video at all, and gives size and timestamps, which decord gets
wrong for streams whose packets carry none (a third of the UCF-101 clips at hand).

Where the chosen backend stops early, PyAV takes over at that very frame. decord 0.6 needs this: it has no AV1 decoder,
returns unusable arrays for some frames narrower than 50 pixels, and how far it gets in a damaged stream differs from
run to run, because its decoding thread runs ahead. PyAV alone reads MPEG program and transport streams.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

REASONS = {
    "missing": "there is no such file",
    "unreadable": "the operating system does not hand the file out (permissions, a failing disk)",
    "empty": "the file has no bytes",
    "not_a_video": "the content is something else: a web page, a Git LFS pointer, a picture, any other bytes",
    "no_video_stream": "a media file with sound, subtitles or cover art only",
    "no_frames": "a video without a single frame (an init segment), or a folder without pictures",
    "encrypted": "the frames are encrypted",
    "unsupported": "no decoder for this codec is at hand",
    "damaged": "a video that cannot be decoded, or of which less than half can be",
    "too_short": "fewer frames than the stage needs",
    "no_person": "no frame holds a person",
    "other_frames": "imported poses, boxes or key frames have other frames than the video",
    "crashed": "native code of the decoder crashed on it",
    "too_slow": "the decoder hangs, or needs longer than `runtime.decoder.seconds`",
    "too_large": "decoding needs more memory than `runtime.decoder.memory_mb`",
}
BACKENDS = ("decord", "pyav", "torchcodec")

# A clip that lost more than half of its frames no longer shows the action that its label names.
MIN_DECODED_FRACTION = 0.5
# For frame folders, and for streams without any timing.
NOMINAL_FPS = 25.0
# Bounds the memory of a pass for large pictures: 32 frames of 1080p are 190 MiB, of 8K they would be 3 GiB.
MAX_BATCH_BYTES = 256 * 2**20

# Program and transport streams: decord and torchcodec scan the file, rewind, and land up to 12 frames late in silence.
_WITHOUT_INDEX = ("mpeg", "mpegts")
_PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png"))


class VideoError(Exception):
    """A video cannot be used.

    Attributes:
        reason: one of `REASONS`.
        detail: what was found, in words.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class BackendError(RuntimeError):
    """The chosen backend is unknown or not installed: no fault of any video, so no `VideoError`."""


class _GaveUp(Exception):
    """A decoder can deliver no further frame."""


# What a decoder yields: an upright RGB frame uint8 [H, W, 3] and its time in seconds, if the decoder tells it.
Frames = Iterator[tuple[np.ndarray, float | None]]


@dataclass(frozen=True)
class _Probe:
    """What a first look tells about a video.

    Attributes:
        n_frames: frames that the container promises, at least 1.
        timestamps: float64 ``[n_frames]``.
        stored_height, stored_width: size before the rotation is applied.
        rotation: degrees, counterclockwise, that make the picture upright: 0, 90, 180 or 270.
        container: FFmpeg's name of the container format.
    """

    n_frames: int
    timestamps: np.ndarray
    fps: float
    stored_height: int
    stored_width: int
    rotation: int
    container: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(height, width, 3)`` of the upright picture."""
        if self.rotation in (90, 270):
            return self.stored_width, self.stored_height, 3
        return self.stored_height, self.stored_width, 3


class Video:
    """An opened video; see `open_video`.

    Attributes:
        n_frames: frames that the container promises. A damaged file can hold fewer.
        n_decoded: frames that a complete pass found; None before one ended.
        fps: mean frame rate in frames per second, from the timestamps where these exist.
        height, width: of the upright picture, in pixels. Pixels are taken as square.
        timestamps: float64 ``[n_frames]``, seconds since the first frame, never decreasing; ``[n_decoded]`` once a
            complete pass found fewer frames than promised.
        note: what was unusual about the last pass, empty if nothing was.
    """

    def __init__(self, name: str, probe: _Probe, sources: list[Callable[[], Frames]]):
        self._name, self._probe, self._sources = name, probe, sources
        self._shape = probe.shape
        self.n_frames = probe.n_frames
        self.n_decoded: int | None = None
        self.fps = probe.fps
        self.height, self.width = self._shape[:2]
        self.timestamps = probe.timestamps
        self.note = ""

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
            VideoError: ``damaged``, if less than half of the promised frames decode.
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
        raise VideoError("damaged", f"{self._name}: frame {last} is wanted, but {self.note}")

    def _pass(self) -> Iterator[np.ndarray]:
        """Frames in order from the first source; where it stops early, the next one goes on at that frame."""
        self.note = ""
        decoded = 0
        for source in self._sources:
            times: list[float | None] = []
            stop = "the stream ends"
            try:
                for position, (frame, time) in enumerate(source()):
                    times.append(time)
                    if position < decoded:
                        continue
                    yield frame
                    decoded += 1
                    if decoded == self.n_frames:
                        return
            except _GaveUp as error:
                stop = str(error)
            self.note = "; ".join(filter(None, (self.note, f"at frame {decoded}: {stop}")))
        if len(times) < decoded:
            # How far the first decoder got is then a matter of chance, and a result must not depend on that.
            raise VideoError("damaged", f"{self._name}: two decoders disagree ({self.note})")
        self.note = f"{decoded} of {self.n_frames} frames decode ({self.note})"
        if decoded < MIN_DECODED_FRACTION * self.n_frames:
            raise VideoError("damaged", f"{self._name}: {self.note}")
        # Frames are missing, so the times of the packets no longer belong to them one by one.
        self.timestamps = self.timestamps[:decoded] if None in times else _since_first(times)


class Excerpt(Video):
    """Consecutive frames of a longer video, as a video of its own: times count from its first frame.

    Args:
        whole: the longer video.
        frames: first frame and end, counted from 0; the end is excluded, and cut to what the container promises.

    Raises:
        VideoError: ``too_short``, the longer video ends before the excerpt begins.
    """

    def __init__(self, whole: Video, frames: tuple[int, int]):
        first, end = frames
        if first >= whole.n_frames:
            raise VideoError("too_short", f"{whole._name} has {whole.n_frames} frames, the excerpt begins at {first}")
        self._whole, self._first, self._end = whole, first, min(end, whole.n_frames)
        times = _since_first(whole.timestamps[first : self._end])
        probe = replace(whole._probe, n_frames=self._end - first, timestamps=times)
        super().__init__(f"{whole._name}, frames {first} to {end}", probe, [])

    def _pass(self) -> Iterator[np.ndarray]:
        # Decoded from the start of the file, for the reason given in `Video.frames`.
        frames, index = self._whole._pass(), -1
        for index, frame in enumerate(frames):
            if index >= self._first:
                yield frame
            if index + 1 == self._end:
                frames.close()
                return
        self.note = self._whole.note
        found = max(0, index + 1 - self._first)
        if found < MIN_DECODED_FRACTION * self.n_frames:
            raise VideoError("damaged", f"{self._name}: {found} of {self.n_frames} frames decode ({self.note})")
        self.timestamps = _since_first(self._whole.timestamps[self._first : self._first + found])


def open_video(path: str | os.PathLike[str], backend: str = "decord", frames: tuple[int, int] | None = None) -> Video:
    """Open a video file, or a folder of pictures in natural order (``2.jpg`` before ``10.jpg``), as a context manager.

    A file named .jpg, .jpeg or .png is a video of one frame.

    Rotation by the container's display matrix is applied: pictures are upright. Frames that change size within a
    stream are scaled to the first one. Decoders of a damaged stream may fill missing parts with grey or older parts;
    only frames that no decoder returns count as missing.

    Args:
        backend: ``decord``, ``pyav`` or ``torchcodec``; the last one must be installed by the user. Where it cannot be
            trusted, PyAV decodes instead.
        frames: first frame and end of an excerpt that is wanted instead of the whole; see `Excerpt`.

    Raises:
        VideoError: the file cannot be used; ``reason`` is one of `REASONS`.
        BackendError: the backend is unknown or not installed.
    """
    if backend not in BACKENDS:
        raise BackendError(f"there is no decoding backend `{backend}`; choose one of {', '.join(BACKENDS)}")
    if backend == "torchcodec":
        _import_torchcodec()
    whole = _open_whole(Path(path), backend)
    return whole if frames is None else Excerpt(whole, frames)


def _open_whole(place: Path, backend: str) -> Video:
    if _is_folder(place):
        return _open_folder(place)
    _refuse_other_content(place)
    if place.suffix.lower() in _PICTURE_SUFFIXES:
        return _of_pictures(place.name, [place])
    try:
        probe = _probe(place)
    except VideoError:
        raise
    except Exception as error:  # what FFmpeg's bindings raise for broken bytes is not a closed set
        raise VideoError("damaged", f"{place.name}: {_words(error)}") from None
    decoders = {"decord": [_decord_frames], "torchcodec": [_torchcodec_frames], "pyav": []}[backend]
    if probe.container in _WITHOUT_INDEX:
        decoders = []
    return Video(place.name, probe, [partial(decoder, place, probe) for decoder in (*decoders, _pyav_frames)])


# ------------------------------------------------------------------------------------------------------ the first look


def _is_folder(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise VideoError("missing", f"{path.name} does not exist") from None
    except (OSError, ValueError) as error:
        raise VideoError("unreadable", f"{path.name}: {getattr(error, 'strerror', None) or error}") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise VideoError("not_a_video", f"{path.name} is neither a file nor a folder")
    return stat.S_ISDIR(mode)


def _refuse_other_content(path: Path) -> None:
    """Say what a file is that cannot be a video, before FFmpeg guesses at it.

    FFmpeg would follow the addresses in a play list, so a play list never reaches it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise VideoError("unreadable", f"{path.name}: {error.strerror}") from None
    if not head:
        raise VideoError("empty", f"{path.name} has no bytes")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        raise VideoError("not_a_video", f"{path.name} is a Git LFS pointer; fetch the content with `git lfs pull`")
    if text.startswith(b"<"):
        raise VideoError("not_a_video", f"{path.name} is a web page or XML; the download probably failed")
    if text.startswith((b"#extm3u", b"ffconcat")):
        raise VideoError("not_a_video", f"{path.name} is a play list, not a video")


_CONTAINER = re.compile(
    rb"(?s:....(?:ftyp|moov|mdat|free|wide|skip|styp|moof))|RIFF|\x1aE\xdf\xa3|\x00\x00\x01[\xb3\xba]|G@|FLV|OggS|0&\xb2u"
)


def _head(path: Path, error: Exception) -> bytes:
    """The first bytes of a file that FFmpeg cannot open.

    FFmpeg reports an input/output error for a disk that fails and for a Matroska file that is cut; the first is true
    only if the bytes cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
            while getattr(error, "errno", None) == errno.EIO and file.read(1 << 20):
                pass
    except OSError as reading:
        raise VideoError("unreadable", f"{path.name}: {reading.strerror}") from None
    return head


def _probe(path: Path) -> _Probe:
    """Find the video stream, decode its first frame, and list its packets."""
    try:
        container = av.open(str(path), options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
        if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM):
            raise VideoError("unreadable", f"{path.name}: {error.strerror}") from None
        known = _CONTAINER.match(_head(path, error))
        if known:
            raise VideoError(
                "damaged", f"{path.name} begins like a video, but its container is broken or cut"
            ) from None
        raise VideoError("not_a_video", f"{path.name} has no known video format") from None

    times: list[tuple[int | None, int | None]] = []
    first = None
    failure = ""
    with container:
        name = container.format.name
        stream = container.streams.best("video")
        if name.endswith("_pipe") or name in ("image2", "tty"):
            raise VideoError("not_a_video", f"{path.name} is a single picture or text ({name})")
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
            kinds = sorted({other.type for other in container.streams} - {"data", "attachment"})
            if not kinds:
                raise VideoError("damaged", f"{path.name} has a {name} header without streams; probably it was cut")
            raise VideoError("no_video_stream", f"{path.name} holds {' and '.join(kinds)}, no moving pictures")
        if stream.codec_context is None:
            raise VideoError("unsupported", f"{path.name}: there is no decoder for its video codec")
        encrypted = "enc_key_id" in stream.metadata
        try:
            stream.codec_context.thread_count = 1
            for packet in container.demux(stream):
                if first is None and not encrypted:
                    encrypted = packet.has_sidedata("encryption_info")
                    first = next(iter(packet.decode()), None)
                if packet.size and not packet.is_discard:
                    times.append((packet.pts, packet.dts))
        except Exception as error:
            # PyAV raises many types for damaged bytes: its own, IndexError for streams that appear later, and others.
            failure = _words(error)
        time_base = float(stream.time_base or 0)
        rate = float(stream.average_rate or 0)
        codec = stream.codec_context.name
    if encrypted:
        raise VideoError("encrypted", f"{path.name}: the {codec} frames are encrypted")
    if first is None and not times and not failure:
        raise VideoError("no_frames", f"{path.name} has a {codec} stream without a single frame")
    if first is None:
        raise VideoError(
            "damaged", f"{path.name}: no frame of its {codec} stream decodes ({failure or 'no error given'})"
        )
    if not (first.width and first.height):
        raise VideoError("damaged", f"{path.name}: its {codec} stream gives frames without a size")
    timestamps, fps = _timing(times, time_base, rate)
    return _Probe(
        n_frames=len(timestamps),
        timestamps=timestamps,
        fps=fps,
        stored_height=first.height,
        stored_width=first.width,
        rotation=round(first.rotation / 90) % 4 * 90,
        container=name,
    )


def _timing(times: list[tuple[int | None, int | None]], time_base: float, rate: float) -> tuple[np.ndarray, float]:
    """Seconds since the first frame, float64 ``[n]``, and frames per second, from (pts, dts) of the packets."""
    n_frames = max(1, len(times))
    rate = rate if 0 < rate <= 1000 else NOMINAL_FPS
    for which in (0, 1):
        ticks = [time[which] for time in times]
        if ticks and time_base > 0 and None not in ticks:
            timestamps = _since_first(np.sort(np.array(ticks, np.float64)) * time_base)
            if n_frames == 1:
                return timestamps, rate
            if timestamps[-1] > 0:
                return timestamps, (n_frames - 1) / timestamps[-1]
    return np.arange(n_frames) / rate, rate


def _since_first(times: Iterable[float]) -> np.ndarray:
    """float64 ``[n]``, from 0 and never decreasing."""
    seconds = np.asarray(times, np.float64)
    return np.maximum.accumulate(seconds - seconds[0]) if len(seconds) else seconds


def _words(error: Exception) -> str:
    """A decoder's error on one line, without the addresses and file names of its source code."""
    text = getattr(error, "strerror", None) or str(error)
    first_line = text.strip().split("\n")[0][:120]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


# ------------------------------------------------------------------------------------------------------------ decoders
# Each yields its frames in the order of presentation and raises `_GaveUp`.


def _one_by_one(
    name: str, probe: _Probe, reader_of: Callable[[], Any], frame_of: Callable[[Any, int], np.ndarray]
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
        yield frame, None


def _decord_frames(path: Path, probe: _Probe) -> Frames:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    # Without a limit decord fills missing frames with older ones and says nothing; this one is below one frame.
    reader_of = partial(decord.VideoReader, str(path), num_threads=1, fault_tol=1e-9)
    return _one_by_one("decord", probe, reader_of, lambda reader, _: reader.next().asnumpy())


def _pyav_frames(path: Path, probe: _Probe) -> Frames:
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            stream = container.streams.best("video")
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                picture = frame.to_ndarray(format="rgb24", width=probe.stored_width, height=probe.stored_height)
                yield np.rot90(picture, probe.rotation // 90), frame.time
    except Exception as error:  # see _probe
        raise _GaveUp(_words(error)) from None


def _import_torchcodec():
    try:
        from torchcodec import decoders
    except Exception as error:  # ImportError, or RuntimeError and OSError where FFmpeg's libraries are not found
        raise BackendError(
            "the backend torchcodec cannot be loaded: install the package `torchcodec` that fits the installed torch, "
            "and FFmpeg's shared libraries from the system; or set data.decode.backend to decord "
            f"({_words(error)})"
        ) from None
    return decoders


def _torchcodec_frames(path: Path, probe: _Probe) -> Frames:
    decoder = _import_torchcodec().VideoDecoder
    reader_of = partial(decoder, str(path), dimension_order="NHWC", num_ffmpeg_threads=1)
    return _one_by_one("torchcodec", probe, reader_of, lambda reader, n: reader.get_frame_at(n).data.numpy())


# ------------------------------------------------------------------------------------------------- folders of pictures


def _open_folder(folder: Path) -> Video:
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
    return _of_pictures(f"the folder {folder.name}", [folder / name for name in sorted(names, key=_natural)])


def _of_pictures(name: str, files: list[Path]) -> Video:
    try:
        height, width = _read_picture(files[0]).shape[:2]
    except _GaveUp as error:
        raise VideoError("damaged", f"the first picture of {name} does not decode ({error})") from None
    probe = _Probe(len(files), np.arange(len(files)) / NOMINAL_FPS, NOMINAL_FPS, height, width, 0, "folder")

    def pictures() -> Frames:
        for position, file in enumerate(files):
            picture = _read_picture(file)
            if picture.shape[:2] != (height, width):
                picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            yield picture, position / NOMINAL_FPS

    return Video(name, probe, [pictures])


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
        raise _GaveUp(f"{file.name} is no complete picture")
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
    raise ValueError(f"there is no sampling `{mode}`; choose uniform or dense")


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
