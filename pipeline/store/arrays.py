"""Artifacts of arrays: one ``.zarr.zip`` file (Zarr v3) with attributes.

Zip stores have traps: chunks that are written twice or attributes that are set late leave duplicate entries, and an
unclosed file is no zip. So whole arrays are written once, attributes are set when the group is made, and the file gets
its name only after it was closed and read again.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, ZstdCodec
from zarr.storage import ZipStore

from pipeline.store.atomic import ArtifactError, damage_is_told, replace_when_done
from pipeline.store.provenance import canonical

CHUNK_BYTES = 8 << 20
# Whole chunks that are read together: Zarr unpacks them at the same time.
BLOCK_BYTES = 8 * CHUNK_BYTES
# A file may claim so many bytes whatever its size, and so many for each of its own bytes: a damaged or hostile header
# must not take the memory of the machine. Only arrays of one repeated value pack better than that.
FREE_BYTES = 256 << 20
MAX_RATIO = 4096


class _ContentDigest:
    """Digest of arrays, in the order of their names, and of descriptive attributes after them."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=8)

    def head(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        """Begin with an array; its rows follow."""
        self._digest.update(f"{name}|{dtype.str}|{shape}|".encode())

    def rows(self, rows: np.ndarray) -> None:
        if rows.size:
            self._digest.update(np.ascontiguousarray(rows).data)

    def end(self, content: Mapping[str, Any]) -> str:
        self._digest.update(canonical(content).encode())
        return self._digest.hexdigest()


def content_digest(arrays: Mapping[str, np.ndarray], content: Mapping[str, Any]) -> str:
    """Digest of arrays and descriptive attributes, independent of zip time stamps, compression and chunks."""
    digest = _ContentDigest()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.head(name, array.dtype, array.shape)
        digest.rows(array)
    return digest.end(content)


def _chunks(array: np.ndarray) -> tuple[int, ...]:
    """Whole rows, about `CHUNK_BYTES` each."""
    row = max(1, array[:1].nbytes)
    return (max(1, min(len(array), CHUNK_BYTES // row)), *(max(1, size) for size in array.shape[1:]))


def write_arrays(
    path: str | Path, arrays: Mapping[str, np.ndarray], content: Mapping[str, Any], provenance: Mapping[str, Any]
) -> str:
    """Write one artifact atomically.

    Args:
        path: name ending in ``.zarr.zip``.
        arrays: name → array of at least one dimension.
        content: attributes that belong to the content (row ids, class names, failed items, schema).
        provenance: record of how it was made; not part of the content digest.

    Returns:
        The content digest.
    """
    digest = content_digest(arrays, content)
    attributes = {**content, "content_digest": digest, "provenance": dict(provenance)}
    with replace_when_done(path, check=read_arrays) as temporary, ZipStore(temporary, mode="w") as store:
        group = zarr.create_group(store, attributes=attributes)
        for name, array in arrays.items():
            chunks = _chunks(array)
            target = group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=chunks)
            # One at a time: on a full disk, chunks that wait behind the one that fails would open the file once more.
            for start in range(0, len(array), chunks[0]):
                target[start : start + chunks[0]] = array[start : start + chunks[0]]
    return digest


def _refuse_packed(path: Path) -> None:
    """Chunks are compressed by Zarr; a zip that compresses them again is not ours, and can unpack to any size."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ArtifactError(f"{path} is a compressed zip; artifacts of this project are stored uncompressed")


def _unpacked_bytes(frame: bytes) -> int | None:
    """What a Zstandard frame says that it unpacks to (RFC 8878, 3.1.1); None if it does not say, or is none."""
    if len(frame) < 6 or not frame.startswith(b"\x28\xb5\x2f\xfd"):
        return None
    flags = frame[4]
    single_segment = flags >> 5 & 1
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[flags & 3]
    width = (single_segment, 2, 4, 8)[flags >> 6]
    return int.from_bytes(frame[start : start + width], "little") + (256 if width == 2 else 0) if width else None


class Arrays:
    """An opened artifact: ``attributes`` and lazily read arrays.

    Use as a mapping: ``artifact["poses"]`` reads the whole array, ``artifact.part("poses", 3)`` one row of it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with damage_is_told(self.path):
            self._allowed = FREE_BYTES + MAX_RATIO * self.path.stat().st_size
            _refuse_packed(self.path)
            self._checked: set[str] = set()
            self._store = ZipStore(self.path, mode="r")
            self._group = zarr.open_group(self._store, mode="r")
            self.attributes: dict[str, Any] = dict(self._group.attrs)
        if "content_digest" not in self.attributes:
            raise ArtifactError(f"{path} was not written by this project: it has no content digest")

    def __enter__(self) -> Arrays:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def names(self) -> list[str]:
        # The zip is asked and not Zarr, whose own listing reports damage from a background task, past every caller.
        with damage_is_told(self.path), zipfile.ZipFile(self.path) as archive:
            nodes = {entry.removesuffix("/zarr.json") for entry in archive.namelist() if entry.endswith("/zarr.json")}
            return sorted(name for name in nodes if isinstance(self._group[name], zarr.Array))

    def _array(self, name: str) -> zarr.Array:
        if name not in self._group:
            raise ArtifactError(f"{self.path} has no array `{name}`; it holds {', '.join(self.names())}")
        array = self._group[name]
        if array.dtype.hasobject or {type(codec) for codec in array.metadata.codecs} - {BytesCodec, ZstdCodec}:
            raise ArtifactError(f"{self.path}: array `{name}` is stored in a way that this project does not write")
        for what, shape in (("array", array.shape), ("chunks", array.chunks)):
            if math.prod(shape) * array.dtype.itemsize > self._allowed:
                raise ArtifactError(
                    f"{self.path} is damaged: its {what} `{name}` of {list(shape)} {array.dtype} cannot fit into a "
                    f"file of {self.path.stat().st_size} bytes; delete it and run the pipeline again"
                )
        return array

    def _check_chunks(self, name: str, array: zarr.Array) -> None:
        """Refuse chunks that would unpack to something else than a chunk, before they are unpacked."""
        if ZstdCodec not in {type(codec) for codec in array.metadata.codecs}:
            return
        expected = math.prod(array.chunks) * array.dtype.itemsize
        with zipfile.ZipFile(self.path) as archive:
            for entry in archive.infolist():
                if entry.filename.startswith(f"{name}/c/"):
                    with archive.open(entry) as chunk:
                        if _unpacked_bytes(chunk.read(18)) != expected:
                            raise ArtifactError(
                                f"{self.path} is damaged: a chunk of `{name}` has another size than the array says; "
                                f"delete it and run the pipeline again"
                            )

    def describe(self, name: str) -> dict[str, Any]:
        """Shape and dtype, without reading the values."""
        with damage_is_told(self.path):
            array = self._array(name)
            return {"shape": list(array.shape), "dtype": str(array.dtype)}

    def part(self, name: str, rows: int | slice) -> np.ndarray:
        """Some rows of an array."""
        with damage_is_told(self.path):
            array = self._array(name)
            if name not in self._checked:
                self._check_chunks(name, array)
                self._checked.add(name)
            return np.asarray(array[rows])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.part(name, slice(None))

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """All rows of one array from front to back, some at a time; the whole artifact is checked on the way.

        Yields:
            ``[b, ...]``; how many rows depends on how they are stored.

        Raises:
            ArtifactError: damaged, or changed by hand. That may be known only after the last row.
        """
        self.describe(name)  # so that a wrong name is told before anything is read
        digest = _ContentDigest()
        for each in self.names():
            with damage_is_told(self.path):
                array = self._array(each)
                digest.head(each, array.dtype, array.shape)
                chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
                step = array.chunks[0] * max(1, BLOCK_BYTES // chunk_bytes)
                n_rows = array.shape[0]
            for start in range(0, n_rows, step):
                rows = self.part(each, slice(start, start + step))
                digest.rows(rows)
                if each == name:
                    yield rows
        self.check(lambda: digest.end(self.content))

    @property
    def content(self) -> dict[str, Any]:
        """Attributes that belong to the content, and not to the record of how it was made."""
        return {key: value for key, value in self.attributes.items() if key not in ("content_digest", "provenance")}

    def check(self, digest: Callable[[], str]) -> None:
        """Compare the digest of what was read with the recorded one.

        Raises:
            ArtifactError: damaged, or changed by hand.
        """
        with damage_is_told(self.path):
            found = digest()
        if found != self.attributes["content_digest"]:
            raise ArtifactError(f"{self.path} was changed after it was written; delete it and run the pipeline again")


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All arrays and attributes of an artifact, checked against the content digest.

    Raises:
        ArtifactError: absent, damaged, changed by hand, or not an artifact of this project.
    """
    with Arrays(path) as artifact:
        arrays = {name: artifact[name] for name in artifact.names()}
        artifact.check(lambda: content_digest(arrays, artifact.content))
        return arrays, artifact.attributes


def ragged(parts: list[np.ndarray], row_shape: tuple[int, ...], dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate rows of different lengths.

    Returns:
        (values ``[sum of lengths, *row_shape]``, offsets int64 ``[n + 1]``); row i is
        ``values[offsets[i]:offsets[i + 1]]``.
    """
    lengths = [len(part) for part in parts]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.concatenate(parts) if parts else np.zeros((0, *row_shape))
    return values.reshape(-1, *row_shape).astype(dtype, copy=False), offsets
