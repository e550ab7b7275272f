"""A reader, without MXNet, for its `.params` files: the format of ResNet-38's ImageNet weights.

Layout, little endian: u64 0x112, u64 0, u64 count, the arrays; u64 count, per name u64 length and
bytes. An array:
V2 u32 magic, i32 storage type (0 dense), u32 ndim, ndim × i64; V1 u32 magic, u32 ndim, ndim × i64;
older u32 ndim, ndim × u32; then i32 device type, i32 device id, i32 type flag, data.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import require_file

LIST_MAGIC = 0x112
_V2, _V1 = 0xF993FAC9, 0xF993FAC8
_TYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}
_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
}


def is_mxnet_params(path: Path) -> bool:
    """Whether the file's first bytes are those of an MXNet NDArray list."""
    require_file(path, "weights", "name the file that you downloaded or trained")
    with path.open("rb") as file:
        return file.read(8) == struct.pack("<Q", LIST_MAGIC)


class _Reader:
    """Numbers, bytes and arrays of a file, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> Any:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def bytes(self, length: int) -> bytes:
        if self.at + length > len(self.data):
            raise ValueError(
                f"it ends at byte {len(self.data)}, {length} more are expected at {self.at}"
            )
        self.at += length
        return self.data[self.at - length : self.at]

    def array(self) -> np.ndarray:
        first = self.take("I")
        if first == _V2 and self.take("i") != 0:
            raise ValueError("it has sparse arrays")
        modern = first in {_V1, _V2}
        ndim = self.take("I") if modern else first
        if ndim > 32:
            raise ValueError(f"an array has {ndim} dimensions")
        shape = [self.take("q" if modern else "I") for _ in range(ndim)]
        self.take("ii")
        flag = self.take("i")
        if flag not in _TYPES or min(shape, default=0) < 0:
            raise ValueError(f"an array has type flag {flag} and shape {shape}")
        dtype = np.dtype(_TYPES[flag])
        size = dtype.itemsize
        for length in shape:  # Python integers: a damaged shape cannot overflow
            size *= length
        return np.frombuffer(self.bytes(size), dtype=dtype).reshape(shape).copy()


def read_mxnet_params(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a `.params` file under MXNet's names (`arg:conv1a_weight`).

    Raises :class:`InputError` where the file is truncated or another format.
    """
    require_file(path, "weights", "name the file that you downloaded")
    reader = _Reader(path.read_bytes())
    try:
        magic, reserved, count = reader.take("QQQ")
        if (magic, reserved) != (LIST_MAGIC, 0):
            raise ValueError(
                f"its first numbers are {magic:#x} and {reserved}, expected {LIST_MAGIC:#x} and 0"
            )
        if count * 8 > len(reader.data):
            raise ValueError(f"it claims {count} arrays")
        arrays = [reader.array() for _ in range(count)]
        if reader.take("Q") != count:
            raise ValueError("the number of names is not the number of arrays")
        names = [reader.bytes(reader.take("Q")).decode("utf-8") for _ in range(count)]
        if len(set(names)) < count:
            raise ValueError("it has a name twice")
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"weights {path} are not a whole MXNet .params file ({error}): download it again"
        ) from error
    return dict(zip(names, arrays, strict=True))


def _block(name: str) -> str:
    """`4b5` → `b4_5`, `2a` → `b2`: MXNet's unit to the published module."""
    match = re.fullmatch(r"(\d)([a-z])(\d*)", name)
    if match is None:
        raise KeyError(name)
    stage, letter, number = match.groups()
    if letter == "a":
        return f"b{stage}"
    return f"b{stage}_{number or ord(letter) - ord('a')}"


def published_key(name: str) -> str | None:
    """MXNet's name → ResNet-38's published key, None for the 1000-class layer, which is dropped.

    Raises KeyError for a name that is not ResNet-38's.

    >>> published_key("arg:res4b5_branch2b1_weight")
    'b4_5.conv_branch2b1.weight'
    >>> published_key("arg:linear1000_weight") is None
    True
    """
    plain = name.split(":", 1)[-1]
    if plain.startswith("linear1000"):
        return None
    if match := re.fullmatch(r"(conv1a)_(weight)", plain):
        return ".".join(match.groups())
    if match := re.fullmatch(r"(bn7)_(gamma|beta|moving_mean|moving_var)", plain):
        return f"bn7.{_NAMES[match[2]]}"
    if match := re.fullmatch(r"res(\w+?)_(branch\w+?)_weight", plain):
        return f"{_block(match[1])}.conv_{match[2]}.weight"
    if match := re.fullmatch(r"bn(\w+?)_(branch\w+?)_(gamma|beta|moving_mean|moving_var)", plain):
        return f"{_block(match[1])}.bn_{match[2]}.{_NAMES[match[3]]}"
    raise KeyError(name)


def read_resnet38_params(path: Path) -> dict[str, np.ndarray]:
    """Read ResNet-38's ImageNet weights under the published keys, without the 1000-class layer.

    Raises :class:`InputError` where the file is truncated, or of another network.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, array in read_mxnet_params(path).items():
        try:
            key = published_key(name)
        except KeyError as error:
            raise InputError(
                f"weights {path} have {name!r}, which is not a name of ResNet-38: expected "
                "ilsvrc-cls_rna-a1_cls1000_ep-0001.params"
            ) from error
        if key in arrays:
            raise InputError(f"weights {path} have {key} twice: download the file again")
        if key is not None:
            arrays[key] = array
    return arrays
