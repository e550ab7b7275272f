"""What a PNG file says of itself: samples' depth, whether it is whole, a plain one's numbers."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PIECE = 1 << 20
_HEADER = 33  # bytes of the signature and the first chunk
_PLAIN_START = SIGNATURE + b"\0\0\0\rIHDR"


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


class PlainPng(NamedTuple):
    """The numbers of a plain PNG, (H, W) uint8, and its palette's colours (n, 3) uint8."""

    values: np.ndarray
    palette: np.ndarray


def read_plain_png(path: Path, *, most: int) -> PlainPng | None:
    """Read a PNG as masks mostly are: 8 bits a pixel, palette or grey, lines without filters.

    It unpacks the pixels once, where :func:`check_png` and Pillow do so one after the other, and
    compares the same checksums. None for all else: files that are damaged or missing, of more than
    `most` pixels, interlaced or filtered, and those that hold more than header, palette and pixels.

    Example:
        >>> read_plain_png(Path("none.png"), most=1) is None
        True
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
            if not header.startswith(_PLAIN_START):
                return None
            width, height, *kind = struct.unpack(">IIBBBBB", header[16:29])
            if kind not in ([8, 0, 0, 0, 0], [8, 3, 0, 0, 0]) or not 0 < width * height <= most:
                return None
            chunks = list(_checked_chunks(header + file.read()))
    except (OSError, ValueError, struct.error):
        return None
    names = [name for name, _ in chunks]
    before = 1 + (kind[1] == 3)
    pixels = [data for _, data in chunks[before:-1]]
    if names != [b"IHDR", b"PLTE"][:before] + [b"IDAT"] * len(pixels) + [b"IEND"]:
        return None
    lines = _plain_lines(pixels[0] if len(pixels) == 1 else b"".join(pixels), height, width + 1)
    if lines is None:
        return None
    colours = np.frombuffer(chunks[1][1] if before == 2 else b"", dtype=np.uint8)
    if len(colours) % 3 or len(colours) > 768:
        return None
    return PlainPng(np.array(lines[:, 1:]), colours.reshape(-1, 3))


def _checked_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and contents of each chunk; ValueError where a checksum does not fit."""
    view, place, kind = memoryview(data), len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        if struct.unpack_from(">I", data, end)[0] != zlib.crc32(view[place + 4 : end]):
            raise ValueError("the checksum is wrong")
        yield kind, view[place + 8 : end]
        place = end + 4


def _plain_lines(pixels: bytes | memoryview, height: int, length: int) -> np.ndarray | None:
    """Unpack lines (height, length) uint8 whose first byte says that they are not filtered."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(pixels, height * length + 1)
    except zlib.error:
        return None
    if len(data) != height * length or not stream.eof or stream.unused_data:
        return None
    lines = np.frombuffer(data, dtype=np.uint8).reshape(height, length)
    return None if lines[:, 0].any() else lines


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
