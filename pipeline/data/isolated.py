"""Videos decoded in a process of their own, so that a crash or a hang in native code costs one video and no shard.

`Decoder` starts one worker (``python -m pipeline.data.isolated``) and keeps it for many videos; one that dies or is too
slow is replaced. Frames come through a pipe as raw bytes, headers as JSON: nothing is unpickled. The worker decodes the
next batch while the caller works on the last one.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import logging
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipeline.data.readers import BackendError, Video, VideoError, open_video, say_once
from pipeline.data.settings import MIN_FRACTION
from pipeline.store.code import PROJECT

SECONDS = 600.0
MEMORY_MB = 3000
GRACE_SECONDS = 5
PIPE_BYTES = 1 << 20
_LENGTH_BYTES = 8
_PR_SET_PDEATHSIG = 1
# What an answer may be instead of frames.
_ERRORS = {error.__name__: error for error in (VideoError, BackendError, IndexError)}


class _WorkerDied(Exception):
    """The worker ended in the middle of an answer."""


class _TooSlow(Exception):
    """The worker did not answer in time."""


# ---------------------------------------------------------------------------------------------------- the caller's side


@dataclass
class _Budget:
    """Seconds that the worker may still need for one video; the caller's own work does not count."""

    left: float


class RemoteVideo:
    """A video in the worker; attributes and methods are those of `pipeline.data.readers.Video`."""

    def __init__(self, decoder: Decoder, name: str, header: dict[str, Any], timestamps: np.ndarray, budget: _Budget):
        self._decoder, self._name, self._budget = decoder, name, budget
        self.n_frames: int = header["n_frames"]
        self.height: int = header["height"]
        self.width: int = header["width"]
        self.instead: str = header["instead"]
        self._learn(header, timestamps)

    def _learn(self, header: dict[str, Any], timestamps: np.ndarray) -> None:
        self.n_decoded: int | None = header["n_decoded"]
        self.fps: float = header["fps"]
        self.note: str = header["note"]
        self.decoder: str = header["decoder"]
        self.timestamps = timestamps

    def batches(self, size: int = 32) -> Iterator[tuple[int, np.ndarray]]:
        """See `Video.batches`."""
        request: dict[str, Any] = {"ask": "batches", "size": size}
        while True:
            header, array = self._decoder.ask(request, self._name, self._budget)
            if header["kind"] == "end":
                self._learn(header, array)
                return
            yield header["start"], array
            request = {"ask": "next"}

    def frames(self, indices: Iterable[int]) -> np.ndarray:
        """See `Video.frames`."""
        wanted = [int(index) for index in indices]
        return self._decoder.ask({"ask": "frames", "indices": wanted}, self._name, self._budget)[1]

    def sought(self, indices: Iterable[int], size: int) -> np.ndarray | None:
        """See `Video.sought`."""
        request = {"ask": "sought", "indices": [int(index) for index in indices], "size": size}
        header, found = self._decoder.ask(request, self._name, self._budget)
        self.note, self.decoder = header["note"], header["decoder"]
        return found if header["found"] else None


class Decoder:
    """A worker process for videos; use as a context manager.

    Args:
        seconds: that the worker may need for one video in all.
        memory_mb: that it may allocate.
    """

    def __init__(self, seconds: float = SECONDS, memory_mb: int = MEMORY_MB):
        self.seconds, self.memory_mb = seconds, memory_mb
        self._worker: subprocess.Popen | None = None

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @contextlib.contextmanager
    def open(
        self,
        path: str | os.PathLike[str],
        backend: str = "decord",
        frames: tuple[int, int] | None = None,
        min_fraction: float = MIN_FRACTION,
    ) -> Iterator[RemoteVideo]:
        """Open a video as `pipeline.data.readers.open_video` does.

        Raises:
            VideoError: also ``crashed``, ``too_slow`` and ``too_large``, then and while it is read.
            BackendError: the backend is unknown, or torchcodec is chosen and not installed.
        """
        budget = _Budget(self.seconds)
        name = Path(path).name
        request = {"ask": "open", "path": os.fsencode(path).hex(), "backend": backend, "frames": frames}
        header, timestamps = self.ask({**request, "min_fraction": min_fraction}, name, budget)
        if header["instead"]:
            say_once(header["instead"])
        try:
            yield RemoteVideo(self, name, header, timestamps, budget)
        finally:
            # The worker may be decoding ahead of a caller who has left: what happens to it now is no fault of the next
            # video.
            with contextlib.suppress(VideoError):
                self.ask({"ask": "close"}, name, _Budget(min(self.seconds, 30)))

    def ask(self, request: dict[str, Any], name: str, budget: _Budget) -> tuple[dict[str, Any], np.ndarray]:
        """Send one request and wait for its answer; `RemoteVideo` is the way to use it."""
        if request["ask"] != "open" and self._worker is None:
            raise VideoError("crashed", f"{name}: the decoder was killed before it answered")
        worker = self._worker or self._begin()
        deadline = time.monotonic() + budget.left
        try:
            worker.stdin.write(json.dumps(request).encode() + b"\n")
            worker.stdin.flush()
            header, array = _receive(worker.stdout, deadline)
        except _TooSlow:
            self._end()
            raise VideoError(
                "too_slow", f"{name}: decoding took longer than runtime.decoder.seconds = {self.seconds:g}"
            ) from None
        except (_WorkerDied, BrokenPipeError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(GRACE_SECONDS)  # a kill before it has ended would hide what ended it
            self._end()
            raise VideoError("crashed", f"{name}: the decoder died from {_cause(worker.returncode)}") from None
        finally:
            budget.left = deadline - time.monotonic()
        if header["kind"] == "too_large":
            raise VideoError(
                "too_large", f"{name}: decoding needs more than runtime.decoder.memory_mb = {self.memory_mb}"
            )
        if header["kind"] in _ERRORS:
            raise _ERRORS[header["kind"]](*header["words"])
        return header, array

    def _begin(self) -> subprocess.Popen:
        path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "pipeline.data.isolated", str(self.memory_mb), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            bufsize=0,
        )
        with contextlib.suppress(OSError):  # a larger pipe saves wake-ups; the default one works too
            fcntl.fcntl(self._worker.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()
            self._worker.stdin.close()
            self._worker.stdout.close()
            self._worker = None


def _cause(status: int | None) -> str:
    """What ended a process, in words."""
    if status is None or status == -signal.SIGKILL:
        return "a kill from outside, perhaps for lack of memory"
    return signal.Signals(-status).name if status < 0 else f"an error (exit status {status})"


def _receive(pipe: BinaryIO, deadline: float) -> tuple[dict[str, Any], np.ndarray]:
    length = int.from_bytes(_read_exactly(pipe, _LENGTH_BYTES, deadline), "big")
    header = json.loads(bytes(_read_exactly(pipe, length, deadline)))
    array = np.empty(header["shape"], header["dtype"])
    _fill(pipe, memoryview(array).cast("B") if array.size else memoryview(b""), deadline)
    return header, array


def _read_exactly(pipe: BinaryIO, count: int, deadline: float) -> bytearray:
    result = bytearray(count)
    _fill(pipe, memoryview(result), deadline)
    return result


def _fill(pipe: BinaryIO, target: memoryview, deadline: float) -> None:
    done = 0
    while done < len(target):
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise _TooSlow
        count = pipe.readinto(target[done:])
        if not count:
            raise _WorkerDied
        done += count


# ---------------------------------------------------------------------------------------------------- the worker's side


class _Worker:
    """Answers requests, one at a time, about one video at a time."""

    def __init__(self, pipe: BinaryIO):
        self._pipe = pipe
        self._video: Video | None = None
        self._batches: Iterator[tuple[int, np.ndarray]] = iter(())

    def _send(self, header: dict[str, Any], array: np.ndarray | None = None) -> None:
        array = np.zeros(0, np.uint8) if array is None else np.ascontiguousarray(array)
        text = json.dumps({**header, "shape": array.shape, "dtype": array.dtype.str}).encode()
        self._pipe.write(len(text).to_bytes(_LENGTH_BYTES, "big") + text)
        self._pipe.write(memoryview(array).cast("B") if array.size else b"")
        self._pipe.flush()

    def _describe(self, kind: str) -> tuple[dict[str, Any], np.ndarray]:
        video = self._video
        names = ("n_frames", "n_decoded", "fps", "height", "width", "note", "decoder", "instead")
        return {"kind": kind, **{name: getattr(video, name) for name in names}}, video.timestamps

    def _guarded(self, answer: Any) -> tuple[dict[str, Any], np.ndarray | None]:
        """What ``answer()`` gives, or its error as an answer."""
        try:
            return answer()
        except MemoryError:
            return {"kind": "too_large"}, None
        except tuple(_ERRORS.values()) as error:
            kind = next(name for name, known in _ERRORS.items() if isinstance(error, known))
            return {"kind": kind, "words": list(map(str, error.args))}, None

    def _next(self) -> tuple[dict[str, Any], np.ndarray | None]:
        found = next(self._batches, None)
        if found is None:
            return self._describe("end")
        return {"kind": "batch", "start": found[0]}, found[1]

    def serve(self, requests: Iterable[bytes]) -> None:
        """Answer until there is no further request."""
        ahead: tuple[dict[str, Any], np.ndarray | None] | None = None
        for line in requests:
            request = json.loads(line)
            if request["ask"] in ("next", "batches"):
                if request["ask"] == "batches":
                    self._batches = self._video.batches(request["size"])
                    ahead = None
                answer = ahead or self._guarded(self._next)
                self._send(*answer)
                # The caller is busy with this batch: the next one is made meanwhile.
                ahead = self._guarded(self._next) if answer[0]["kind"] == "batch" else None
                continue
            ahead, self._batches = None, iter(())
            if request["ask"] == "open":
                path = os.fsdecode(bytes.fromhex(request["path"]))
                self._send(*self._guarded(lambda: self._open(path, request)))  # noqa: B023 — called here
            elif request["ask"] == "frames":
                indices = request["indices"]
                self._send(*self._guarded(lambda: ({"kind": "frames"}, self._video.frames(indices))))  # noqa: B023
            elif request["ask"] == "sought":
                self._send(*self._guarded(lambda: self._sought(request["indices"], request["size"])))  # noqa: B023
            else:
                self._video = None
                self._send({"kind": "closed"})

    def _sought(self, indices: list[int], size: int) -> tuple[dict[str, Any], np.ndarray | None]:
        found = self._video.sought(indices, size)
        told = {"note": self._video.note, "decoder": self._video.decoder}
        return {"kind": "sought", "found": found is not None, **told}, found

    def _open(self, path: str, request: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
        self._video = None
        frames = request["frames"] and tuple(request["frames"])
        self._video = open_video(path, request["backend"], frames, request["min_fraction"])
        return self._describe("opened")


def main() -> None:
    """Entry of the worker: ``python -m pipeline.data.isolated MEMORY_MB PARENT``."""
    memory, parent = int(sys.argv[1]) << 20, int(sys.argv[2])
    hardest = resource.getrlimit(resource.RLIMIT_DATA)[1]  # a scheduler may have set one, and only root can raise it
    limit = memory if hardest == resource.RLIM_INFINITY else min(memory, hardest)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        # A hanging decoder must not outlive a job that was killed.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    logging.disable()  # the caller says it, once for all its workers
    # Native libraries print; what they print must not get between the frames.
    frames = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    os.dup2(2, 1)
    _Worker(frames).serve(sys.stdin.buffer)


if __name__ == "__main__":
    main()
