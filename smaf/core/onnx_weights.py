"""A check that the weights in an ONNX file are there and finite.

They are read from the file's protocol buffers, without the package onnx.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

# TensorProto's types of floating point, as NumPy has them; bfloat16 as the upper half of a float32
_FLOATS = {1: "<f4", 10: "<f2", 11: "<f8", 16: "<u2"}
_BFLOAT16 = 16
Field = tuple[int, int, "memoryview | int"]  # number, wire type, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError(f"it ends, or is damaged, at byte {at} of a part")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: memoryview) -> Iterator[Field]:
    """The fields of one message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in {1, 5}:
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"it has a field of the unknown kind {wire}")
        if at + length > len(data):
            raise ValueError("it is cut off")
        yield number, wire, data[at : at + length]
        at += length


def _parts(data: memoryview, *numbers: int) -> Iterator[tuple[int, memoryview]]:
    for number, _, value in _fields(data):
        if number in numbers and isinstance(value, memoryview):
            yield number, value


def _tensors(graph: memoryview, depth: int = 0) -> Iterator[memoryview]:
    """A graph's initializers, and the tensors in its nodes' attributes and their graphs."""
    if depth > 8:
        raise ValueError("its graphs are nested too deeply")
    for number, part in _parts(graph, 1, 5, 15):
        if number == 5:
            yield part
        elif number == 15:
            raise ValueError("it has sparse weights")
        else:
            yield from _of_node(part, depth)


def _of_node(node: memoryview, depth: int) -> Iterator[memoryview]:
    for _, attribute in _parts(node, 5):
        for number, part in _parts(attribute, 5, 6, 10, 11):
            if number in {5, 10}:
                yield part
            else:
                yield from _tensors(part, depth + 1)


def check_onnx_weights(data: bytes) -> None:
    """Raise ValueError where a weight of an ONNX file is not finite, or lies in another file."""
    for number, part in _parts(memoryview(data), 7, 25):  # the graph; functions, which have nodes
        tensors = (
            _tensors(part)
            if number == 7
            else (tensor for _, node in _parts(part, 7) for tensor in _of_node(node, 0))
        )
        for tensor in tensors:
            _check_finite(tensor)


def _check_finite(tensor: memoryview) -> None:
    name, kind, external, dims = "", 0, False, []
    values: list[memoryview] = []
    for number, _, value in _fields(tensor):
        if number == 1:
            dims += [value] if isinstance(value, int) else list(_packed(value))
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8 and isinstance(value, memoryview):
            name = bytes(value[:80]).decode("utf-8", "replace")
        elif number in {4, 9, 10} and isinstance(value, memoryview):
            values.append(value)
        external = external or number == 13 or (number == 14 and value == 1)
    if external:
        raise ValueError(f"its weight {name!r} lies in another file")
    if kind not in _FLOATS:
        return
    dtype = np.dtype(_FLOATS[kind])
    count = math.prod(dims)
    if sum(len(part) for part in values) != count * dtype.itemsize:
        raise ValueError(
            f"its weight {name!r} of the shape {dims[:8]} has too few or too many values"
        )
    for part in values:
        array = np.frombuffer(part, dtype=dtype)
        if kind == _BFLOAT16:
            array = (array.astype(np.uint32) << 16).view(np.float32)
        # One infinite number may be a constant of the graph, such as what pads before a maximum
        if np.isnan(array).any() or (count > 1 and not np.isfinite(array).all()):
            raise ValueError(f"its weight {name!r} holds values that are not finite")


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value
