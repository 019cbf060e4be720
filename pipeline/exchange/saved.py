"""Files of ``torch.save`` read without torch, whose import takes longer than all else that a command does.

Such a file is a zip of stored entries: ``data.pkl`` names tensors as views of storages, and ``data/<key>`` holds the
bytes of each. The pickle is read by `pipeline.exchange.pickles`, which runs nothing of a file's.
"""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.pickles import _KNOWN, _check_plain, _refused, _Unpickler

# Storages of torch by name, and what numpy calls their numbers. It has no name for those of bfloat16 and of 8 bits.
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


def _view(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """What ``torch._utils._rebuild_tensor_v2`` makes: a view of a storage, refused where it reaches beyond it."""
    numbers = [offset, *size, *stride]
    if type(storage) is not np.ndarray or storage.ndim != 1 or len(size) != len(stride):
        _refused("a tensor without a storage")
    if any(type(number) is not int or number < 0 for number in numbers):
        _refused("a tensor whose shape is not of numbers")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if all(size) and last >= len(storage):
        _refused("a tensor that is larger than its storage")
    if not all(size):
        return np.empty(size, storage.dtype)
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


_NAMES = {
    **_KNOWN,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("collections", "OrderedDict"): dict,  # of hooks, of which a saved tensor has none
    **{("torch", name): np.dtype(kind) for name, kind in STORAGES.items()},
}


class _TensorUnpickler(_Unpickler):
    """Plain values and tensors.

    Args:
        storage: gives the numbers of a key.
    """

    dispatch = _Unpickler.dispatch | {pickle.BINPERSID[0]: pickle._Unpickler.load_binpersid}

    def __init__(self, file: Any, storage: Callable[[str, np.dtype], np.ndarray]):
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        return _NAMES[module, name] if (module, name) in _NAMES else super().find_class(module, name)

    def persistent_load(self, pid: Any) -> np.ndarray:
        if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], np.dtype):
            _refused("something else than the storage of a tensor")
        return self._storage(str(pid[2]), pid[1])


def load_saved(path: Path) -> Any:
    """The value of a file of ``torch.save``; its tensors are arrays that cannot be written to.

    Raises:
        ForeignFileError: damaged, or it holds more than plain values and tensors of numbers that numpy knows.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {name.partition("/")[2]: entry for name, entry in archive.NameToInfo.items()}
            for entry in entries.values():
                # What is packed can unpack to any size; what is stored cannot be larger than the file.
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > path.stat().st_size:
                    raise ForeignFileError(f"{path} is not as torch.save writes files: entries of its zip are packed")
            order = archive.read(entries["byteorder"]).decode("ascii") if "byteorder" in entries else sys.byteorder
            found: dict[str, np.ndarray] = {}

            def storage(key: str, kind: np.dtype) -> np.ndarray:
                if key not in found:
                    wanted = kind.newbyteorder("<" if order == "little" else ">")
                    found[key] = np.frombuffer(archive.read(entries[f"data/{key}"]), wanted).astype(kind, copy=False)
                return found[key]

            value = _TensorUnpickler(io.BytesIO(archive.read(entries["data.pkl"])), storage).load()
        _check_plain(value)
        return value
    except ForeignFileError:
        raise
    except pickle.UnpicklingError as error:
        raise ForeignFileError(f"{path} is not a file of tensors and plain values: {error}") from None
    except Exception as error:  # zipfile, pickle and numpy each raise their own for damaged bytes
        raise ForeignFileError(f"{path} is no file of torch.save, or a damaged one ({type(error).__name__})") from None
