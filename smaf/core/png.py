"""What a PNG file says of itself: its samples' depth, and whether it is whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PIECE = 1 << 20


def png_depth(head: bytes) -> int | None:
    """Bits a sample by the first 25 bytes of a file; None where it is no PNG."""
    return head[24] if head.startswith(SIGNATURE) and len(head) > 24 else None


def check_png(path: Path) -> None:
    """Raise ValueError where a PNG ends early, or one of its checksums does not fit.

    Chunks have checksums, and so have the pixels. Pillow passes over the checksums of the pixels'
    chunks, so that a flipped byte may change classes. What follows the last chunk is of no account.
    Memory stays bounded, whatever the file says.
    """
    with path.open("rb") as file:
        if file.read(8) != SIGNATURE:
            return
        pixels, left = zlib.decompressobj(), 0
        while True:
            length, kind = struct.unpack(">I4s", _exactly(file, 8))
            checksum = zlib.crc32(kind)
            for piece in _pieces(file, length):
                checksum = zlib.crc32(piece, checksum)
                if kind == b"IHDR":
                    left = _most_bytes(piece)
                if kind == b"IDAT":
                    left -= _inflate(pixels, piece, left)
            if struct.unpack(">I", _exactly(file, 4))[0] != checksum:
                raise ValueError(
                    f"the checksum of its part {kind.decode('latin-1')!r} is wrong: bytes were "
                    "changed"
                )
            if kind == b"IEND":
                break
    if not pixels.eof:
        raise ValueError("its pixels end early")


def _exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise ValueError("it ends early")
    return data


def _pieces(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length:
        piece = _exactly(file, min(length, _PIECE))
        length -= len(piece)
        yield piece


def _most_bytes(header: bytes) -> int:
    """Return the bytes that the pixels unpack to.

    Each line has one more for its filter; interlaced files have more lines.
    """
    width, height, bits, colours, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    rows = height * (1 + (width * bits * _CHANNELS.get(colours, 4) + 7) // 8)
    return 2 * rows + 64 if interlaced else rows


def _inflate(pixels: zlib._Decompress, data: bytes, most: int) -> int:
    """Unpack `data`, drop it, return its length; `most` is what may come."""
    length = 0
    try:
        while data and not pixels.eof:
            length += len(pixels.decompress(data, _PIECE))
            data = pixels.unconsumed_tail
            if length > most:
                raise ValueError("it holds more than its pixels")
    except zlib.error as error:
        raise ValueError(f"its pixels are damaged: {error}") from error
    return length
