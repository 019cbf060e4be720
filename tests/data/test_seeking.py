"""Single frames by seeking are those of one pass, and are taken where that decodes less."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest

from pipeline.data import readers, seeking
from pipeline.data.isolated import Decoder
from pipeline.data.readers import open_video, resize_and_crop
from pipeline.data.seeking import JUMP, decoded, is_cheaper, jumps

KEYS = np.array([0, 100, 200])


def film(path, n=400, size=(64, 48), codec="libx264", **options):
    """Frame ``i`` shows a texture shifted by ``3 i``."""
    texture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt, stream.options = "yuv420p", options
        stream.codec_context.thread_count = 1
        for number in range(n):
            picture = np.ascontiguousarray(np.roll(texture, 3 * number, 1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_where_to_jump():
    assert jumps(KEYS, [5, 90, 104, 110, 250]) == [0, None, 100, None, 200]
    # The next key frame is nearer than a jump is worth.
    assert jumps(KEYS, [95, 101]) == [0, None]
    assert jumps(KEYS, [100 - JUMP - 1, 101]) == [0, 100]


def test_what_it_costs():
    assert decoded(KEYS, [5, 90]) == 6 + JUMP + 85
    assert decoded(KEYS, [5, 104]) == (6 + JUMP) + (5 + JUMP)
    assert decoded(KEYS, [0, 1, 2]) == 1 + JUMP + 2


@pytest.mark.parametrize(("keys", "wanted", "expected"), [
    ([0, 100, 200], [50, 150, 250], True),  # 51 of each hundred and the jumps: 177 of 251
    ([0, 100, 200], [90, 190, 290], False),  # nearly every frame is decoded anyway
    ([0], [200], False),
    ([0, 200], [200], True),
    ([5], [2], False),  # what comes before the first key frame cannot be sought
    ([], [2], False),
    ([0], [], False),
])  # fmt: skip
def test_the_rule(tmp_path, keys, wanted, expected):
    with open_video(film(tmp_path / "a.mp4", 4)) as video:
        probe = replace(video._probe, keys=np.array(keys, int))
        assert is_cheaper(probe, wanted) is expected
        assert not is_cheaper(replace(probe, keys=None), wanted)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("closed.mp4", {"g": "25", "bf": "3"}),
        ("open.mp4", {"x264-params": "keyint=30:min-keyint=30:open-gop=1:bframes=3:scenecut=0"}),
        ("closed.mkv", {"g": "25", "bf": "2"}),
        ("intra.mov", {"g": "1"}),
    ],
)
def test_sought_frames_are_those_of_one_pass(tmp_path, name, options):
    path, wanted = film(tmp_path / name, **options), [0, 3, 77, 101, 102, 215, 399]
    with open_video(path, "pyav") as video:
        assert video._probe.keys[0] == 0 and len(video._probe.keys) > 5
        expected = resize_and_crop(video.frames(wanted), 48)
        found = video.sought(wanted, 48)
        assert video.decoder == readers.SEEKING and video.note == ""
    np.testing.assert_array_equal(found, expected)
    with Decoder() as decoder, decoder.open(path) as remote:
        np.testing.assert_array_equal(remote.sought(wanted, 48), expected)
        assert remote.decoder == readers.SEEKING
        assert remote.sought(range(400), 48) is None
        assert len(list(remote.batches(100))) == 4


def test_an_excerpt_counts_from_its_first_frame(tmp_path):
    path = film(tmp_path / "a.mp4", g="25")
    with open_video(path, "pyav", frames=(100, 390)) as part, open_video(path, "pyav") as whole:
        np.testing.assert_array_equal(part.sought([7, 200], 48), whole.sought([107, 300], 48))


def test_one_pass_remains_where_time_stamps_do_not_tell(tmp_path, monkeypatch):
    with open_video(film(tmp_path / "a.avi", codec="mpeg4", g="25")) as video:
        assert video.sought([300], 48) is None
    path = film(tmp_path / "a.mp4", g="25")
    with open_video(path) as video:
        video._probe = replace(video._probe, ticks=video._probe.ticks + 1)
        assert video.sought([300], 48) is None and "not where the index says" in video.note
        assert len(video.frames([300])) == 1

    def broken(*_):
        raise av.FFmpegError(1, "no")
        yield

    monkeypatch.setattr(readers, "sought", broken)
    with open_video(path) as video:
        assert video.sought([300], 48) is None


def test_a_cut_film_is_not_sought_in(tmp_path):
    path = film(tmp_path / "a.mkv", g="25")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with open_video(path) as video:
        assert video._probe.keys is None and video.sought([100], 48) is None


def test_only_what_is_wanted_is_decoded(tmp_path, monkeypatch):
    seen = []
    true = seeking.rgb
    monkeypatch.setattr(seeking, "rgb", lambda *args: seen.append(1) or true(*args))
    with open_video(film(tmp_path / "a.mp4", g="25")) as video:
        video.sought([30, 300], 48)
    assert len(seen) == 2
