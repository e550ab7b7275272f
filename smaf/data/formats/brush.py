"""Label Studio's run lengths of brush strokes: RGBA pictures packed bit by bit.

The code, as `label_studio_sdk/converter/brush.py` has it: 32 bits, the number of values; 5 bits,
the bits of a value less 1; four times 4 bits, the bits of a length less 1. Then runs until all
values are there: a bit, 1 where the values are the same; 2 bits that choose one of the four sizes;
the length less 1; one value, or as many as the run is long. Zeros fill up the last byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_VALUE, _SIZES = 8, (3, 4, 8, 16)


def encode_brush(region: np.ndarray) -> list[int]:
    """The bytes of a region (H, W) bool, whose pixels are 255 in all four channels.

    Example:
        >>> encode_brush(np.array([[True, False]]))
        [0, 0, 0, 8, 57, 27, 252, 127, 241, 128, 0]
    """
    values = np.repeat(np.asarray(region, dtype=bool).ravel(), 4)
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]) + 1, len(values))
    lengths = np.diff(ends, prepend=0).tolist()
    bits = [f"{len(values):032b}", f"{_VALUE - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    value = bool(values[0])
    for length in lengths:
        bits.append(_run(length, 255 if value else 0))
        value = not value
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def _run(length: int, value: int) -> str:
    """The bits of a run; one that is longer than the largest size can say becomes several."""
    most = 1 << _SIZES[-1]
    bits = ""
    while length:
        part = min(length, most)
        place = next(n for n, size in enumerate(_SIZES) if part <= 1 << size)
        bits += f"1{place:02b}{part - 1:0{_SIZES[place]}b}{value:0{_VALUE}b}"
        length -= part
    return bits


def decode_brush(code: Any, size: tuple[int, int]) -> np.ndarray:
    """The region (H, W) bool in a picture of `size` (W, H): where alpha is not 0.

    Raises ValueError where `code` is no list of bytes, is cut short, or is of a picture of another
    size, which is known before any memory is taken for its pixels.
    """
    width, height = size
    bits = _Bits(code)
    number, value_bits = bits.take(32), bits.take(5) + 1
    sizes = [bits.take(4) + 1 for _ in range(4)]
    if number != 4 * width * height:
        raise ValueError(f"its run lengths are of {number} values, expected {width}·{height}·4")
    values: list[int] = []
    lengths: list[int] = []
    left = number
    while left > 0:
        same = bits.take(1)
        length = bits.take(sizes[bits.take(2)]) + 1
        if length > left:
            raise ValueError("its run lengths are more than the picture has values")
        left -= length
        if same:
            values.append(bits.take(value_bits))
            lengths.append(length)
        else:
            values += [bits.take(value_bits) for _ in range(length)]
            lengths += [1] * length
    picture = np.repeat(np.array(values, dtype=np.int64) > 0, lengths)
    return picture.reshape(height, width, 4)[..., 3]


class _Bits:
    """Reads numbers from a list of bytes; ValueError at its end, and for what is no such list."""

    def __init__(self, code: Sequence[int]) -> None:
        try:
            self._bytes = bytes(code) if isinstance(code, list) else b""
        except (TypeError, ValueError) as error:
            raise ValueError("its run lengths are no list of bytes") from error
        self._place = 0

    def take(self, count: int) -> int:
        """The number in the next `count` bits."""
        end = self._place + count
        if end > 8 * len(self._bytes):
            raise ValueError("its run lengths are cut short")
        piece = self._bytes[self._place // 8 : (end + 7) // 8]
        self._place, number = end, int.from_bytes(piece, "big") >> (-end % 8)
        return number & ((1 << count) - 1)
