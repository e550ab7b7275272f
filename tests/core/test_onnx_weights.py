"""ONNX weights are read from the protocol buffers: finite ones pass, others are named."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from smaf.core.onnx_weights import check_onnx_weights
from smaf.engine.predicting import shipped_weights


def varint(value: int) -> bytes:
    parts = b""
    while value > 127:
        parts, value = parts + bytes([value & 127 | 128]), value >> 7
    return parts + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(
    values: list[float], kind: int = 1, name: str = "w", dims: list[int] | None = None
) -> bytes:
    dtype = {1: "<f4", 10: "<f2", 11: "<f8", 7: "<i8"}[kind]
    raw = np.array(values, dtype).tobytes()
    shape = b"".join(field(1, n) for n in ([len(values)] if dims is None else dims))
    return shape + field(2, kind) + field(8, name.encode()) + field(9, raw)


def model(*tensors: bytes) -> bytes:
    return field(1, 8) + field(7, b"".join(field(5, part) for part in tensors))


def test_finite_weights_pass() -> None:
    check_onnx_weights(
        model(tensor([1, -2]), tensor([0.5], 10), tensor([1e300], 11), tensor([3], 7), tensor([]))
    )
    check_onnx_weights(model(tensor([float("-inf")], dims=[])))  # what pads before a maximum
    for path in shipped_weights().values():
        check_onnx_weights(path.read_bytes())


@pytest.mark.parametrize("kind", [1, 10, 11])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_others_are_named(kind: int, value: float) -> None:
    bad = tensor([1.0, value], kind, "conv.weight")
    node = field(1, field(5, field(5, bad)))  # a constant in a node
    inner = field(1, field(5, field(6, node)))  # in a graph within a node
    function = field(25, field(7, field(5, field(5, bad))))
    for data in (model(tensor([1.0]), bad), field(7, node), field(7, inner), function):
        with pytest.raises(ValueError, match=r"'conv\.weight' holds values that are not finite"):
            check_onnx_weights(data)
    unpacked = field(2, 1) + field(1, 2) + field(4, struct.pack("<2f", 1.0, value)) + field(8, b"w")
    with pytest.raises(ValueError, match="'w' holds values that are not finite"):
        check_onnx_weights(model(unpacked))


def test_bfloat16_is_read() -> None:
    halves = (np.array([1.0, np.inf], np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    with pytest.raises(ValueError, match="not finite"):
        check_onnx_weights(model(field(1, 2) + field(2, 16) + field(9, halves)))
    check_onnx_weights(model(field(1, 1) + field(2, 16) + field(9, halves[:2])))


def test_weights_elsewhere_and_claims_are_refused() -> None:
    for part in (field(13, field(1, b"location") + field(2, b"/etc/passwd")), field(14, 1)):
        with pytest.raises(ValueError, match="lies in another file"):
            check_onnx_weights(model(tensor([1.0]) + part))
    with pytest.raises(ValueError, match="too few or too many values"):
        check_onnx_weights(model(tensor([1.0], dims=[10**9, 10**9])))
    with pytest.raises(ValueError, match="sparse"):
        check_onnx_weights(field(7, field(15, b"")))


def test_damage_raises_nothing_else() -> None:
    whole = model(tensor([1.0, 2.0]), tensor([3.0], 10))
    for length in range(1, len(whole)):
        try:
            check_onnx_weights(whole[:length])
        except ValueError:
            continue
    graph = b""
    for _ in range(50):
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(ValueError, match="nested too deeply"):
        check_onnx_weights(field(7, graph))
