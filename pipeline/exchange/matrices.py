"""Matrices of features or embeddings in the forms people have, from ``.pt`` to ``.mat``; nothing is unpickled."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.data.entries import video_id
from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.files import read_torch

T = TypeVar("T")

# Columns of text that tell which video a row belongs to.
ID_NAMES = ("video_id", "video_ids", "ids", "id", "names", "name", "videos", "paths", "frame_dir")


@dataclass(frozen=True)
class Matrix:
    """Rows of an imported file.

    Attributes:
        values: float32 ``[n, d]``, finite.
        ids: ``n`` names of videos as they stand in the file; None where the rows follow a list.
    """

    values: np.ndarray
    ids: list[str] | None


# ------------------------------------------------------------------------------------------------------------- reading


def _is_text(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(item, str) for item in value)


def _from_torch(path: Path) -> dict[str, Any]:
    import torch

    content = read_torch(path)
    entries = content if isinstance(content, Mapping) else {"": content}
    found = {}
    for name, value in entries.items():
        if isinstance(value, torch.Tensor):
            value = value.detach().to_dense() if value.is_sparse else value.detach()
            found[str(name)] = value.float().numpy() if value.is_floating_point() else value.numpy()
        elif _is_text(value):
            found[str(name)] = list(value)
    return found


def _text_of(array: np.ndarray) -> list[str] | None:
    """A column of text out of numpy's or MATLAB's forms: an array of text, or a cell array of them."""
    items = array.ravel().tolist()
    if array.dtype.kind == "O":  # each cell of MATLAB is an array of its own
        items = [item.item() if isinstance(item, np.ndarray) and item.size == 1 else item for item in items]
    return [item.rstrip() for item in items] if _is_text(items) else None


def _from_numpy(path: Path) -> dict[str, Any]:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return _with_text({"": content})
        with content:
            return _with_text({name: content[name] for name in content.files})
    except Exception as error:  # numpy raises types of zip, of its header's parser and of its own
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that is a damaged zip's place before its start
            raise
        what = "pickled Python objects, which are never loaded" if "pickle" in str(error) else type(error).__name__
        raise ForeignFileError(f"{path} is not a file of numpy arrays of numbers and text ({what})") from None


def _with_text(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.dtype.kind in "biuf":
            found[name] = array
        elif (text := _text_of(array)) is not None:
            found[name] = text
    return found


def _from_matlab(path: Path) -> dict[str, Any]:
    import scipy.io

    try:
        if scipy.io.matlab.matfile_version(path, appendmat=False)[0] == 2:  # HDF5, which scipy does not read
            raise ForeignFileError(f"{path} is a MATLAB file of version 7.3; save it again with save(…, '-v7')")
        content = scipy.io.loadmat(path, appendmat=False)
    except (OSError, ForeignFileError):
        raise
    except Exception as error:  # scipy raises many types for damaged bytes
        raise ForeignFileError(f"{path} is not a MATLAB file ({type(error).__name__}: {error})") from None
    return _with_text({name: value for name, value in content.items() if isinstance(value, np.ndarray)})


def _from_safetensors(path: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except OSError:
        raise
    except Exception as error:  # the Rust reader's own type, and numpy's for types that it lacks
        raise ForeignFileError(f"{path} is not a safetensors file ({error})") from None


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".pt": _from_torch,
    ".pth": _from_torch,
    ".npy": _from_numpy,
    ".npz": _from_numpy,
    ".mat": _from_matlab,
    ".safetensors": _from_safetensors,
}
SUFFIXES = tuple(_READERS)


def read_arrays(path: Path) -> dict[str, Any]:
    """What a file holds: name → array of numbers or list of text; a single array has the name "". Nothing is unpickled.

    Raises:
        ForeignFileError: absent, of an unknown form, damaged, or made of Python objects.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ForeignFileError(f"{path} has the suffix `{path.suffix}`; known suffixes are {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ForeignFileError(f"{path} does not exist")
    return reader(path)


# ------------------------------------------------------------------------------------------------------------ choosing


def _described(found: Mapping[str, Any]) -> str:
    shapes = (
        f"{name or 'unnamed'} ({len(value)} texts)"
        if isinstance(value, list)
        else f"{name or 'unnamed'} {list(value.shape)} {value.dtype}"
        for name, value in list(found.items())[:10]
    )
    return ", ".join(shapes) or "nothing that can be read without unpickling"


def _chosen(path: Path, found: Mapping[str, Any], array: str) -> str | None:
    """Name of the matrix, None where the file holds one vector per video."""
    if array:
        if array not in found:
            raise ForeignFileError(f"{path} holds no array `{array}`; there are: {_described(found)}")
        return array
    numbers = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    matrices = [name for name, value in numbers.items() if value.ndim == 2 and value.dtype.kind == "f"]
    if len(matrices) == 1:
        return matrices[0]
    if len(matrices) > 1:
        raise ForeignFileError(f"{path} holds several matrices; name one with `array`: {_described(found)}")
    if numbers and all(value.ndim == 1 and value.dtype.kind == "f" for value in numbers.values()) and "" not in found:
        return None
    raise ForeignFileError(f"{path} must hold one matrix of floats [videos, dimensions]; it holds: {_described(found)}")


def _ids_of(path: Path, found: Mapping[str, Any], n_rows: int) -> list[str] | None:
    """The column of text that names the rows; None where there is none."""
    columns = {name: value for name, value in found.items() if isinstance(value, list)}
    for name in ID_NAMES:
        if isinstance(found.get(name), np.ndarray) and found[name].size == n_rows and name not in columns:
            raise ForeignFileError(
                f"{path}: `{name}` holds {found[name].dtype}; ids are text (0001 is not 1): save it as text, or leave "
                f"it out if the rows follow the list"
            )
    named = [name for name in ID_NAMES if name in columns]
    if not named and len(columns) != 1:
        return None
    name = named[0] if named else next(iter(columns))
    if len(columns[name]) != n_rows:
        if not named:
            return None
        raise ForeignFileError(f"{path} has {n_rows} rows, but {len(columns[name])} names in `{name}`")
    return columns[name]


def read_matrix(path: Path, array: str = "") -> Matrix:
    """A matrix of one row per video.

    A file is one array; or named arrays, among them one matrix and perhaps a column of text with the videos of its
    rows; or one vector per video under the video's name.

    Args:
        array: name of the matrix in a file that holds several.

    Raises:
        ForeignFileError: no such file or matrix, rows of different length, a number that is not finite, an id twice.
    """
    found = read_arrays(path)
    name = _chosen(path, found, array)
    if name is None:
        vectors = {key: value for key, value in found.items() if isinstance(value, np.ndarray)}
        widths = Counter(len(value) for value in vectors.values())
        if len(widths) > 1:
            raise ForeignFileError(f"{path} holds vectors of different lengths: {sorted(widths)}")
        values, ids = np.stack(list(vectors.values())), list(vectors)
    else:
        values = found[name]
        if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind != "f":
            raise ForeignFileError(f"{path}: `{name}` must be a matrix of floats; the file holds: {_described(found)}")
        if 0 in values.strides and values.size > 1:  # a few bytes that claim any size
            raise ForeignFileError(
                f"{path} repeats a stored value {list(values.shape)} times; save a copy of the matrix"
            )
        ids = _ids_of(path, found, len(values))
    if not values.size:
        raise ForeignFileError(f"{path} holds an empty matrix {list(values.shape)}")
    with np.errstate(over="ignore"):  # a float64 that float32 cannot hold is told like every infinity
        values = np.ascontiguousarray(values, np.float32)
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        row = f"row {bad[0]}" + (f" ({ids[bad[0]]})" if ids else "")
        raise ForeignFileError(f"{path}: {row} holds NaN or infinity ({len(bad)} of {len(values)} rows do)")
    if ids:
        twice = [key for key, count in Counter(map(video_id, ids)).items() if count > 1]
        if twice:
            raise ForeignFileError(f"{path} has more than one row for {twice[0]}")
    return Matrix(values, ids)


# ------------------------------------------------------------------------------------------------------- finding by id


class Rows:
    """Finds what a file holds for a video of the index, by the names that the file uses.

    A name may be the video's id, or its path with or without a suffix. Where a last part (the bare file name) is unique
    in the file and in the data set, what is before it may differ.
    """

    def __init__(self, names: list[str], all_ids: list[str], where: str):
        """
        Args:
            names: as they stand in the file; all_ids: of the whole data set; where: the file, for messages.

        Raises:
            ForeignFileError: two names are the same video.
        """
        self._names, self._ids, self._where = names, all_ids, where
        self._row: dict[str, int] = {}
        tails: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            escaped = video_id(name)
            for key in {name, escaped}:
                if self._row.setdefault(key, row) != row:
                    raise ForeignFileError(f"{where} has more than one row for {name}")
            tails.setdefault(_tail(escaped), []).append(row)
        counts = Counter(map(_tail, all_ids))
        self._row_of_tail = {tail: rows[0] for tail, rows in tails.items() if len(rows) == counts[tail] == 1}

    def find(self, key: str) -> int | None:
        """Row of a video id, None where the file has none."""
        return self._row.get(key, self._row_of_tail.get(_tail(key)))

    def check_some(self) -> None:
        """Raises: ForeignFileError: the file has none of the data set's videos."""
        if all(self.find(key) is None for key in self._ids):
            raise ForeignFileError(
                f"{self._where} has none of the {len(self._ids)} videos: it names {_examples(self._names)}, the data "
                f"set {_examples(self._ids)}"
            )


def _examples(names: list[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:3])
    return f"{shown}{', …' if len(names) > 3 else ''}" or "nothing"


def by_id(found: Mapping[str, T], all_ids: list[str], where: str) -> dict[str, T]:
    """Video id → what a file holds under the name that it uses.

    Raises:
        ForeignFileError: it has none of the videos, or two names are of one.
    """
    names = list(found)
    rows = Rows(names, all_ids, where)
    rows.check_some()
    return {key: found[names[row]] for key in all_ids if (row := rows.find(key)) is not None}


def _tail(key: str) -> str:
    """Last part of an id: `video_id` writes a slash as two underscores, and nothing else so."""
    return key.rpartition("__")[2]
