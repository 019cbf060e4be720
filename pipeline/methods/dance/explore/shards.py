"""Single rows out of the caches of a run, found and read when they are asked for."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.entries import shard_of
from pipeline.store.arrays import CHUNK_BYTES, Arrays
from pipeline.store.places import shards_of

# Pictures and blocks that were just made are asked for again: a grid is scrolled back, a clip is opened.
MEMORY_BYTES = 192 << 20
# Of each floor: clips of neighbouring rows lie in one block of each shard.
BLOCKS_BYTES = 64 << 20


class Memory:
    """What was made last, up to so many bytes; from any thread."""

    def __init__(self, limit: int = MEMORY_BYTES):
        self.limit, self.held = limit, 0
        self._items: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """None where it is not, or no longer, held."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Hold a value; the oldest ones go where there is no room."""
        with self._lock:
            if key in self._items:
                self.held -= self._items.pop(key)[1]
            self._items[key] = value, size
            self.held += size
            while self.held > self.limit:
                self.held -= self._items.popitem(last=False)[1][1]


class Shards:
    """The shards of one floor, such as ``data/clips``; opened once, read one at a time."""

    def __init__(self, folder: Path, floor: str):
        self.paths = shards_of(folder, floor)
        self._open: dict[int, tuple[Arrays, dict[str, int]]] = {}
        self._blocks = Memory(BLOCKS_BYTES)
        self._lock = threading.RLock()

    def __bool__(self) -> bool:
        return bool(self.paths)

    def _shard(self, number: int) -> tuple[Arrays, dict[str, int]]:
        with self._lock:
            if number not in self._open:
                artifact = Arrays(self.paths[number])
                rows = {key: row for row, key in enumerate(artifact.attributes["video_id"])}
                self._open[number] = artifact, rows
            return self._open[number]

    def find(self, video_id: str) -> tuple[int, int] | None:
        """Shard and row of a video; None where it is in none."""
        for number, path in enumerate(self.paths):
            index, _, count = path.name.split(".")[0].partition("-of-")
            if shard_of(video_id, int(count)) == int(index):
                row = self._shard(number)[1].get(video_id)
                return None if row is None else (number, row)
        return None

    def attribute(self, number: int, name: str) -> Any:
        """An attribute of a shard."""
        return self._shard(number)[0].attributes[name]

    def rows(self, number: int) -> dict[str, int]:
        """Row of each video of a shard."""
        return self._shard(number)[1]

    def part(self, number: int, name: str, rows: int | slice) -> np.ndarray:
        """Some rows of an array of a shard."""
        with self._lock:
            return self._shard(number)[0].part(name, rows)

    def block(self, number: int, name: str, row: int) -> tuple[int, np.ndarray]:
        """The rows that are stored together with one, and which is the first of them; the last ones stay unpacked."""
        with self._lock:
            described = self._shard(number)[0].describe(name)
            size = math.prod(described["shape"][1:]) * np.dtype(described["dtype"]).itemsize
            step = max(1, CHUNK_BYTES // max(1, size))
            first = row // step * step
            held = self._blocks.get((number, name, first))
            if held is None:
                held = self.part(number, name, slice(first, first + step))
                self._blocks.put((number, name, first), held, held.nbytes)
            return first, held

    def row(self, number: int, name: str, row: int) -> np.ndarray:
        """One row of an array of large rows."""
        first, rows = self.block(number, name, row)
        return rows[row - first]

    def each(self) -> range:
        return range(len(self.paths))


def remembered(memory: Memory, key: Hashable, make: Callable[[], bytes | None]) -> bytes | None:
    """Bytes that are held, or made now and held."""
    held = memory.get(key)
    if held is None:
        held = make()
        if held is not None:
            memory.put(key, held, len(held))
    return held
