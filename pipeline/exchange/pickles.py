"""Pickle files read without running anything of theirs: plain values and numeric arrays, all else refused.

A whitelist of names is not enough: Python's unpickler gives any state to any object, and numpy believes a type whose
state says that bytes are pointers. So names in a file mean functions of this module, states are checked before numpy
gets them, and opcodes that make objects are refused. This takes the unpickler in Python: the one in C keeps no table of
opcodes that could be changed, and hashes keys before anyone can look at them.
"""

from __future__ import annotations

import mmap
import pickle
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from pipeline.exchange.errors import ForeignFileError

_OPCODES = (
    "PROTO FRAME MARK STOP POP POP_MARK DUP GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT GLOBAL STACK_GLOBAL REDUCE"
)
_TYPE = re.compile(r"[biuf][1248]|U\d{1,6}")
_KEYS = (str, int, float, bool, bytes, type(None))
_VALUES = (*_KEYS, bytearray, np.ndarray)


def _refused(reason: str) -> NoReturn:
    raise pickle.UnpicklingError(reason)


# ------------------------------------------------------------------------------------------- what names in a file mean

_NDARRAY = object()


def _dtype(code: Any, *_: Any) -> np.dtype:
    if not isinstance(code, str) or not _TYPE.fullmatch(code):
        _refused(f"an array or number of the type {code!s:.20}; numbers and text can be read")
    return np.dtype(code, False, True)  # a copy of its own, which may be given a byte order


def _numeric(dtype: Any) -> np.dtype:
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biuf":
        _refused("an array that is not of numbers")
    return dtype


def _empty_array(kind: Any, *_: Any) -> np.ndarray:
    if kind is not _NDARRAY:
        _refused("an array of another class than numpy.ndarray")
    return np.empty(0)


def _array(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    if type(data) not in (bytes, bytearray):  # the memory of another array could be freed behind this one's back
        _refused("an array of something else than bytes")
    array = np.frombuffer(data, _numeric(dtype)).reshape(shape, order="C" if order == "K" else order)
    array = array if axes is None else array.transpose(axes)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _scalar(dtype: Any, data: Any) -> Any:
    data = data.encode("latin-1") if isinstance(data, str) else data  # Python 2 wrote bytes as text
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        _refused("a number whose type does not fit its data")
    return np.frombuffer(data, dtype)[0].item()


def _bytes(text: str = "", encoding: str = "latin1") -> bytes:
    """How bytes stand in files of the protocols before 3."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        _refused("text in another encoding than the pickle module writes")
    return text.encode(encoding)


_KNOWN = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _bytes,
    ("__builtin__", "bytes"): _bytes,
    ("builtins", "bytes"): _bytes,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 2 renamed its modules
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _empty_array
    _KNOWN[f"{_core}.multiarray", "scalar"] = _scalar
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _array


# -------------------------------------------------------------------------------------------------------- the unpickler


class _Unpickler(pickle._Unpickler):
    """Python's own, with a table of opcodes that holds what plain values and arrays need."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            _refused(f"it names {module:.60}.{name:.60}, which would have to be executed")
        return _KNOWN[module, name]

    def load_refused(self) -> None:
        _refused("an opcode that makes objects")

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))  # Python's allocates what the file says before it reads

    def fill_dict(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            _refused("items for something that is no dictionary")
        if any(type(key) not in _KEYS for key in items[::2]):  # a tuple of tuples of … can take for ever to hash
            _refused("a key that is neither text nor a number")
        target.update(zip(items[::2], items[1::2], strict=True))

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self.fill_dict(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.fill_dict([key, value])

    def load_setitems(self) -> None:
        self.fill_dict(self.pop_mark())

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, np.dtype):
            if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
                _refused("an array of records; numbers can be read")
            target.__setstate__((3, state[1], None, None, None, target.itemsize, target.alignment, 0))
        elif isinstance(target, np.ndarray):
            _, shape, dtype, fortran, data = state
            target.__setstate__((1, shape, _numeric(dtype), fortran, data))
        else:
            _refused("an object that has a state of its own")

    dispatch = (
        dict.fromkeys(range(256), load_refused)
        | {code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in _OPCODES.split())}
        | {
            pickle.BYTEARRAY8[0]: load_bytearray8,
            pickle.DICT[0]: load_dict,
            pickle.SETITEM[0]: load_setitem,
            pickle.SETITEMS[0]: load_setitems,
            pickle.BUILD[0]: load_build,
        }
    )


def _check_plain(value: Any) -> None:
    """Refuse a name or a type in place of a value; nesting may be deeper than Python's stack."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if type(item) in (list, tuple, dict):
            if id(item) not in seen:
                seen.add(id(item))
                waiting += item.values() if type(item) is dict else item
        elif type(item) not in _VALUES:
            _refused("a name or a type where a value belongs")


def read(file: BinaryIO | mmap.mmap, where: str) -> Any:
    """The value of a pickle of lists, dictionaries, tuples, text, bytes, numbers, None and numpy arrays of numbers.

    Args:
        where: what it is, for messages.

    Raises:
        ForeignFileError: it holds anything else, is truncated, or is no pickle.
    """
    try:
        value = _Unpickler(file, encoding="latin1").load()
        _check_plain(value)
        return value
    except pickle.UnpicklingError as error:
        raise ForeignFileError(f"{where} is not a pickle of plain values and arrays: {error}") from None
    except Exception as error:  # pickle, struct and numpy each raise their own for damaged bytes
        raise ForeignFileError(f"{where} is not a pickle, or is damaged ({type(error).__name__})") from None


def load(path: Path) -> Any:
    """The same for a file, which is mapped and not copied."""
    try:
        with open(path, "rb") as file:
            if not file.seek(0, 2):
                raise ForeignFileError(f"{path} is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return read(content, str(path))
    except FileNotFoundError:
        raise ForeignFileError(f"{path} does not exist") from None
