"""What a pickle of dicts, lists, arrays, text and numbers holds, without unpickling it.

It follows the few opcodes that these are written with, makes arrays itself, and calls nothing that
the file names.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from smaf.core.fields import shown

# Opcodes that push their argument, and those that push the same always
_ARGUMENTS = {
    "BININT",
    "BININT1",
    "BININT2",
    "INT",
    "LONG",
    "LONG1",
    "LONG4",
    "FLOAT",
    "BINFLOAT",
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
    "BYTEARRAY8",
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS, _GETS = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
# What NumPy's own pickles name, under the module paths of NumPy 1 and 2, and what it stands for
# here
_NAMES = {
    (f"numpy.{core}.{module}", name): name
    for core in ("core", "_core")
    for module, name in (
        ("multiarray", "_reconstruct"),
        ("multiarray", "scalar"),
        ("numeric", "_frombuffer"),
    )
}
_NAMES |= {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("collections", "OrderedDict"): "OrderedDict",
    ("__builtin__", "bytes"): "bytes",
}
_SPARE = 1 << 20  # bytes that arrays may share beyond 64 times the file's


class _Named:
    """A function or class that the pickle names."""

    def __init__(self, module: str, name: str) -> None:
        if (module, name) not in _NAMES:
            raise ValueError(
                f"it asks for {module}.{name}, which is not an array, dict, text or number"
            )
        self.name = _NAMES[module, name]


class _Dtype:
    """A dtype that the pickle makes; BUILD tells its byte order."""

    def __init__(self, text: object) -> None:
        if not isinstance(text, str) or not re.fullmatch(r"[biufUSO]\d{1,9}", text):
            raise ValueError(f"it has arrays of the type {shown(text)}")
        self.object = text.startswith("O")
        self.dtype = np.dtype(np.int64 if self.object else text)

    def build(self, state: Any) -> None:
        _, order, *parts = state
        if order not in {"<", ">", "=", "|"} or any(part is not None for part in parts[:3]):
            raise ValueError("it has arrays of a composed type")
        if order in {"<", ">"}:
            self.dtype = self.dtype.newbyteorder(order)


class PickledArray:
    """An array that the pickle makes; BUILD gives shape and contents."""

    value: Any = None

    def __repr__(self) -> str:
        return "an array"

    def build(self, state: Any) -> None:
        shape, kind, columns_first, data = state[-4:]
        if kind.object:
            if shape != () or len(data) != 1:
                raise ValueError("it has an array of objects")
            self.value = data[0]
        else:
            self.value = _array(_latin1(data), kind.dtype, shape, "F" if columns_first else "C")


def _latin1(data: Any) -> bytes | bytearray:
    return data.encode("latin1") if isinstance(data, str) else data  # Python 2's


def _array(data: bytes | bytearray, dtype: np.dtype[Any], shape: Any, order: str) -> np.ndarray:
    if not all(isinstance(n, int) and n >= 0 for n in shape) or math.prod(
        shape
    ) * dtype.itemsize != len(data):
        raise ValueError(f"it has an array {shown(shape)} of {dtype} in {len(data)} bytes")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


class PickleReader:
    """Follows the opcodes of one pickle, and gives what it holds by :meth:`read`.

    Arrays are given as :class:`PickledArray`. `room` is how many bytes the arrays may take: what is
    shared in a small file must not fill the memory.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.room = data, 64 * len(data) + _SPARE
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def read(self) -> Any:
        """Return the value of the pickle.

        Raises ValueError (or what damage leads to) where it holds anything else.
        """
        stack, memo = self.stack, self.memo
        argument: Any
        for opcode, argument, _ in pickletools.genops(self.data):
            name = opcode.name
            if name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in _ARGUMENTS:
                stack.append(argument)
            elif name in _PUTS:
                memo[argument] = stack[-1]
            elif name in _GETS:
                stack.append(memo[argument])
            elif name in _TUPLES:
                stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
            elif name == "MARK":
                self.marks.append(len(stack))
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name]())
            elif name not in {"PROTO", "FRAME", "STOP"}:
                self._compose(name, argument)
        (value,) = stack
        return value.value if isinstance(value, PickledArray) else value

    def _compose(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name == "LIST":
            stack.append(self._since_mark())
        elif name == "DICT":
            stack.append(_entries({}, self._since_mark()))
        elif name == "APPENDS":
            items = self._since_mark()
            _of(list, stack[-1]).extend(items)
        elif name == "APPEND":
            item = stack.pop()
            _of(list, stack[-1]).append(item)
        elif name == "SETITEMS":
            items = self._since_mark()
            _entries(_of(dict, stack[-1]), items)
        elif name == "SETITEM":
            items = [stack.pop(-2), stack.pop()]
            _entries(_of(dict, stack[-1]), items)
        elif name == "GLOBAL":
            stack.append(_Named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(_Named(_of(str, stack.pop(-2)), _of(str, stack.pop())))
        elif name == "REDUCE":
            arguments = _of(tuple, stack.pop())
            stack.append(self._made(_of(_Named, stack.pop()).name, arguments))
        elif name == "BUILD":
            state = _of(tuple, stack.pop())
            (stack[-1] if isinstance(stack[-1], PickledArray) else _of(_Dtype, stack[-1])).build(
                state
            )
        else:
            raise ValueError(
                f"it has the opcode {name}, which is not of an array, dict, text or number"
            )

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _made(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """What the named function gives, of the arguments that NumPy's pickles have."""
        if name == "dtype":
            return _Dtype(arguments[0])
        if name == "_reconstruct":
            return PickledArray()
        if name == "encode":
            text, encoding = arguments
            if encoding not in {"latin1", "latin-1"}:
                raise ValueError(f"it encodes text as {shown(encoding)}")
            self.room -= len(text)
            if self.room < 0:
                raise ValueError("it holds more than a file of its size can")
            return _of(str, text).encode("latin1")
        if name == "scalar":
            kind, data = arguments
            return _array(_latin1(data), kind.dtype, (), "C").item()
        if name == "_frombuffer":
            data, kind, shape, order = arguments
            array = PickledArray()
            array.value = _array(data, kind.dtype, shape, order)
            return array
        if name == "bytes" and not arguments:  # how Python 3 writes none for Python 2
            return b""
        if name == "OrderedDict":
            return _entries(
                {}, [part for pair in (arguments[0] if arguments else ()) for part in pair]
            )
        raise ValueError(f"it calls numpy.{name}")


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it takes {shown(value)} for a {kind.__name__.strip('_')}")
    return value


def _entries(target: dict[Any, Any], items: Sequence[Any]) -> dict[Any, Any]:
    """Put key, value, key, value … into `target`; keys are text or whole numbers, each once."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        key = key.decode("utf-8") if isinstance(key, bytes) else key
        if (
            not isinstance(key, (str, int))
            or isinstance(key, bool)
            or (isinstance(key, int) and abs(key) >= 2**60)
        ):
            raise ValueError(f"it has the key {shown(key)}, expected text or a whole number")
        if key in target:
            raise ValueError(f"it has the key {shown(key)} twice")
        target[key] = value
    return target
