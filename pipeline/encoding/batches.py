"""Batches through an encoder: the next one is copied while the current one is encoded, and memory may run out.

Used by every stage that encodes. What is here changes how fast a result comes; half precision changes it slightly, so
artifacts record their dtype.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from pipeline.encoding.hardware import autocast
from pipeline.jobs import stage
from pipeline.store.atomic import StageError

logger = logging.getLogger("conceptreel")


class Stopwatch:
    """Seconds by what they were spent on: ``with watch("reading"): …``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - start

    def words(self) -> str:
        return ", ".join(f"{what} {seconds:.1f} s" for what, seconds in self.seconds.items())


def out_of_memory(error: Exception) -> bool:
    """Whether the GPU's memory did not suffice: torch says so itself, its libraries in their own words."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "STATUS_ALLOC_FAILED" in str(error)


class Shrinking:
    """A function over rows that is given fewer rows at a time whenever the GPU's memory does not suffice.

    Attributes:
        size: rows that are given at once; halved for good by each failure.
    """

    def __init__(self, run: Callable[..., torch.Tensor], size: int):
        self.run, self.size = run, max(1, size)

    def __call__(self, *rows: torch.Tensor) -> torch.Tensor:
        """``run`` of all rows, in as many parts as memory needs.

        Args:
            rows: one or more tensors of as many rows.

        Raises:
            StageError: a single row does not fit.
        """
        parts, start = [], 0
        while start < len(rows[0]):
            part = [tensor[start : start + self.size] for tensor in rows]
            count = len(part[0])
            try:
                parts.append(self.run(*part))
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if count == 1:
                    raise StageError(
                        "the GPU's memory cannot hold the network and a single item; use a smaller checkpoint, "
                        "or set runtime.device to cpu"
                    ) from None
                self.size = count // 2
                logger.warning("out of GPU memory with %d items at once; continuing with %d", count, self.size)
            else:
                start += count
                continue
            # Outside of the handler: inside, the error's traceback still holds the tensors that did not fit.
            torch.cuda.empty_cache()
        return _joined(parts, torch.cat)


def ahead(items: Iterable[Any], depth: int = 2) -> Iterator[Any]:
    """The same items, made by a thread of their own up to ``depth`` items early.

    An error of the maker is raised where its item would have come. Leaving early ends the thread.
    """
    ready: queue.Queue = queue.Queue(depth)
    left = threading.Event()
    end = object()

    def put(item: Any) -> bool:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((end, None))
        except BaseException as error:  # whatever it is, it belongs to the caller
            put((end, error))

    maker = threading.Thread(target=make, daemon=True)
    maker.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        left.set()
        maker.join(timeout=5)


class ToDevice:
    """Copies arrays to a device on a stream of its own, so that copies run beside what is being computed."""

    def __init__(self, device: torch.device):
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.cuda.Event | None]:
        """Start to copy; from any thread. What finds no room stays on the host, whoever uses it takes it in parts."""
        tensor = torch.from_numpy(np.ascontiguousarray(rows))
        if self._stream is None:
            return tensor, None
        try:
            with torch.cuda.stream(self._stream):
                moved = tensor.pin_memory().to(self.device, non_blocking=True)
                return moved, self._stream.record_event()
        except torch.cuda.OutOfMemoryError:
            return tensor, None

    def receive(self, sent: tuple[torch.Tensor, torch.cuda.Event | None]) -> torch.Tensor:
        """The tensor of `send`, on the device or where it found no room on the host, for use on the caller's stream."""
        tensor, copied = sent
        if copied is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(copied)
            tensor.record_stream(current)
        return tensor

    @staticmethod
    def fetch(tensor: torch.Tensor) -> Callable[[], np.ndarray]:
        """Start to copy a result back; the function that is returned waits for it alone, not for later work."""
        if tensor.device.type != "cuda":
            return tensor.numpy
        host = tensor.to("cpu", non_blocking=True)
        copied = torch.cuda.current_stream(tensor.device).record_event()

        def wait() -> np.ndarray:
            copied.synchronize()
            return host.numpy()

        return wait


# Rows of an array, or the same rows as they are read: in blocks of any size.
Rows = np.ndarray | Iterable[np.ndarray]


def in_batches(rows: Rows, size: int) -> Iterator[np.ndarray]:
    """Rows in batches of ``size``, the last one smaller, however they were read."""
    left: list[np.ndarray] = []
    for block in [rows] if isinstance(rows, np.ndarray) else rows:
        start = 0
        if left:  # fill the batch that the last block has begun
            start = size - sum(map(len, left))
            left.append(block[:start])
            if len(block) < start:
                continue
            yield np.concatenate(left)
            left = []
        while start + size <= len(block):
            yield block[start : start + size]
            start += size
        if start < len(block):
            left.append(block[start:])
    if left:
        yield np.concatenate(left)


def seen_frames(clips: Rows, frames: Callable[[int], np.ndarray]) -> Rows:
    """Clips ``[n, T, ...]`` without the frames that a network does not see: these are not worth the way to the device.

    Args:
        frames: T → the frames that are seen.
    """

    def seen(block: np.ndarray) -> np.ndarray:
        columns = frames(block.shape[1]) if len(block) else range(block.shape[1])
        return block if len(columns) == block.shape[1] else block[:, columns]

    return seen(clips) if isinstance(clips, np.ndarray) else map(seen, clips)


class Collector:
    """Rows from many callers, run together: a batch crosses the borders between them.

    Results come back one batch late, so that the device has work while a caller is told of them.

    Args:
        run: rows → a tensor of as many rows.
        size: rows per batch.
    """

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor], size: int):
        self.size = max(1, size)
        self._run = Shrinking(run, self.size)
        # First come, first served: the next results belong to the first caller.
        self._callers: deque[tuple[int, Callable[[np.ndarray], None]]] = deque()
        self._rows: list[torch.Tensor] = []
        self._results: list[np.ndarray] = []
        self._running: Callable[[], np.ndarray] | None = None

    def add(self, rows: torch.Tensor, done: Callable[[np.ndarray], None]) -> None:
        """Hand in rows; ``done`` gets their results, in one piece, once all of them were in a full batch."""
        if not len(rows):
            return
        self._callers.append((len(rows), done))
        self._rows.append(rows)
        while _count(self._rows) >= self.size:
            self._batch()

    def flush(self) -> None:
        """Run what waits in a batch that is not full, and hand out all results."""
        while self._rows or self._running:
            self._batch()

    def _batch(self) -> None:
        """Start with the next rows, if there are any, and hand out the results of the batch before."""
        batch, self._running = self._running, None
        if self._rows:
            rows = _joined(self._rows, torch.cat)
            self._rows = [rows[self.size :]] if len(rows) > self.size else []
            self._running = ToDevice.fetch(self._run(rows[: self.size]))
        if batch is None:
            return
        self._results.append(batch())
        # ``done`` may hand in further rows, and these run a batch: nothing is left half-way when it is called.
        while self._callers and _count(self._results) >= self._callers[0][0]:
            count, done = self._callers.popleft()
            results = _joined(self._results, np.concatenate)
            self._results = [results[count:]] if len(results) > count else []
            done(results[:count])


def _count(parts: Iterable[torch.Tensor | np.ndarray]) -> int:
    return sum(map(len, parts))


def _joined(parts: list[Any], join: Callable[[list[Any]], Any]) -> Any:
    return parts[0] if len(parts) == 1 else join(parts)


def encode_rows(
    source: Rows,
    run: Callable[[torch.Tensor], torch.Tensor],
    size: int,
    device: torch.device,
    what: str,
    watch: Stopwatch | None = None,
    dtype: torch.dtype = torch.float32,
) -> np.ndarray | None:
    """``run`` over the rows of an array in batches.

    While a batch is encoded the next ones are read and copied to the device; results come back one batch late, so that
    the device never waits for them.

    Args:
        source: ``[n, ...]``, or its rows as they are read, by a thread of their own.
        run: rows on the device → ``[b, ...]``; called without gradients. What it gives in float16 stays so.
        size: rows per batch, halved when memory runs out.
        what: name of the progress bar.
        dtype: of the products of matrices in ``run``.

    Returns:
        float32 or float16 ``[n, ...]``, or None where ``source`` has no rows.
    """
    watch = watch or Stopwatch()

    def encoded(rows: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), autocast(device, dtype):
            result = run(rows.to(device))
        return result if result.dtype == torch.float16 else result.float()

    collector, copier = Collector(encoded, size), ToDevice(device)
    results: list[np.ndarray] = []
    known = isinstance(source, np.ndarray)
    batches = in_batches(source if known else ahead(source), size)
    total = math.ceil(len(source) / size) if known else None
    sent = ahead(copier.send(batch) for batch in stage.progress(batches, what, total=total, unit="batch"))
    while True:
        with watch("reading"):
            batch = next(sent, None)
        with watch("encoding"):
            if batch is None:
                collector.flush()
                return np.concatenate(results) if results else None
            collector.add(copier.receive(batch), results.append)
