"""Pickle files read without unpickling: opcodes are interpreted for plain values and numeric arrays, all else refused.

Python's unpickler imports and calls whatever a file names. Here a name in the file is only ever compared with the few
that numpy writes for arrays, types and numbers; nothing is imported, no method of a named class is called.
"""

from __future__ import annotations

import math
import mmap
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.exchange.errors import ForeignFileError

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
# What a name in a file means here; numpy 2 renamed its modules.
_KNOWN = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    # How empty bytes stand in files of the protocols before 3.
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
    **{(module, "_reconstruct"): "reconstruct" for module in _MULTIARRAY},
    **{(module, "scalar"): "scalar" for module in _MULTIARRAY},
    **{(module, "_frombuffer"): "frombuffer" for module in _NUMERIC},
}
_ARRAY_TYPE = re.compile(r"[biuf][1248]")
_SCALAR_TYPE = re.compile(r"[biuf][1248]|U\d{1,6}")
_KEYS = (str, int, float, bool, bytes, type(None))


class _Symbol:
    """Something that is no value yet: a name, a type, an array without its content."""


class _Name(_Symbol):
    def __init__(self, meaning: str):
        self.meaning = meaning


class _Type(_Symbol):
    def __init__(self, code: str):
        self.code, self.order = code, "="

    def numpy(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.order)


class _EmptyArray(_Symbol):
    """An array between its construction and the opcode that fills it; ``memo`` are the numbers it is remembered by."""

    def __init__(self):
        self.memo: list[int] = []


class _Arguments(tuple):
    """A tuple with a symbol somewhere inside: arguments of a call, never part of the result."""


class _Refused(ValueError):
    pass


_MARK = object()


class _Reader:
    """The stack machine of the pickle format, without its power to call anything."""

    def __init__(self):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    # ------------------------------------------------------------------------------------------------------- stack

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise _Refused("a mark where a value belongs")
        return value

    def above_mark(self) -> list[Any]:
        for position in range(len(self.stack) - 1, -1, -1):
            if self.stack[position] is _MARK:
                found = self.stack[position + 1 :]
                del self.stack[position:]
                return found
        raise _Refused("no mark")

    def value(self, value: Any) -> Any:
        if isinstance(value, (_Symbol, _Arguments)) or value is _MARK:
            raise _Refused("a name or an unfinished array where a value belongs")
        return value

    def tuple_of(self, items: list[Any]) -> tuple:
        if any(item is _MARK for item in items):
            raise _Refused("a mark where a value belongs")
        return (_Arguments if any(isinstance(item, (_Symbol, _Arguments)) for item in items) else tuple)(items)

    def remember(self, number: int) -> None:
        value = self.stack[-1]
        if value is _MARK:
            raise _Refused("a mark where a value belongs")
        if isinstance(value, _EmptyArray):
            value.memo.append(number)
        self.memo[number] = value

    def extend_list(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise _Refused("items for something that is no list")
        target.extend(self.value(item) for item in items)

    def extend_dict(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise _Refused("items for something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in _KEYS:  # a tuple of tuples of … can take for ever to hash
                raise _Refused("a key that is neither text nor a number")
            target[key] = self.value(value)

    # ------------------------------------------------------------------------------------------------ numpy's names

    def name(self, module: Any, name: Any) -> None:
        meaning = _KNOWN.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if meaning is None:
            raise _Refused(f"it names {module!s:.60}.{name!s:.60}, which would have to be executed")
        self.stack.append(_Name(meaning))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise _Refused("a call of something that is no function")
        known = {
            "dtype": self._type,
            "reconstruct": self._empty_array,
            "frombuffer": self._array_from_buffer,
            "scalar": self._scalar,
            "encode": self._encoded,
            "bytes": self._no_bytes,
        }
        if function.meaning not in known:
            raise _Refused(f"a call of {function.meaning}")
        self.stack.append(known[function.meaning](*arguments))

    def _type(self, code: Any, *_: Any) -> _Type:
        if not isinstance(code, str) or not _SCALAR_TYPE.fullmatch(code):
            raise _Refused(f"an array or number of the type {code!s:.20}; numbers and text can be read")
        return _Type(code)

    def _empty_array(self, kind: Any, *_: Any) -> _EmptyArray:
        if not isinstance(kind, _Name) or kind.meaning != "ndarray":
            raise _Refused("an array of another class than numpy.ndarray")
        return _EmptyArray()

    def _array(self, data: Any, dtype: Any, shape: Any, fortran: bool) -> np.ndarray:
        if isinstance(data, str):  # Python 2 wrote bytes as text
            data = data.encode("latin-1")
        if not isinstance(data, (bytes, bytearray)):
            raise _Refused("an array of Python objects; numbers can be read")
        if not isinstance(dtype, _Type) or not _ARRAY_TYPE.fullmatch(dtype.code):
            raise _Refused("an array that is not of numbers")
        if type(shape) is not tuple or any(type(side) is not int or side < 0 for side in shape):
            raise _Refused("an array without a shape")
        kind = dtype.numpy()
        if math.prod(shape) * kind.itemsize != len(data):
            raise _Refused("an array whose shape does not fit its data")
        values = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
        return values.astype(kind.newbyteorder("="), copy=False)

    def _array_from_buffer(self, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        return self._array(data, dtype, shape, order == "F")

    def _scalar(self, dtype: Any, data: Any) -> Any:
        if isinstance(data, str):
            data = data.encode("latin-1")
        if not isinstance(dtype, _Type) or not isinstance(data, bytes) or len(data) != dtype.numpy().itemsize:
            raise _Refused("a number whose type does not fit its data")
        return np.frombuffer(data, dtype.numpy())[0].item()

    def _encoded(self, text: Any, encoding: Any = None, *_: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise _Refused("text in another encoding than the pickle module writes")
        return text.encode("latin-1")

    def _no_bytes(self, *arguments: Any) -> bytes:
        if arguments:
            raise _Refused("bytes made of something else")
        return b""

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, _Type) and type(state) is tuple and len(state) >= 5:
            if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
                raise _Refused("an array of records; numbers can be read")
            target.order = state[1]
        elif isinstance(target, _EmptyArray) and isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, fortran, data = state
            values = self._array(data, dtype, shape, bool(fortran))
            self.stack[-1] = values
            for number in target.memo:
                if self.memo.get(number) is target:
                    self.memo[number] = values
        else:
            raise _Refused("an object that has a state of its own")

    # ------------------------------------------------------------------------------------------------------ opcodes

    def step(self, name: str, argument: Any) -> None:
        """Interpret one opcode."""
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case (
                "INT" | "BININT" | "BININT1" | "BININT2" | "LONG" | "LONG1" | "LONG4"
                | "FLOAT" | "BINFLOAT"
                | "STRING" | "BINSTRING" | "SHORT_BINSTRING"
                | "UNICODE" | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8"
                | "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8"
            ):  # fmt: skip
                stack.append(argument)
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "MARK":
                stack.append(_MARK)
            case "LIST":
                items = self.above_mark()
                stack.append([])
                self.extend_list(items)
            case "DICT":
                items = self.above_mark()
                stack.append({})
                self.extend_dict(items)
            case "TUPLE":
                stack.append(self.tuple_of(self.above_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                if len(stack) < count:
                    raise _Refused("too few values for a tuple")
                items = stack[-count:]
                del stack[-count:]
                stack.append(self.tuple_of(items))
            case "APPEND":
                item = self.pop()
                self.extend_list([item])
            case "APPENDS":
                self.extend_list(self.above_mark())
            case "SETITEM":
                value, key = self.pop(), self.pop()
                self.extend_dict([key, value])
            case "SETITEMS":
                self.extend_dict(self.above_mark())
            case "MEMOIZE":
                self.remember(len(self.memo))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.remember(argument)
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "POP":
                stack.pop()
            case "POP_MARK":
                self.above_mark()
            case "DUP":
                stack.append(self.value(stack[-1]))
            case "GLOBAL":
                self.name(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                name, module = self.pop(), self.pop()
                self.name(module, name)
            case "REDUCE":
                self.call()
            case "BUILD":
                self.build()
            case _:
                raise _Refused(f"the opcode {name}, which makes objects")


def _interpret(content: Any) -> Any:
    reader = _Reader()
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "STOP":
            return reader.value(reader.pop())
        reader.step(opcode.name, argument)
    raise _Refused("no end")


def loads(content: bytes, where: str = "the pickle") -> Any:
    """The value of a pickle of lists, dictionaries, tuples, text, bytes, numbers, None and numpy arrays of numbers.

    Raises:
        ForeignFileError: it holds anything else, is truncated, or is no pickle.
    """
    return _value(content, where)


def load(path: Path) -> Any:
    """The same for a file; large files are mapped, not copied."""
    try:
        with open(path, "rb") as file:
            if not file.seek(0, 2):
                raise ForeignFileError(f"{path} is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _value(content, str(path))
    except FileNotFoundError:
        raise ForeignFileError(f"{path} does not exist") from None


def _value(content: Any, where: str) -> Any:
    try:
        return _interpret(content)
    except _Refused as error:
        raise ForeignFileError(f"{where} is not a pickle of plain values and arrays: {error}") from None
    # Damaged bytes surface as these in pickletools, in numpy and in the stack machine.
    except (ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise ForeignFileError(f"{where} is no pickle, or a damaged one ({type(error).__name__})") from None
