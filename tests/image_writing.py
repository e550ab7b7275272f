"""PNG and TIFF files put together by hand: kinds that Pillow does not write, and damage with right
checksums."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG's chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(values: np.ndarray, bits: int) -> bytes:
    """A row of samples, big-endian, several in a byte where `bits` is below 8."""
    if bits == 16:
        return values.astype(">u2").tobytes()
    text = "".join(format(int(v), f"0{bits}b") for v in values.ravel())
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def write_png(
    path: Path,
    values: np.ndarray,
    *,
    bits: int = 8,
    colours: int = 0,
    before: bytes = b"",
    after: bytes = b"",
) -> Path:
    """Write (H, W) or (H, W, channels) samples; `before` are chunks in front of the pixels, `after`
    those behind."""
    h, w = values.shape[:2]
    rows = b"".join(b"\0" + packed(row, bits) for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, colours, 0, 0, 0))
        + before
        + chunk(b"IDAT", zlib.compress(rows))
        + after
        + chunk(b"IEND", b"")
    )
    return path


def write_tiff(
    path: Path,
    values: np.ndarray,
    *,
    bits: int = 8,
    photometric: int = 1,
    sample_format: int = 1,
    tags: Sequence[tuple[int, int, int]] = (),
) -> Path:
    """Write (H, W) samples, uncompressed and little-endian; `tags` are more of (number, type,
    value)."""
    h, w = values.shape
    if bits in {8, 16, 32}:
        data = values.astype(f"<{'_uif'[sample_format]}{bits // 8}").tobytes()
    else:
        data = b"".join(packed(row, bits) for row in values)
    entries = sorted(
        [
            (256, 4, w),
            (257, 4, h),
            (258, 3, bits),
            (259, 3, 1),
            (262, 3, photometric),
            (273, 4, 8),
            (277, 3, 1),
            (278, 4, h),
            (279, 4, len(data)),
            (339, 3, sample_format),
            *tags,
        ]
    )
    directory = b"".join(
        struct.pack("<HHII", number, kind, 1, value) for number, kind, value in entries
    )
    path.write_bytes(
        b"II*\0"
        + struct.pack("<I", 8 + len(data))
        + data
        + struct.pack("<H", len(entries))
        + directory
        + struct.pack("<I", 0)
    )
    return path
