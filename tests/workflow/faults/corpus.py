"""Damaged and odd videos, made from valid ones; every file is known by what was done to it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 25
N_FRAMES = 24


@dataclass(frozen=True)
class Known:
    """What a file must give: frames, and the time of each in seconds since the first."""

    times: tuple[float, ...]

    @property
    def n_frames(self) -> int:
        return len(self.times)


def picture(index: int, width: int, height: int, channels: int = 3) -> np.ndarray:
    """A bright square on a wandering path over a gradient: uint8 ``[height, width, channels]``."""
    y, x = np.mgrid[:height, :width]
    image = np.repeat(((x + 2 * y) % 200).astype(np.uint8)[..., None], channels, -1)
    side = max(1, min(width, height) // 4)
    left = index * 5 % max(1, width - side)
    image[height // 3 : height // 3 + side, left : left + side] = 250
    return image


def write(
    path: Path,
    codec: str = "libx264",
    *,
    container: str | None = None,
    size: tuple[int, int] = (96, 64),
    pix_fmt: str = "yuv420p",
    ticks: list[int] | None = None,
    first_packet: int = 0,
    options: dict[str, str] | None = None,
    format_options: dict[str, str] | None = None,
    with_sound: bool = False,
    n_frames: int = N_FRAMES,
) -> Known:
    """Encode pictures.

    Args:
        ticks: presentation time of each frame in 1/1000 s; by default 25 frames per second.
        first_packet: packets before it are left out of the file.
    """
    width, height = size
    ticks = [index * 1000 // RATE for index in range(n_frames)] if ticks is None else ticks
    with av.open(str(path), "w", format=container, options=format_options or {}) as file:
        stream = file.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.thread_count = 1
        per_second = 1000 if "mpeg4" not in codec and "mpeg1" not in codec and "mpeg2" not in codec else RATE
        if codec in ("h263", "flv1", "flv", "mjpeg"):
            per_second = RATE
        stream.codec_context.time_base = Fraction(1, per_second)
        sound = file.add_stream("aac" if container != "webm" else "libopus", rate=48000) if with_sound else None
        packets = []
        for index, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
            frame.pts, frame.time_base = tick * per_second // 1000, Fraction(1, per_second)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet in packets[first_packet:]:
            file.mux(packet)
        if sound is not None:
            write_sound(file, sound)
    seconds = np.array(ticks, np.float64) / 1000
    return Known(tuple(seconds - seconds[0]))


def write_sound(file: av.container.OutputContainer, stream: av.AudioStream) -> None:
    """One second of a tone."""
    tone = (np.sin(np.arange(48000) / 20) * 8000).astype(np.int16)
    resampler = av.AudioResampler(stream.codec_context.format, stream.codec_context.layout, 48000, 960)
    frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
    frame.sample_rate = 48000
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        file.mux(stream.encode(part))
    file.mux(stream.encode(None))


def patched(source: Path, target: Path, atom: bytes, change: Callable[[bytearray, int], None]) -> None:
    """Copy an MP4 file and change it behind the first name of an atom; ``change`` gets the place of that name."""
    content = bytearray(source.read_bytes())
    place = content.find(atom)
    assert place >= 0, f"{source.name} has no {atom!r}"
    change(content, place)
    target.write_bytes(content)


def put(offset: int, form: str, *values: int) -> Callable[[bytearray, int], None]:
    """A change that writes numbers ``offset`` bytes behind an atom's name."""
    return lambda content, place: struct.pack_into(form, content, place + offset, *values)


# The display matrix in `tkhd` (ISO/IEC 14496-12, 8.3.2): a, b, u, c, d, v, x, y, w.
MATRICES = {
    90: (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000),
    180: (-0x10000, 0, 0, 0, -0x10000, 0, 0, 0, 0x40000000),
    270: (0, -0x10000, 0, 0x10000, 0, 0, 0, 0, 0x40000000),
}


def make_valid(folder: Path) -> dict[str, Known]:
    """Odd files that are whole, with what they hold."""
    known = {
        "h264.mp4": write(folder / "h264.mp4"),
        "b_frames.mkv": write(folder / "b_frames.mkv", options={"bf": "3", "g": "12"}),
        "open_gop.mp4": write(folder / "open_gop.mp4", options={"bf": "3", "g": "8", "x264-params": "open-gop=1"}),
        "fragmented.mp4": write(
            folder / "fragmented.mp4", options={"g": "6"}, format_options={"movflags": "frag_keyframe+empty_moov"}
        ),
        "fast_start.mp4": write(folder / "fast_start.mp4", format_options={"movflags": "faststart"}),
        "intra_only.mov": write(folder / "intra_only.mov", options={"g": "1"}),
        "h265.mp4": write(folder / "h265.mp4", "libx265", options={"x265-params": "log-level=none"}),
        "vp8.webm": write(folder / "vp8.webm", "libvpx"),
        "vp9.webm": write(folder / "vp9.webm", "libvpx-vp9"),
        "mpeg4.avi": write(folder / "mpeg4.avi", "mpeg4"),
        "mjpeg.avi": write(folder / "mjpeg.avi", "mjpeg", pix_fmt="yuvj420p"),
        "mpeg1.mpg": write(folder / "mpeg1.mpg", "mpeg1video", options={"bf": "0"}),
        "mpeg2.mpg": write(folder / "mpeg2.mpg", "mpeg2video", options={"bf": "0"}),
        "h264_transport.ts": write(folder / "h264_transport.ts", options={"bf": "0"}),
        "h264_flash.flv": write(folder / "h264_flash.flv"),
        "flash.flv": write(folder / "flash.flv", "flv"),
        "h263.3gp": write(folder / "h263.3gp", "h263", size=(176, 144)),
        "raw.avi": write(folder / "raw.avi", "rawvideo"),
        "lossless.mkv": write(folder / "lossless.mkv", "ffv1"),
        "with_sound.mp4": write(folder / "with_sound.mp4", with_sound=True),
        "one_frame.mp4": write(folder / "one_frame.mp4", n_frames=1),
        "two_frames.mp4": write(folder / "two_frames.mp4", n_frames=2),
        "variable_rate.mp4": write(
            folder / "variable_rate.mp4", ticks=[0, 40, 45, 300, 301, 900, 1000, 2500, 2540, 2600]
        ),
        "irregular.mkv": write(folder / "irregular.mkv", ticks=[0, 100, 110, 500, 900, 901, 5000]),
        "slow.mp4": write(folder / "slow.mp4", ticks=[0, 10_000, 20_000, 30_000]),
        "fast.mkv": write(folder / "fast.mkv", ticks=list(range(50))),
        "negative_times.mkv": write(folder / "negative_times.mkv", ticks=list(range(-400, 560, 40))),
        "before_zero.mp4": write(
            folder / "before_zero.mp4",
            ticks=list(range(-400, 560, 40)),
            format_options={"avoid_negative_ts": "disabled", "use_editlist": "0", "movflags": "negative_cts_offsets"},
        ),
        "late_start.mkv": write(folder / "late_start.mkv", ticks=list(range(3_600_000, 3_600_960, 40))),
        "odd_size.mkv": write(folder / "odd_size.mkv", "ffv1", size=(65, 49), pix_fmt="yuv444p"),
        "odd_sides.mp4": write(folder / "odd_sides.mp4", size=(65, 49), pix_fmt="yuv444p"),
        "narrow.mp4": write(folder / "narrow.mp4", size=(18, 480)),
        "flat.mp4": write(folder / "flat.mp4", size=(640, 16)),
        "tiny.mp4": write(folder / "tiny.mp4", size=(2, 2)),
        "one_pixel.mkv": write(folder / "one_pixel.mkv", "ffv1", size=(1, 1), pix_fmt="yuv444p"),
        "4k.mp4": write(folder / "4k.mp4", size=(3840, 2160), n_frames=3, options={"preset": "ultrafast"}),
        "ten_bit.mp4": write(folder / "ten_bit.mp4", pix_fmt="yuv420p10le"),
        "ten_bit_h265.mkv": write(
            folder / "ten_bit_h265.mkv", "libx265", pix_fmt="yuv420p10le", options={"x265-params": "log-level=none"}
        ),
        "grey.mp4": write(folder / "grey.mp4", pix_fmt="gray"),
        "full_range.mp4": write(folder / "full_range.mp4", pix_fmt="yuvj420p"),
        "interlaced.mp4": write(folder / "interlaced.mp4", options={"x264-params": "interlaced=1"}),
        "alpha.mov": write(folder / "alpha.mov", "qtrle", pix_fmt="argb"),
    }
    for name, source in (
        ("mkv_named.avi", "b_frames.mkv"),
        ("mp4_named.webm", "h264.mp4"),
        ("ts_named.mp4", "h264_transport.ts"),
        ("no_extension", "h264.mp4"),
        ("name with [brackets] & ümläut.mp4", "h264.mp4"),
    ):
        (folder / name).write_bytes((folder / source).read_bytes())
        known[name] = known[source]
    for degrees, matrix in MATRICES.items():
        # Version 0 of `tkhd`: the matrix begins 40 bytes behind the size and name.
        patched(folder / "h264.mp4", folder / f"turned_{degrees}.mp4", b"tkhd", put(44, ">9i", *matrix))
        known[f"turned_{degrees}.mp4"] = known["h264.mp4"]
    for atom, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        name = f"absurd_duration_{atom.decode()}.mp4"
        patched(folder / "h264.mp4", folder / name, atom, put(offset, ">I", 0xFFFFFFFE))
        known[name] = known["h264.mp4"]
    return known


def make_odd(folder: Path) -> None:
    """Files of which nobody can say beforehand what a decoder should make of them, or which hold no video."""
    write(folder / "no_key_frame_at_start.ts", options={"g": "12", "bf": "0"}, first_packet=5)
    write(folder / "no_key_frame_first.mkv", options={"g": "12", "bf": "0"}, first_packet=5)
    write(folder / "no_key_frame_at_all.mkv", options={"g": "100", "bf": "0"}, first_packet=1)
    (folder / "two_sizes.ts").write_bytes(
        b"".join(_of(folder, f"part_{size[0]}.ts", size) for size in ((96, 64), (64, 96)))
    )
    (folder / "twice.mp4").write_bytes(2 * (folder / "h264.mp4").read_bytes())
    (folder / "picture_as_video.mp4").write_bytes(_picture_bytes(folder))
    for name, container in (("sound_only.mp4", "mp4"), ("sound_alone.mkv", "matroska")):
        with av.open(str(folder / name), "w", format=container) as file:
            write_sound(file, file.add_stream("aac", rate=48000))
    for name, content in {
        "empty.mp4": b"",
        "one_byte.mp4": b"\0",
        "zeros.mp4": bytes(100_000),
        "noise.mp4": random.Random(1).randbytes(100_000),
        "page.mp4": b"<!DOCTYPE html><html><body>404</body></html>",
        "pointer.mp4": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n",
        "concat.mp4": b"ffconcat version 1.0\nfile /etc/hostname\n",
        "subtitles.mp4": b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
        "archive.mp4": b"PK\x05\x06" + bytes(18),
        "program.mp4": b"\x7fELF" + bytes(200),
        "script.mp4": b"#!/bin/sh\necho no\n",
    }.items():
        (folder / name).write_bytes(content)
    (folder / "dangling.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "itself.mp4").symlink_to(folder / "itself.mp4")
    (folder / "empty_folder.mp4").mkdir()
    plain = folder / "h264.mp4"
    # Full-box atoms: 4 bytes of version and flags, then a number of entries.
    for atom, offset, form, values in (
        (b"stts", 8, ">I", (0x7FFFFFFF,)),
        (b"stts", 12, ">II", (0x7FFFFFFF, 1)),
        (b"stsz", 12, ">I", (0x7FFFFFFF,)),
        (b"stsz", 8, ">I", (0x7FFFFFFF,)),
        (b"stco", 8, ">I", (0x7FFFFFFF,)),
        (b"stco", 12, ">I", (0xFFFFFFF0,)),
        (b"stsc", 12, ">III", (1, 0x7FFFFFFF, 1)),
        (b"stss", 8, ">I", (0x7FFFFFFF,)),
        (b"avc1", 28, ">HH", (65535, 65535)),
        (b"tkhd", 80, ">II", (0xFFFFFFFF, 0xFFFFFFFF)),
        (b"mdhd", 16, ">I", (0,)),
        (b"mvhd", 16, ">I", (0,)),
        (b"mdat", -4, ">I", (8,)),
        (b"mdat", -4, ">I", (0xFFFFFFFF,)),
        (b"moov", -4, ">I", (7,)),
        (b"trak", -4, ">I", (0xFFFFFFFF,)),
        (b"avcC", 4, ">I", (0,)),
        (b"avcC", 12, ">I", (0xFFFFFFFF,)),
    ):
        name = f"absurd_{atom.decode()}_{offset}_{values[0]:x}.mp4"
        patched(plain, folder / name, atom, put(offset, form, *values))


def _of(folder: Path, name: str, size: tuple[int, int]) -> bytes:
    write(folder / name, size=size, options={"bf": "0"})
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    return content


def _picture_bytes(folder: Path) -> bytes:
    from PIL import Image

    Image.fromarray(picture(0, 96, 64)).save(folder / "picture.png")
    content = (folder / "picture.png").read_bytes()
    (folder / "picture.png").unlink()
    return content


def atoms(content: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Offsets at which the atoms of an MP4 file begin, nested ones too."""
    end = len(content) if end is None else end
    while start + 8 <= end:
        length, name = struct.unpack_from(">I4s", content, start)
        if length < 8:
            return
        yield start
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf"):
            yield from atoms(content, start + 8, min(end, start + length))
        start += length


# Where the parts of other containers begin: EBML ids of segment, tracks, cluster and cues; RIFF chunks; packs.
PARTS = {
    ".mkv": (b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b"),
    ".webm": (b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b"),
    ".avi": (b"LIST", b"avih", b"strh", b"strf", b"movi", b"00dc", b"idx1"),
    ".mpg": (b"\0\0\1\xba", b"\0\0\1\xbb", b"\0\0\1\xe0", b"\0\0\1\xb3"),
    ".ts": (b"\x47\x40\x11", b"\x47\x40\0", b"\x47\x50\0", b"\x47\x41\0"),
    ".flv": (b"\x12\0", b"\x09\0"),
}


def joints(path: Path) -> list[int]:
    """Offsets of a valid file at which its structure can be cut."""
    content = path.read_bytes()
    if path.suffix in (".mp4", ".mov"):
        return sorted(set(atoms(content)))
    return sorted({place for part in PARTS[path.suffix] if (place := content.find(part)) > 0})


def make_damaged(folder: Path, sources: list[str], seed: int) -> None:
    """Cuts at every joint and between, flipped bits, and blocks that are zeroed, doubled, dropped or exchanged."""
    draw = random.Random(seed)
    for name in sources:
        source = folder / name
        content = source.read_bytes()
        stem, suffix = name.rsplit(".", 1)
        size = len(content)

        def save(what: str, changed: bytes, stem: str = stem, suffix: str = suffix) -> None:
            (folder / f"{stem}_{what}.{suffix}").write_bytes(changed)

        cuts = {f"joint_{place}": place + inside for place in joints(source) for inside in (4,)}
        cuts |= {f"part_{part}": size * part // 100 for part in (5, 40, 60, 95)}
        for what, place in {**cuts, "last_byte": size - 1}.items():
            save(f"cut_{what}", content[:place])
        for count in (1, 10, 100, 1000):
            for where, limit in (("head", min(size, 1024)), ("anywhere", size)):
                changed = bytearray(content)
                for _ in range(count):
                    changed[draw.randrange(limit)] ^= 1 << draw.randrange(8)
                save(f"flipped_{count}_{where}", changed)
        a, b = sorted(draw.sample(range(1, size), 2))
        save("zeroed", content[:a] + bytes(b - a) + content[b:])
        save("dropped", content[:a] + content[b:])
        save("doubled", content[:b] + content[a:])
        save("exchanged", content[b:] + content[:b])
        save("noise_in", content[:a] + draw.randbytes(500) + content[a:])


SOURCES = [
    "h264.mp4",
    "fragmented.mp4",
    "b_frames.mkv",
    "vp9.webm",
    "mpeg4.avi",
    "mpeg2.mpg",
    "h264_transport.ts",
    "h264_flash.flv",
]


def make(folder: Path, seed: int = 0) -> dict[str, Known]:
    """Write the whole corpus; what is known of the files that are valid."""
    folder.mkdir(parents=True)
    known = make_valid(folder)
    make_odd(folder)
    make_damaged(folder, SOURCES, seed)
    return known
