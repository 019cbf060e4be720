from __future__ import annotations

import importlib.util
import os
import pickle
import random
import re
import struct
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from pipeline.data import readers
from pipeline.data.probe import REASONS
from pipeline.data.readers import BackendError, VideoError, open_video, resize_and_crop, sample_indices

N, HEIGHT, WIDTH = 24, 48, 64
# It has wheels for few machines.
HAS_DECORD = importlib.util.find_spec("decord") is not None
BOTH = pytest.mark.parametrize("backend", ["decord", "pyav"])


def write_video(
    path, codec="libx264", n=N, height=HEIGHT, width=WIDTH, spoil=None, picture=None, rotation=0, **options
):
    """Frame ``i`` is grey with value ``10 i``, unless a picture is given; ``spoil(i, bytes)`` damages packets."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.options = height, width, options
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        position = 0
        for index in [*range(n), None]:
            frame = None
            if index is not None:
                values = np.full((height, width, 3), 10 * index, np.uint8) if picture is None else picture
                frame = av.VideoFrame.from_ndarray(values, format="rgb24")
            for packet in stream.encode(frame):
                content = bytes(packet)
                spoiled = spoil(position, content) if spoil else content
                if spoiled != content:
                    damaged = av.Packet(spoiled)
                    damaged.stream, damaged.time_base = stream, packet.time_base
                    damaged.pts, damaged.dts = packet.pts, packet.dts
                    packet = damaged
                container.mux(packet)
                position += 1
    return path


def positions(frames):
    """Which frame each one is, told by its grey value; −1 where it is none of them."""
    grey = frames[:, frames.shape[1] // 2, frames.shape[2] // 2].astype(int).mean(1)  # [n]
    nearest = np.round(grey / 10).astype(int)
    return np.where(np.abs(grey - 10 * nearest) < 4, nearest, -1).tolist()


def read_all(path, backend="decord", size=32):
    """All frames, the starts of the batches, and the video."""
    with open_video(path, backend) as video:
        batches = list(video.batches(size))
    return np.concatenate([batch for _, batch in batches]), [start for start, _ in batches], video


# -------------------------------------------------------------------------------------------------------- good videos


@pytest.mark.parametrize("backend", readers.BACKENDS)
@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("plain.mp4", "libx264", {"g": "6"}),
        ("bidirectional [a], (1).mkv", "libx264", {"bf": "3"}),
        ("without pts.avi", "libx264", {"bf": "3"}),
        ("transport stream.ts", "mpeg2video", {}),  # decord and torchcodec would start at frame 12
        ("program stream.vob", "mpeg2video", {}),  # and here at frame 1
        ("hidden frames.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("pictures.mov", "mjpeg", {}),
    ],
)
def test_every_frame_once_and_in_order(tmp_path, backend, name, codec, options):
    if backend == "torchcodec":
        pytest.importorskip("torchcodec")
    frames, starts, video = read_all(write_video(tmp_path / name, codec, **options), backend, size=7)
    assert positions(frames) == list(range(N))
    assert frames.shape == (N, HEIGHT, WIDTH, 3) and frames.dtype == np.uint8
    assert starts == [0, 7, 14, 21]
    assert (video.n_frames, video.n_decoded, video.height, video.width) == (N, N, HEIGHT, WIDTH)
    assert video.fps == pytest.approx(25, rel=2e-3)
    assert video.timestamps.dtype == np.float64
    np.testing.assert_allclose(video.timestamps, np.arange(N) / 25, atol=2e-3)  # Matroska counts milliseconds


@BOTH
def test_frames_by_index(tmp_path, backend):
    path = write_video(tmp_path / "a.mp4", bf="3", g="5")
    with open_video(str(path), backend) as video:
        assert positions(video.frames([17, 3, 3, 0, 23])) == [17, 3, 3, 0, 23]
        assert positions(video.frames(np.array([5, 4], np.int32))) == [5, 4]
        assert video.frames([]).shape == (0, HEIGHT, WIDTH, 3)
        assert positions(np.concatenate([batch for _, batch in video.batches()])) == list(range(N))
        for wrong in ([24], [-1]):
            with pytest.raises(IndexError, match="24 frames"):
                video.frames(wrong)
        with pytest.raises(ValueError, match="size=0"):
            next(video.batches(0))


def test_a_pass_can_be_left_and_its_batches_kept(tmp_path):
    with open_video(write_video(tmp_path / "a.mp4")) as video:
        for start, _ in video.batches(4):
            if start == 8:
                break
        assert video.n_decoded is None
        kept = [batch for _, batch in video.batches(5)]
    assert positions(np.concatenate(kept)) == list(range(N))


def test_batches_of_large_pictures_are_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_BATCH_BYTES", 5 * HEIGHT * WIDTH * 3 + 100)
    frames, starts, _ = read_all(write_video(tmp_path / "a.mp4"))
    assert starts == [0, 5, 10, 15, 20] and positions(frames) == list(range(N))


@BOTH
@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (180, 2), (270, 3), (-90, 3)])
def test_rotated_pictures_are_upright(tmp_path, backend, degrees, quarters):
    picture = np.zeros((32, 80, 3), np.uint8)
    picture[:16, :40], picture[16:, 40:] = (240, 20, 20), (20, 20, 240)
    path = write_video(tmp_path / "a.mp4", n=3, height=32, width=80, picture=picture, rotation=degrees)
    frames, _, video = read_all(path, backend)
    expected = np.rot90(picture, quarters)
    assert (video.height, video.width) == expected.shape[:2] == frames.shape[1:3]
    assert np.abs(frames.astype(int) - expected).mean() < 6


ONE = 1 << 16
# a, b, c, d of the display matrix: a pixel at (x, y) is shown at (a x + c y, b x + d y).
MATRICES = [
    *((a, 0, 0, d) for a in (1, -1) for d in (1, -1)),
    *((0, b, c, 0) for b in (1, -1) for c in (1, -1)),
    (-0.5, 0, 0, 2),
    (0, 2, 2, 0),
]


def shown_by(matrix, picture):
    """Every pixel of a picture ``[H, W, 3]`` at the place where a matrix of right angles shows it."""
    a, b, c, d = np.sign(matrix).astype(int)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    across, down = a * x + c * y, b * x + d * y
    across, down = across - across.min(), down - down.min()
    result = np.zeros((down.max() + 1, across.max() + 1, 3), np.uint8)
    result[down, across] = picture
    return result


def with_matrix(path, matrix):
    """Write a display matrix into the header of an MP4 file (ISO/IEC 14496-12, 8.3.2)."""
    a, b, c, d = (round(value * ONE) for value in matrix)
    content = bytearray(path.read_bytes())
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def corners(height=32, width=80):
    """A picture that looks different however it is turned or mirrored."""
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[:16, :40], picture[16:, 40:], picture[:16, 40:] = (240, 20, 20), (20, 20, 240), (20, 220, 20)
    return picture


@pytest.mark.parametrize("backend", readers.BACKENDS)
@pytest.mark.parametrize("matrix", MATRICES)
def test_display_matrices_turn_and_mirror(tmp_path, backend, matrix):
    if backend == "torchcodec":
        pytest.importorskip("torchcodec")
    path = with_matrix(write_video(tmp_path / "a.mp4", n=3, height=32, width=80, picture=corners()), matrix)
    frames, _, video = read_all(path, backend)
    expected = shown_by(matrix, corners())
    assert (video.height, video.width) == expected.shape[:2] == frames.shape[1:3]
    assert np.abs(frames.astype(int) - expected).mean() < 6


@BOTH
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_matrices_of_other_containers(tmp_path, backend, degrees):
    """decord knows those of MP4 alone, and a square that it has not turned has the right size."""
    path = write_video(tmp_path / "a.mkv", n=3, height=64, width=64, picture=corners(64, 64), rotation=degrees)
    frames, _, video = read_all(path, backend)
    assert np.abs(frames.astype(int) - np.rot90(corners(64, 64), degrees // 90)).mean() < 6
    assert video.decoder == "pyav"


@BOTH
def test_a_matrix_of_another_angle_turns_within_the_frame(tmp_path, backend):
    picture = np.full((64, 64, 3), 30, np.uint8)
    picture[28:36, 44:56] = 250  # right of the middle
    angle = np.radians(30)
    matrix = (np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle))
    frames, _, _ = read_all(
        with_matrix(write_video(tmp_path / "a.mp4", n=2, picture=picture, height=64), matrix), backend
    )
    y, x = np.nonzero(frames[0, ..., 0] > 200)
    turned = np.degrees(np.arctan2(y.mean() - 31.5, x.mean() - 31.5))
    assert turned == pytest.approx(30, abs=4) and frames.shape == (2, 64, 64, 3)
    assert frames[0, 0, 0].max() < 8  # nothing of the picture is there


def test_side_data_that_pyav_cannot_name_hides_no_frame(tmp_path):
    path = write_palette(tmp_path / "a.mov", "tiff")  # FFmpeg gives its frames EXIF
    assert len(read_all(path)[0]) == N


COLOURS = np.array([(0, 0, 0), (220, 30, 30), (30, 200, 30), (40, 40, 220)], np.uint8)


def write_palette(path, codec, dark=0):
    """Frames of four colours in a palette, of which the first ones are black: (path, frames)."""
    palette = np.zeros((256, 4), np.uint8)
    palette[: len(COLOURS)] = np.insert(COLOURS, 0, 255, axis=1)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "pal8"
        for index in range(N):
            frame = av.VideoFrame.from_ndarray((palette_indices(index, dark), palette), format="pal8")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def palette_indices(index, dark=0):
    indices = np.zeros((HEIGHT, WIDTH), np.uint8)
    if index >= dark:
        indices[:, WIDTH // 2 :], indices[index : index + 4] = 1, 2
        indices[: HEIGHT // 2, :9] = 3
    return indices


@pytest.mark.parametrize("backend", readers.BACKENDS)
@pytest.mark.parametrize("dark", [0, 5])
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mov", "smc"), ("a.avi", "rawvideo"), ("a.mov", "rawvideo"), ("b.avi", "msrle")]
)
def test_palettes_show_their_colours(tmp_path, backend, name, codec, dark):
    """decord and torchcodec show most of these black, which is right only as long as the video is."""
    if backend == "torchcodec":
        pytest.importorskip("torchcodec")
    frames, _, video = read_all(write_palette(tmp_path / name, codec, dark), backend)
    np.testing.assert_array_equal(frames, COLOURS[np.stack([palette_indices(index, dark) for index in range(N)])])
    if codec != "msrle" and (backend == "torchcodec" or (backend == "decord" and HAS_DECORD)):
        assert re.match(rf"at frame {dark}: {backend} shows other pixels, \d+ grey levels apart", video.note)
        assert video.decoder == (f"{backend} + pyav" if dark else "pyav")


@pytest.mark.parametrize("width", [2, 16, 24, 48])
def test_narrow_pictures_that_decord_garbles(tmp_path, width):
    frames, _, video = read_all(write_video(tmp_path / "a.mp4", width=width))
    assert frames.shape == (N, HEIGHT, width, 3) and positions(frames) == list(range(N))
    assert not HAS_DECORD or "decord gives frames" in video.note


def test_times_of_a_video_with_variable_frame_rate(tmp_path):
    # A packet that never comes leaves a gap in time and none in the frames.
    path = tmp_path / "a.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for index in [0, 1, 5, 6, 12]:
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 10 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames, _, video = read_all(path)
    assert positions(frames) == [0, 1, 5, 6, 12]
    np.testing.assert_allclose(video.timestamps, np.array([0, 1, 5, 6, 12]) / 25, atol=1e-6)
    assert video.fps == pytest.approx(4 / (12 / 25))


@BOTH
@pytest.mark.parametrize(
    ("name", "codec", "shown", "n_packets"),
    [
        ("a.webm", "libvpx", 1 << 4, 80),
        ("a.nut", "libvpx-vp9", 1 << 1, 80),
        ("a.webm", "libvpx-vp9", 1 << 1, 72),  # its writer puts a hidden frame into the packet of the next one
    ],
)
def test_frames_that_are_never_shown_count_for_nothing(tmp_path, backend, name, codec, shown, n_packets):
    """A copy of each eighth key frame, without the flag that it is shown, stands before it."""
    with av.open(tmp_path / name, "w") as container:
        stream = container.add_stream(codec, rate=Fraction(24000, 1001), options={"g": "9", "lag-in-frames": "0"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for index in [*range(72), None]:
            picture = None if index is None else np.roll(corners(HEIGHT, WIDTH), 2 * index, 1)
            frame = None if index is None else av.VideoFrame.from_ndarray(picture, format="rgb24")
            for packet in stream.encode(frame):
                content, pts = bytes(packet), 1001 * packet.pts + 1001
                hidden = [bytes([content[0] & ~shown]) + content[1:]] if packet.is_keyframe else []
                for early, each in zip((1, 0)[-len(hidden) - 1 :], [*hidden, content], strict=True):
                    made = av.Packet(each)
                    made.stream, made.time_base, made.pts, made.dts = (
                        stream,
                        Fraction(1, 24000),
                        pts - early,
                        pts - early,
                    )
                    made.is_keyframe = packet.is_keyframe
                    container.mux(made)
    with av.open(tmp_path / name) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) == n_packets
    with open_video(tmp_path / name, backend) as video:
        assert video.n_frames == 72 and video.fps == pytest.approx(24000 / 1001, rel=2e-3)
        frames = np.concatenate([batch for _, batch in video.batches()])
    assert len(frames) == 72 and not video.note.startswith("72 of")
    np.testing.assert_allclose(video.timestamps, np.arange(72) * 1001 / 24000, atol=2e-3)


def test_the_rate_is_that_of_the_frames_that_came(tmp_path):
    """Packets of nothing at the end are no frames, and their times say nothing about the rate."""

    def drop(index, content):
        return b"\0\0\1\xb2user" if index >= 13 else content

    path = write_video(tmp_path / "a.avi", "mpeg2video", bf="0", spoil=drop)
    _, _, video = read_all(path)
    assert video.n_decoded == 13 and video.fps == pytest.approx(12 / video.timestamps[-1]) == pytest.approx(25)


# ----------------------------------------------------------------------------------------------------- damaged videos


@BOTH
def test_missing_frames_are_not_filled_with_older_ones(tmp_path, backend):
    def drop(index, content):
        return b"\0\0\1\xb2user" if index >= 21 else content

    frames, _, video = read_all(write_video(tmp_path / "a.avi", "mpeg2video", bf="0", spoil=drop), backend)
    assert positions(frames) == list(range(21))
    assert (video.n_frames, video.n_decoded, len(video.timestamps)) == (24, 21, 21)
    assert video.note.startswith("21 of 24 frames decode")
    with pytest.raises(IndexError, match="21 frames"):
        video.frames([21])
    assert positions(video.frames([20])) == [20]


@BOTH
def test_damage_after_the_middle_keeps_the_frames_before_it(tmp_path, backend):
    path = write_video(
        tmp_path / "a.mp4", "mpeg4", spoil=lambda i, content: bytes(len(content)) if i == 15 else content
    )
    frames, _, video = read_all(path, backend)
    assert positions(frames) == list(range(15)) and video.n_decoded == 15
    with open_video(path, backend) as again, pytest.raises(VideoError, match=r"frame 20 is needed, but 15 of 24"):
        again.frames([3, 20])


@BOTH
def test_damage_before_the_middle_is_an_error(tmp_path, backend):
    path = write_video(tmp_path / "a.mp4", "mpeg4", spoil=lambda i, content: bytes(len(content)) if i == 9 else content)
    seen = []
    with pytest.raises(VideoError, match="9 of 24 frames decode") as caught, open_video(path, backend) as video:
        for _, batch in video.batches(4):
            seen += positions(batch)
    assert caught.value.reason == "damaged"
    assert seen == list(range(8))


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_cut_videos(tmp_path, part):
    whole = write_video(tmp_path / "whole.avi", "mpeg4", bf="0").read_bytes()
    start, end = whole.index(b"movi"), whole.index(b"idx1")
    (tmp_path / "cut.avi").write_bytes(whole[: start + int(part * (end - start))])
    if part < 0.5:
        with pytest.raises(
            VideoError, match=r"header promises 24 frames, the file holds \d+; it was probably truncated"
        ):
            open_video(tmp_path / "cut.avi")
    with open_video(tmp_path / "cut.avi", min_fraction=0.1) as video:
        assert "header promises 24 frames" in video.note
        frames = np.concatenate([batch for _, batch in video.batches()])
    assert 1 < len(frames) < N and "header promises 24 frames" in video.note
    assert positions(frames)[:-1] == list(range(len(frames) - 1))  # the last packet itself may be cut
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: int(part * len(whole))])  # the index of an MP4 file is at its end
    with pytest.raises(VideoError, match="cut") as caught:
        open_video(tmp_path / "cut.mp4")
    assert caught.value.reason == "damaged"


def write_noise(path, codec, n=100, sound="", seconds=0.0, **options):
    """Frames of equal size, so that a part of the file holds that part of them, and a tone if one is wanted."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream(codec, rate=25, options={"g": "1", "qmin": "10", "qmax": "10", "crf": "10"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        tone = container.add_stream(sound, rate=48000) if sound else None
        packets = []
        for index in [*range(n), None]:
            frame = None if index is None else av.VideoFrame.from_ndarray(np.roll(noise, index, 1), format="rgb24")
            packets += stream.encode(frame)
        for start in range(0, int(48000 * seconds), 960) if tone else ():
            samples = (9000 * np.sin(np.arange(start, start + 960) / 20)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 48000, start
            packets += tone.encode(frame)
        packets += tone.encode(None) if tone else []
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            container.mux(packet)
    return path


PROMISING = [
    ("a.avi", "mpeg4", {}),
    ("a.mp4", "libx264", {"movflags": "faststart"}),
    ("a.mov", "mpeg4", {"movflags": "faststart"}),
    ("a.mkv", "libx264", {}),
    ("a.webm", "libvpx", {}),
    ("a.flv", "flv", {}),
    ("a.wmv", "wmv2", {}),
]


@BOTH
@pytest.mark.parametrize(("name", "codec", "options"), PROMISING)
def test_less_than_the_header_promises_is_told(tmp_path, backend, name, codec, options):
    path = write_noise(tmp_path / name, codec, **options)
    content = path.read_bytes()
    frames, _, video = read_all(path, backend)
    assert len(frames) == 100 and not video.note
    for percent in (25, 75, 95):
        path.write_bytes(content[: len(content) * percent // 100])
        with open_video(path, backend, min_fraction=0) as video:
            n_frames = sum(len(batch) for _, batch in video.batches())
        assert 10 < n_frames < percent + 10
        assert re.search(
            r"header promises (100 frames, the file holds \d\d|4\.\d+ s, the file ends after \d\.\d+ s)", video.note
        )
        if percent == 25:
            with pytest.raises(VideoError, match="header promises") as caught:
                open_video(path, backend)
            assert caught.value.reason == "damaged"
        else:
            assert read_all(path, backend)[2].note == video.note
            with pytest.raises(VideoError, match="it was probably truncated"):
                open_video(path, backend, min_fraction=0.99)


@pytest.mark.parametrize(
    ("name", "sound"), [("a.mkv", "aac"), ("a.webm", "libopus"), ("a.mp4", "aac"), ("a.flv", "aac")]
)
def test_sound_that_is_longer_promises_no_frames(tmp_path, name, sound):
    codec, options = ("libvpx" if name == "a.webm" else "libx264"), {"movflags": "faststart"} if name == "a.mp4" else {}
    path = write_noise(tmp_path / name, codec, 25, sound, 4.0, **options)
    frames, _, video = read_all(path)
    assert len(frames) == 25 and not video.note
    content = path.read_bytes()
    if name == "a.mkv":
        # Without the tag that tells it for each stream.
        path.write_bytes(content.replace(b"DURATION", b"DURATIOX"))
        assert not read_all(path)[2].note
    content = write_noise(path, codec, 100, sound, 4.0, **options).read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10])
    frames, _, video = read_all(path)
    assert 60 < len(frames) < 75 and "header promises" in video.note
    path.write_bytes(content[: len(content) * 3 // 10])
    with pytest.raises(VideoError, match="header promises"):
        read_all(path)


def test_frames_that_an_edit_list_leaves_out_are_not_missing(tmp_path):
    path = write_noise(tmp_path / "a.mp4", "libx264")
    content = bytearray(path.read_bytes())
    place = content.index(b"elst")
    (duration,) = struct.unpack_from(">I", content, place + 12)
    struct.pack_into(">I", content, place + 12, duration // 4)
    path.write_bytes(content)
    frames, _, video = read_all(path)
    assert 20 <= len(frames) <= 40 and not video.note


def test_an_excerpt_needs_nothing_behind_it(tmp_path):
    path = write_noise(tmp_path / "a.avi", "mpeg4")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 4 // 10])
    with open_video(path, frames=(5, 15)) as video:
        assert sum(len(batch) for _, batch in video.batches()) == 10
    with pytest.raises(VideoError, match="header promises 100 frames") as caught:
        open_video(path, frames=(20, 90))
    assert caught.value.reason == "damaged"
    with open_video(path, frames=(20, 90), min_fraction=0.1) as video:
        assert 5 < sum(len(batch) for _, batch in video.batches()) < 30 and "header promises" in video.note
    with pytest.raises(VideoError, match="excerpt begins at 80"):
        open_video(path, frames=(80, 90))


def test_a_cut_matroska_file_is_damaged_and_not_unreadable(tmp_path):
    whole = write_video(tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: whole.index(b"\x16\x54\xae\x6b") + 4])  # within the header of the tracks
    with pytest.raises(VideoError) as caught:
        open_video(tmp_path / "cut.mkv")
    assert caught.value.reason == "damaged"


@pytest.mark.parametrize("seed", range(24))
def test_nothing_but_video_errors_escapes(tmp_path, seed):
    kinds = [
        ("a.mp4", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx"),
        ("a.ts", "mpeg2video"),
    ]
    name, codec = kinds[seed % len(kinds)]
    content = bytearray(write_video(tmp_path / name, codec).read_bytes())
    chance = random.Random(seed)
    start = chance.randrange(len(content))
    if seed % 3 == 0:
        del content[start : start + chance.choice([1, 50, 1000])]
    elif seed % 3 == 1:
        for _ in range(chance.choice([3, 30, 300])):
            content[chance.randrange(len(content))] = chance.randrange(256)
    else:
        content[start:] = bytes(len(content) - start)
    (tmp_path / name).write_bytes(content)
    try:
        frames, _, video = read_all(tmp_path / name)
    except VideoError as error:
        assert error.reason in REASONS
    else:
        assert len(frames) == video.n_decoded == len(video.timestamps) <= video.n_frames
        assert (np.diff(video.timestamps) >= 0).all()


def write_sound(path):
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def write_unknown_codec(path):
    path.write_bytes(write_video(path).read_bytes().replace(b"avc1", b"zzz1"))


@pytest.mark.parametrize(
    ("reason", "words", "make"),
    [
        ("missing", "does not exist", lambda path: None),
        ("missing", "does not exist", lambda path: path.symlink_to(path.parent / "nowhere.mp4")),
        ("empty", "no bytes", lambda path: path.touch()),
        ("not_a_video", "web page", lambda path: path.write_text("\ufeff\n<!DOCTYPE html><html></html>")),
        ("not_a_video", "git lfs pull", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n")),
        ("not_a_video", "playlist", lambda path: path.write_text("#EXTM3U\nhttp://127.0.0.1:9/a.ts\n")),
        ("not_a_video", "no known video format", lambda path: path.write_text("moved to another place\n" * 9)),
        ("not_a_video", "no known video format", lambda path: path.write_bytes(random.Random(0).randbytes(9999))),
        ("not_a_video", "no known video format", lambda path: path.write_bytes(bytes(9999))),
        ("not_a_video", "single picture", lambda path: path.write_bytes(cv2.imencode(".png", np.eye(9))[1])),
        ("not_a_video", "neither a file nor a folder", os.mkfifo),
        ("no_video_stream", "holds audio", write_sound),
        ("unsupported", "no decoder", write_unknown_codec),
        ("no_frames", "no .jpg, .jpeg or .png", lambda path: path.mkdir()),
    ],
)
@BOTH
def test_other_content_is_named(tmp_path, backend, reason, words, make):
    make(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match=re.escape(words)) as caught:
        open_video(tmp_path / "a.mp4", backend)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{reason}: ") and "a.mp4" in caught.value.detail


def test_impossible_paths():
    for path in ("a\0b.mp4", "x" * 5000 + ".mp4"):
        with pytest.raises(VideoError) as caught:
            open_video(path)
        assert caught.value.reason == "unreadable"


def test_names_that_are_not_utf8(tmp_path):
    place = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    write_video(tmp_path / "a.mp4").rename(os.fsdecode(place))
    assert positions(read_all(os.fsdecode(place))[0]) == list(range(N))


def test_errors_travel_between_processes_and_use_documented_reasons(project):
    error = pickle.loads(pickle.dumps(VideoError("damaged", "half of it")))
    assert (error.reason, error.detail, str(error)) == ("damaged", "half of it", "damaged: half of it")
    sources = [path.read_text() for path in (project / "pipeline").rglob("*.py")]
    used = {reason for text in sources for reason in re.findall(r"VideoError\(\s*\"(\w+)\"", text)}
    assert used == set(REASONS)


def test_decoders_are_quiet(tmp_path, capfd):
    read_all(write_video(tmp_path / "a.mp4", "mpeg4", spoil=lambda i, content: content[:9] if i == 15 else content))
    capfd.readouterr()  # the encoder's own words
    read_all(tmp_path / "a.mp4")
    assert capfd.readouterr() == ("", "")


def test_backends_that_are_not_there(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4")
    with pytest.raises(BackendError, match=r"`opencv`; choose one of decord, pyav, torchcodec"):
        open_video(path, "opencv")
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    with pytest.raises(BackendError, match=r"install the package `torchcodec`.*or set data\.decode\.backend to decord"):
        open_video(path, "torchcodec")


def test_without_decord_pyav_reads(tmp_path, monkeypatch, caplog):
    path = write_video(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "decord", None)
    readers.say_once.cache_clear()
    for _ in range(2):
        frames, _, video = read_all(path)
        assert positions(frames) == list(range(N)) and (video.decoder, video.note) == ("pyav", "")
    (said,) = caplog.messages
    assert said == video.instead and "decord cannot be loaded, pyav decodes instead" in said


# ------------------------------------------------------------------------------------------------ folders of pictures


def write_pictures(folder, names):
    folder.mkdir()
    for index, name in names.items():
        picture = np.full((HEIGHT, WIDTH, 3), 10 * index, np.uint8)
        picture[:8, :, 2] = 250  # BGR: a red stripe at the top
        (folder / name).write_bytes(cv2.imencode(os.path.splitext(name)[1], picture)[1])
    return folder


def test_folder_of_pictures_in_natural_order(tmp_path):
    names = {0: "1.jpg", 1: "02.JPG", 2: "3.png", 3: "10.jpeg", 4: "100.jpg", 5: "é (7).png"}
    folder = write_pictures(tmp_path / "0001", names)
    (folder / "._1.jpg").write_bytes(b"junk of another system")
    (folder / "notes.txt").write_text("no picture")
    frames, starts, video = read_all(folder, size=4)
    assert positions(frames) == [0, 1, 2, 3, 4, 5] and starts == [0, 4]
    assert frames[0, 2, 2, 0] > 240 and frames[0, 2, 2, 2] < 20
    assert (video.n_frames, video.height, video.width, video.fps) == (6, HEIGHT, WIDTH, 25.0)
    assert positions(video.frames([4, 0])) == [4, 0]


def test_pictures_of_another_size_are_scaled(tmp_path):
    folder = write_pictures(tmp_path / "a", {0: "1.png"})
    cv2.imwrite(str(folder / "2.png"), np.full((2 * HEIGHT, WIDTH, 3), 10, np.uint8))
    frames, _, _ = read_all(folder)
    assert frames.shape == (2, HEIGHT, WIDTH, 3) and positions(frames) == [0, 1]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_cut_picture(tmp_path, suffix):
    folder = write_pictures(tmp_path / "a", {index: f"{index}{suffix}" for index in range(8)})
    cut = (folder / f"6{suffix}").read_bytes()[:-12]
    (folder / f"6{suffix}").write_bytes(cut)
    frames, _, video = read_all(folder)
    assert positions(frames) == list(range(6)) and f"6{suffix} is not a complete picture" in video.note
    (folder / f"2{suffix}").write_bytes(cut)
    with pytest.raises(VideoError, match="2 of 8 frames") as caught:
        read_all(folder)
    assert caught.value.reason == "damaged"
    (folder / f"0{suffix}").write_bytes(b"")
    with pytest.raises(VideoError, match="first picture"):
        open_video(folder)


# ----------------------------------------------------------------------------------------- sampling, resizing, cropping


def test_uniform_sampling_takes_the_centres_of_segments():
    assert sample_indices(16, 16).tolist() == list(range(16))
    assert sample_indices(160, 16).tolist() == list(range(5, 160, 10))
    assert sample_indices(100, 8).tolist() == [6, 18, 31, 43, 56, 68, 81, 93]
    assert sample_indices(3, 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert sample_indices(1, 4).tolist() == [0, 0, 0, 0]
    assert sample_indices(100, 1).tolist() == [50]
    assert sample_indices(7, 3).dtype == np.int32


def test_dense_sampling_takes_a_window_in_the_middle():
    assert sample_indices(61, 16, "dense", 4).tolist() == list(range(0, 61, 4))
    assert sample_indices(81, 16, "dense", 4).tolist() == list(range(10, 71, 4))
    assert sample_indices(100, 4, "dense", 2).tolist() == [46, 48, 50, 52]
    assert sample_indices(6, 5, "dense", 2).tolist() == [0, 2, 4, 5, 5]


@pytest.mark.parametrize("mode", ["uniform", "dense"])
def test_samples_are_ordered_and_inside(mode):
    for n_frames in (*range(1, 90), 18_000_000):
        indices = sample_indices(n_frames, 16, mode, 4)
        assert indices.min() >= 0 and indices.max() < n_frames and (np.diff(indices) >= 0).all()


def test_sampling_refuses_nonsense():
    for call in ((0, 16), (5, 0), (5, 5, "dense", 0)):
        with pytest.raises(ValueError, match="at least 1"):
            sample_indices(*call)
    with pytest.raises(ValueError, match="uniform or dense"):
        sample_indices(5, 5, "random")


def test_shrinking_averages_over_areas():
    frame = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), np.uint8)
    expected = frame.reshape(1, 8, 4, 16, 4, 3).astype(float).mean((2, 4))[:, :, 4:12]  # [1, 8, 8, 3]
    result = resize_and_crop(frame, 8)
    assert result.dtype == np.uint8 and result.shape == (1, 8, 8, 3)
    assert np.abs(result - expected).max() <= 1


def test_the_middle_of_the_longer_side_is_kept():
    wide = np.zeros((2, 8, 20, 3), np.uint8)
    wide[:, :, 6:14] = 200
    assert (resize_and_crop(wide, 8) == 200).all()
    assert (resize_and_crop(wide.transpose(0, 2, 1, 3), 8) == 200).all()
    square = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), np.uint8)
    assert (resize_and_crop(square, 8) == square).all()


@pytest.mark.parametrize("size", [1, 7, 112, 224])
@pytest.mark.parametrize("shape", [(1, 1), (240, 320), (360, 202), (5, 999), (225, 224)])
def test_any_size_gives_squares_and_keeps_a_plain_colour(size, shape):
    result = resize_and_crop(np.full((1, *shape, 3), (10, 100, 250), np.uint8), size)
    assert result.shape == (1, size, size, 3) and (result == (10, 100, 250)).all()


def test_resizing_refuses_nonsense():
    assert resize_and_crop(np.zeros((0, 9, 9, 3), np.uint8), 4).shape == (0, 4, 4, 3)
    with pytest.raises(ValueError, match=r"uint8 \[t, H, W, 3\], got float32"):
        resize_and_crop(np.zeros((1, 9, 9, 3), np.float32), 4)
    with pytest.raises(ValueError, match=r"got uint8 \[9, 9, 3\]"):
        resize_and_crop(np.zeros((9, 9, 3), np.uint8), 4)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        resize_and_crop(np.zeros((1, 9, 9, 3), np.uint8), 0)


# --------------------------------------------------------------------------------------------------------- real videos

# Frames and size as ffprobe -count_frames and the display matrix say, or the reason why there are none.
ODD_VIDEOS = {
    "dali_moov_atom_not_found.mp4": "not_a_video",
    "decord_unordered.mov": (4, 50, 50),
    "decord_video_0.mov": (3, 320, 568),
    "decord_video_180.mov": (3, 320, 568),
    "decord_video_270.mov": (3, 568, 320),
    "decord_video_90.mov": (3, 568, 320),
    "exoplayer_full_blocks.mkv": "no_video_stream",
    "exoplayer_sample_ac3.ts": "no_video_stream",
    "exoplayer_sample_h262_mpeg_audio.ts": (3, 426, 640),
    "exoplayer_sample_h263.ts": (25, 360, 640),
    "exoplayer_sample_h264_no_access_unit_delimiters.ts": (3, 426, 640),
    "exoplayer_sample_with_sdt.ts": "no_frames",
    "exoplayer_subsample_encrypted_altref.webm": "encrypted",
    "fake_html_page_named_vtest.avi": "not_a_video",
    "imageio_realshort.mp4": (36, 240, 320),
    "mp4parse_av1-clearkey-cbcs-video.mp4": (24, 90, 160),
    "mp4parse_bbb_sunflower_QCIF_30fps_h263_noaudio_1f.3gp": (1, 144, 176),
    "mp4parse_bipbop_480wp_1001kbps-cenc-video-key1-init.mp4": "no_frames",
    "mp4parse_bipbop_audioinit.mp4": "no_video_stream",
    "mp4parse_bipbop_nonfragment_header.mp4": "no_frames",
    "mp4parse_hevc_white_frame.mp4": (1, 480, 640),
    "mp4parse_metadata_gnre.mp4": (1, 240, 320),
    "mp4parse_short-cenc.mp4": "encrypted",
    "mp4parse_sine-3s-xhe-aac-44khz-mono.mp4": "no_video_stream",
    "mp4parse_test_case_1185230.mp4": "damaged",
    "mp4parse_tiny_av1.mp4": (1, 64, 64),
    "mp4parse_video_colr_nclx_hdr10.mp4": (3, 2, 2),
    "mp4parse_video_rotation_90.mp4": (1, 100, 60),
    "pyscenedetect_delayed_start.mp4": (24, 320, 480),
}


@BOTH
def test_odd_real_videos(real_data, backend):
    found = {}
    for name in ODD_VIDEOS:
        try:
            frames, _, video = read_all(real_data / "odd_videos" / name, backend)
            assert video.timestamps[0] == 0 and (np.diff(video.timestamps) > 0).all()
            found[name] = frames.shape[:3]
        except VideoError as error:
            found[name] = error.reason
    assert found == ODD_VIDEOS


def test_real_action_videos_agree_between_decoders(real_data):
    files = sorted((real_data / "ucf101" / "videos").rglob("*.avi"))[::9]
    files += (
        sorted((real_data / "weizmann").rglob("*.avi"))[::40] + sorted((real_data / "kth" / "videos").glob("*"))[:1]
    )
    assert files
    for file in files:
        by_decord, _, video = read_all(file)
        by_pyav, _, other = read_all(file, "pyav")
        assert not video.note and video.n_decoded == video.n_frames
        assert np.abs(by_decord.astype(np.int16) - by_pyav).mean() < 0.01
        np.testing.assert_array_equal(video.timestamps, other.timestamps)
        assert (np.diff(video.timestamps) > 0).all()
