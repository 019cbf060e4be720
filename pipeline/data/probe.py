"""A first look at a video file with PyAV: whether it is one, what it holds, and how its pictures stand.

It decodes the first frames and lists the packets without decoding them: 2 ms for a UCF-101 clip.
"""

from __future__ import annotations

import errno
import math
import re
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
    "damaged": "a video that cannot be decoded, or that holds less of its promise than `data.decode.min_fraction`",
    "too_short": "fewer frames than the stage needs",
    "no_person": "no frame holds a person",
    "other_frames": "imported poses, boxes or key frames have other frames than the video",
    "crashed": "native code of the decoder crashed on it",
    "too_slow": "the decoder hangs, or needs longer than `runtime.decoder.seconds`",
    "too_large": "decoding needs more memory than `runtime.decoder.memory_mb`",
}
# For frame folders, and for streams without any timing.
NOMINAL_FPS = 25.0
# Decoders differ by rounding, and at edges of colours by what they interpolate: below 1 of 255 levels on average. The
# first frames are compared up to one that shows something, but no more than so many.
SAME_LEVELS = 4.0
MAX_SAMPLES = 32
# Durations in headers are rounded, to milliseconds at worst.
ROUNDED_SECONDS = 0.002

# Containers whose header tells a duration, where it tells no number of frames.
_WITH_DURATION = ("matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "flv", "asf", "mxf")


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


@dataclass(frozen=True)
class Turn:
    """What makes a stored picture upright, in this order.

    Attributes:
        transpose, flip_x, flip_y: rows become columns; left and right, top and bottom change places.
        degrees: clockwise, within the frame of the picture, for matrices that turn by another angle than 90 degrees.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False
    degrees: float = 0.0

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """The upright picture, ``[H, W, 3]`` → ``[H, W, 3]`` or, transposed, ``[W, H, 3]``."""
        if self.degrees:
            height, width = picture.shape[:2]
            around = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -self.degrees, 1)
            picture = cv2.warpAffine(picture, around, (width, height))
        picture = picture.swapaxes(0, 1) if self.transpose else picture
        return picture[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


def turn_of(matrix: np.ndarray | None) -> Turn:
    """What FFmpeg's player and transcoder do with a display matrix (``get_rotation`` and ``configure_filtergraph``).

    Args:
        matrix: int32 ``[9]`` in 16.16 fixed point, the last column in 2.30 (ISO/IEC 14496-12, 6.2.2).
    """
    if matrix is None:
        return Turn()
    a, b, _, c, d, *_ = (int(value) for value in matrix)
    wide, high = math.hypot(a, c), math.hypot(b, d)
    if not (wide and high):
        return Turn()
    degrees = round(math.degrees(math.atan2(b / high, a / wide))) % 360
    if degrees == 90:
        return Turn(transpose=True, flip_x=c <= 0)
    if degrees == 180:
        return Turn(flip_x=a < 0, flip_y=d < 0)
    if degrees == 270:
        return Turn(transpose=True, flip_x=c < 0, flip_y=True)
    return Turn(flip_y=d < 0) if degrees == 0 else Turn(degrees=degrees)


@dataclass(frozen=True)
class Probe:
    """What a first look tells about a video.

    Attributes:
        n_frames: frames that the file holds, shown ones, at least 1.
        timestamps: float64 ``[n_frames]``.
        stored_height, stored_width: size before the picture is turned upright.
        container: FFmpeg's name of the container format.
        share: part of what the header promises that the file holds, at most 1.
        remark: what is unusual about the file; empty if nothing is.
        samples: some pixels of the first frames, upright; see `sample`.
        ticks: int64 ``[n_frames]``, time stamp of every frame in units of the stream, ascending, and
        keys: int64, numbers of the key frames; None unless every frame is there and has a time stamp of its own.
    """

    n_frames: int
    timestamps: np.ndarray
    fps: float
    stored_height: int
    stored_width: int
    container: str
    turn: Turn = Turn()
    share: float = 1.0
    remark: str = ""
    samples: tuple[np.ndarray, ...] = ()
    ticks: np.ndarray | None = None
    keys: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(height, width, 3)`` of the upright picture."""
        if self.turn.transpose:
            return self.stored_width, self.stored_height, 3
        return self.stored_height, self.stored_width, 3


def is_folder(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise VideoError("missing", f"{path.name} does not exist") from None
    except (OSError, ValueError) as error:
        raise VideoError("unreadable", f"{path.name}: {getattr(error, 'strerror', None) or error}") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise VideoError("not_a_video", f"{path.name} is neither a file nor a folder")
    return stat.S_ISDIR(mode)


def refuse_other_content(path: Path) -> None:
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
        raise VideoError("not_a_video", f"{path.name} is a playlist, not a video")


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


def first_look(path: Path) -> Probe:
    """Find the video stream, decode its first frames, and list its packets.

    Raises:
        VideoError: the file is none, or none that can be decoded.
    """
    try:
        container = av.open(str(path), options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
        if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM):
            raise VideoError("unreadable", f"{path.name}: {error.strerror}") from None
        known = _CONTAINER.match(_head(path, error))
        if known:
            raise VideoError(
                "damaged", f"{path.name} begins like a video, but its container is broken or truncated"
            ) from None
        raise VideoError("not_a_video", f"{path.name} has no known video format") from None

    packets: list[_Packet] = []
    first = None
    samples: list[np.ndarray] = []
    comparing = True
    failure = ""
    with container:
        name = container.format.name
        stream = container.streams.best("video")
        if name.endswith("_pipe") or name in ("image2", "tty"):
            raise VideoError("not_a_video", f"{path.name} is a single picture or text ({name})")
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
            kinds = sorted({other.type for other in container.streams} - {"data", "attachment"})
            if not kinds:
                raise VideoError(
                    "damaged", f"{path.name} has a {name} header without streams; it was probably truncated"
                )
            raise VideoError("no_video_stream", f"{path.name} holds {' and '.join(kinds)}, but no video")
        if stream.codec_context is None:
            raise VideoError("unsupported", f"{path.name}: there is no decoder for its video codec")
        encrypted = "enc_key_id" in stream.metadata
        codec = stream.codec_context.codec.canonical_name
        turn = Turn()
        try:
            stream.codec_context.thread_count = 1
            for packet in container.demux(stream):
                decoded: list[av.VideoFrame] = []
                if first is None and not encrypted:
                    encrypted = packet.has_sidedata("encryption_info")
                    decoded = packet.decode()
                elif first is not None and comparing:
                    decoded = _decoded_or_none(packet)
                for frame in decoded:
                    if first is None:
                        first = frame
                        turn = turn_of(_display_matrix(frame))
                    samples += _sample_or_none(frame, first, turn)
                    comparing = 0 < len(samples) < MAX_SAMPLES and not _shows_something(samples[-1])
                if packet.size or packet.dts is not None:  # not the one that ends the stream
                    packets.append(_Packet.of(packet, codec))
        except Exception as error:
            # PyAV raises many types for damaged bytes: its own, IndexError for streams that appear later, and others.
            failure = words_of(error)
        time_base = float(stream.time_base or 0)
        rate = float(stream.average_rate or 0)
        share, remark = _held(path, container, stream, packets)
    if encrypted:
        raise VideoError("encrypted", f"{path.name}: the {codec} frames are encrypted")
    times = [packet[:2] for packet in packets if packet.shown]
    if first is None and not times and not failure:
        raise VideoError("no_frames", f"{path.name} has a {codec} stream without a single frame")
    if first is None:
        raise VideoError(
            "damaged", f"{path.name}: no frame of its {codec} stream decodes ({failure or 'no error given'})"
        )
    if not (first.width and first.height):
        raise VideoError("damaged", f"{path.name}: its {codec} stream gives frames without a size")
    timestamps, fps = _timing(times, time_base, rate)
    ticks, keys = (None, None) if failure or remark else _index_of(packets)
    return Probe(
        n_frames=len(timestamps),
        timestamps=timestamps,
        fps=fps,
        stored_height=first.height,
        stored_width=first.width,
        container=name,
        turn=turn,
        share=share,
        remark=remark,
        samples=tuple(samples),
        ticks=ticks,
        keys=keys,
    )


class _Packet(NamedTuple):
    """A packet of the video stream, times in units of the stream.

    Attributes:
        shown: whether its frame is ever shown.
        whole: whether its bytes are all there; of an empty one none are missing.
        key: whether decoding can begin with it.
    """

    pts: int | None
    dts: int | None
    duration: int
    shown: bool
    whole: bool
    key: bool = False

    @classmethod
    def of(cls, packet: av.Packet, codec: str) -> _Packet:
        shown = packet.size > 0 and not packet.is_discard
        if shown and codec in ("vp8", "vp9"):
            shown = not _is_hidden(bytes(packet), codec)
        return cls(packet.pts, packet.dts, packet.duration or 0, shown, not packet.is_corrupt, packet.is_keyframe)


def _index_of(packets: list[_Packet]) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """``ticks`` and ``keys`` of a `Probe`; None where frames cannot be told apart by their time stamps."""
    shown = [packet for packet in packets if packet.shown]
    stamps = [packet.pts for packet in shown]
    if not shown or None in stamps or len(set(stamps)) < len(stamps) or not all(packet.whole for packet in packets):
        return None, None
    ticks = np.sort(np.array(stamps, np.int64))
    return ticks, np.searchsorted(ticks, sorted(packet.pts for packet in shown if packet.key))


def _is_hidden(content: bytes, codec: str) -> bool:
    """Whether a packet of VP8 (RFC 6386, 9.1) or VP9 (its bitstream specification, 6.2) is only referred to by others.

    Files keep such frames in packets of their own, or in one packet with the next shown frame (Annex B).
    """
    if codec == "vp8":
        return not content[0] >> 4 & 1
    last = content[-1]
    if last >> 5 == 0b110:
        index_bytes = 2 + ((last >> 3 & 3) + 1) * ((last & 7) + 1)
        if len(content) >= index_bytes and content[-index_bytes] == last:
            return False
    # Frame marker, two bits of the profile, one that is reserved in profile 3, then show_existing_frame.
    bits = content[0] << 1 if content[0] >> 4 & 3 == 3 else content[0]
    return not (bits >> 3 & 1 or bits >> 1 & 1)


def _held(path: Path, container: Any, stream: Any, packets: list[_Packet]) -> tuple[float, str]:
    """Part of what the header promises that a file holds, in (0, 1], and words for it where that is not all."""
    unit = float(stream.time_base or 0)
    timed = [(packet.pts if packet.pts is not None else packet.dts, packet.duration) for packet in packets]
    timed = sorted((time, duration) for time, duration in timed if time is not None)
    if not timed or not unit:
        return 1.0, ""
    (first, _), (last, duration) = timed[0], timed[-1]
    interval = (last - first) / max(1, len(timed) - 1)
    start, end = first * unit, (last + (duration or interval)) * unit
    slack = interval * unit / 2 + ROUNDED_SECONDS
    name = container.format.name
    seconds = (stream.duration or 0) * unit or (container.duration or 0) / av.time_base
    if stream.frames:
        held = len(packets)
        if name == "avi":
            # Of frames that were dropped while it was recorded AVI keeps the number.
            held = max(held, *(packet.dts + 1 for packet in packets if packet.dts is not None))
        elif _part(seconds, start, end, slack) == 1:
            held = max(held, stream.frames)  # an edit list leaves frames out
        share = held / stream.frames
        held -= sum(not packet.whole for packet in packets)
        words = "" if held >= stream.frames else f"{stream.frames} frames, the file holds {held}"
    elif name in _WITH_DURATION:
        own = _tagged_seconds(stream.metadata)
        if name == "asf":
            seconds = _asf_seconds(path)
        if own and own <= seconds + slack:
            seconds = own
        elif _part(seconds, start, end, slack) < 1 and len(container.streams) > 1:
            end = max(end, _end_of_all(path))  # the duration may be that of the sound
        share = _part(seconds, start, end, slack)
        words = "" if share == 1 else f"{seconds:.2f} s, the file ends after {end - start:.2f} s"
    else:
        return 1.0, ""
    return min(1.0, max(share, 1e-9)), words and f"the header promises {words}"


def _part(seconds: float, start: float, end: float, slack: float) -> float:
    """Part of a duration that a stream from ``start`` to ``end`` fills, at most 1; all in seconds."""
    # Some writers count from the first frame, others from 0.
    promised = seconds if end <= seconds + slack else start + seconds
    return 1.0 if end + slack >= promised else (end - start) / (promised - start)


def _tagged_seconds(tags: Mapping[str, str]) -> float:
    """Duration of one stream, which writers of Matroska add as a tag ``DURATION`` or ``DURATION-eng``; 0 without it."""
    for name, value in tags.items():
        found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", value) if name.startswith("DURATION") else None
        if found:
            return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    return 0.0


def _asf_seconds(path: Path) -> float:
    """Duration in the file properties of Windows Media (ASF specification, 3.2), which FFmpeg drops in cut files."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    place = head.find(b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65")
    if place < 0 or len(head) < place + 92:
        return 0.0
    played, _, preroll, flags = struct.unpack_from("<QQQI", head, place + 64)
    return 0.0 if flags & 1 else max(0.0, played / 1e7 - preroll / 1e3)


def _end_of_all(path: Path) -> float:
    """Seconds at which the last packet of video or sound ends."""
    end = 0.0
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            for packet in container.demux([item for item in container.streams if item.type in ("audio", "video")]):
                time = packet.pts if packet.pts is not None else packet.dts
                if time is not None:
                    end = max(end, float((time + (packet.duration or 0)) * packet.time_base))
    except Exception:  # see first_look
        return end
    return end


def _display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """Display matrix int32 ``[9]`` of a decoded frame, from its container or its stream; see `turn_of`."""
    try:
        found = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV has no name for side data that is newer than itself, such as EXIF; then it still tells the angle.
        angle = math.radians(-frame.rotation)
        wide, high = round(65536 * math.cos(angle)), round(65536 * math.sin(angle))
        return np.array([wide, high, 0, -high, wide, 0, 0, 0, 1 << 30], np.int32)
    return None if found is None else np.frombuffer(found, np.int32)


def rgb(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    return frame.to_ndarray(format="rgb24", width=width, height=height)


def _decoded_or_none(packet: av.Packet) -> list[av.VideoFrame]:
    """Frames that a packet gives; of a damaged one none."""
    try:
        return packet.decode()
    except Exception:  # see first_look
        return []


def sample(picture: np.ndarray) -> np.ndarray:
    """About 32 × 32 pixels of a picture, int16: enough to tell whether two decoders show the same."""
    rows, columns = (max(1, side // 32) for side in picture.shape[:2])
    return picture[::rows, ::columns].astype(np.int16)


def _sample_or_none(frame: av.VideoFrame, first: av.VideoFrame, turn: Turn) -> list[np.ndarray]:
    """Sample of a frame in the size of the first one; none of a frame that is not a picture."""
    try:
        return [sample(turn.apply(rgb(frame, first.width, first.height)))]
    except Exception:  # see first_look
        return []


def _shows_something(sample: np.ndarray) -> bool:
    """Whether a picture is of more than one colour: a black one looks the same in a decoder that fails."""
    return bool(sample.std((0, 1)).max() > SAME_LEVELS)


def _timing(times: list[tuple[int | None, int | None]], time_base: float, rate: float) -> tuple[np.ndarray, float]:
    """Seconds since the first frame, float64 ``[n]``, and frames per second, from (pts, dts) of the packets."""
    n_frames = max(1, len(times))
    rate = rate if 0 < rate <= 1000 else NOMINAL_FPS
    for which in (0, 1):
        ticks = [time[which] for time in times]
        if ticks and time_base > 0 and None not in ticks:
            timestamps = since_first(np.sort(np.array(ticks, np.float64)) * time_base)
            if n_frames == 1 or timestamps[-1] > 0:
                return timestamps, rate_of(timestamps, rate)
    return np.arange(n_frames) / rate, rate


def rate_of(timestamps: np.ndarray, otherwise: float) -> float:
    """Mean frames per second of shown frames; ``otherwise`` where their times do not tell."""
    return (len(timestamps) - 1) / timestamps[-1] if len(timestamps) and timestamps[-1] > 0 else otherwise


def since_first(times: Iterable[float]) -> np.ndarray:
    """float64 ``[n]``, from 0 and never decreasing."""
    seconds = np.asarray(times, np.float64)
    return np.maximum.accumulate(seconds - seconds[0]) if len(seconds) else seconds


def words_of(error: Exception) -> str:
    """A decoder's error on one line, without the addresses and file names of its source code."""
    text = getattr(error, "strerror", None) or str(error)
    first_line = text.strip().split("\n")[0][:120]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
