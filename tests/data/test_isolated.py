from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.data import readers
from pipeline.data.isolated import Decoder
from pipeline.data.readers import BackendError, VideoError, open_video

# A decoder in place of decord that dies, hangs or works, by the name of the file.
TREACHEROUS = """
import ctypes, os, signal, time
class logging:
    QUIET = 0
    set_level = staticmethod(lambda level: None)
class VideoReader:
    def __init__(self, path, num_threads, fault_tol):
        if "segfault" in path: ctypes.string_at(0)
        if "abort" in path: os.abort()
        if "leaves" in path: os._exit(3)
        if "exits" in path: raise SystemExit(4)
        if "hangs" in path: signal.pause()
        if "chats" in path: os.write(1, b"native words on stdout" * 100)
        self.later = "later" in path
    def __len__(self):
        return 99
    def next(self):
        if self.later: os.abort()
        raise RuntimeError("PyAV goes on here")
"""


@pytest.fixture
def video(tmp_path):
    """24 frames of 64 × 48, frame i grey with value 10 i."""

    def write(name="good.mp4"):
        with av.open(str(tmp_path / name), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.thread_count = 1
            for index in range(24):
                picture = np.full((48, 64, 3), 10 * index, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        return tmp_path / name

    return write


@pytest.fixture
def treachery(tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "decord.py").write_text(TREACHEROUS)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def read(decoder, path):
    with decoder.open(path) as video:
        return np.concatenate([batch for _, batch in video.batches(7)])


def test_it_is_the_same_as_reading_here(video):
    path = video()
    with Decoder() as decoder, decoder.open(path) as remote, open_video(path) as local:
        there, here = list(remote.batches(7)), list(local.batches(7))
        assert [start for start, _ in there] == [0, 7, 14, 21]
        for (_, a), (_, b) in zip(there, here, strict=True):
            np.testing.assert_array_equal(a, b)
            a[:] = 0  # what one gets is one's own
        for name in ("n_frames", "n_decoded", "fps", "height", "width", "note", "decoder", "instead"):
            assert getattr(remote, name) == getattr(local, name)
        np.testing.assert_array_equal(remote.timestamps, local.timestamps)
        np.testing.assert_array_equal(remote.frames([23, 0, 0]), local.frames([23, 0, 0]))
        with pytest.raises(IndexError, match="24 frames"):
            remote.frames([24])
        assert remote.frames([]).shape == (0, 48, 64, 3)


def test_one_worker_serves_many_videos_and_passes_that_are_left(video):
    path = video()
    with Decoder() as decoder:
        for _ in range(3):
            with decoder.open(path) as remote:
                for start, _ in remote.batches(4):
                    if start == 8:
                        break
                assert len(list(remote.batches(4))) == 6
            worker = decoder._worker.pid
        assert len(read(decoder, path)) == 24 and decoder._worker.pid == worker


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("segfault.mp4", "crashed", "died from SIGSEGV"),
        ("abort.mp4", "crashed", "died from SIGABRT"),
        ("leaves.mp4", "crashed", r"an error \(exit status 3\)"),
        ("exits.mp4", "crashed", r"an error \(exit status 4\)"),
        ("later.mp4", "crashed", "died from SIGABRT"),
        ("hangs.mp4", "too_slow", "longer than runtime.decoder.seconds = 3"),
    ],
)
def test_a_crash_or_a_hang_costs_one_video(video, treachery, name, reason, words):
    good, bad = video("good.mp4"), video(name)
    with Decoder(seconds=3) as decoder:
        assert len(read(decoder, good)) == 24
        with pytest.raises(VideoError, match=words) as caught:
            read(decoder, bad)
        assert caught.value.reason == reason and name in caught.value.detail
        assert len(read(decoder, good)) == 24


def test_a_worker_that_dies_ahead_of_a_caller_who_left_is_no_fault_of_the_next_video(video, treachery):
    good, bad = video("good.mp4"), video("later.mp4")
    with Decoder(seconds=30) as decoder:
        with decoder.open(bad):
            os.kill(decoder._worker.pid, 9)
        assert len(read(decoder, good)) == 24


def test_without_decord_it_is_said_once(video, tmp_path, monkeypatch, caplog):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "decord.py").write_text("raise ImportError('none for this machine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    readers.say_once.cache_clear()
    for _ in range(2):
        with Decoder() as decoder, decoder.open(video()) as remote:
            assert sum(len(batch) for _, batch in remote.batches()) == 24 and remote.decoder == "pyav"
    assert caplog.messages == ["decord cannot be loaded, pyav decodes instead (ImportError: none for this machine)"]


def test_native_words_on_stdout_do_not_get_between_the_frames(video, treachery):
    with Decoder() as decoder:
        assert len(read(decoder, video("chats.mp4"))) == 24


def test_memory_is_bounded(video):
    with Decoder(memory_mb=400) as decoder, decoder.open(video()) as remote:
        with pytest.raises(VideoError, match="memory_mb = 400") as caught:
            remote.frames([0] * 100_000)  # 0.9 GB
        assert caught.value.reason == "too_large"
        assert len(remote.frames([0, 5])) == 2


def test_errors_of_the_reader_come_through(tmp_path, video):
    (tmp_path / "empty.mp4").touch()
    with Decoder() as decoder:
        for path, reason in ((tmp_path / "empty.mp4", "empty"), ("a\0b.mp4", "unreadable"), ("none.mp4", "missing")):
            with pytest.raises(VideoError) as caught, decoder.open(path):
                pass
            assert caught.value.reason == reason
        with pytest.raises(BackendError, match="`opencv`"), decoder.open(video(), "opencv"):
            pass
        latin = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
        video().rename(latin)
        assert len(read(decoder, latin)) == 24


def test_the_worker_does_not_outlive_its_job(video):
    code = (
        "import os, sys; from pipeline.data.isolated import Decoder; d = Decoder()\n"
        "with d.open(sys.argv[1]): print(d._worker.pid, flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(video())], **pipes) as job:
        worker = Path(f"/proc/{int(job.stdout.readline())}")
        assert worker.exists()
        job.kill()
    deadline = time.monotonic() + 20
    while worker.exists() and " Z " not in (worker / "stat").read_text():
        assert time.monotonic() < deadline, "the worker is still there"
