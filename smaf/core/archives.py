"""ZIP archives from elsewhere, whose directory is judged before anything is unpacked.

The arrays of `.npz` files are asked for their shapes first.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from smaf.core.errors import InputError

_HEADER = 4096  # bytes that an array's header takes at most: NumPy's takes 128
_RATIO = 1032  # times that deflate shrinks at most
_METHODS = {zipfile.ZIP_DEFLATED: "deflate", zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "LZMA"}


def check_members(archive: zipfile.ZipFile, *, compressed: bool) -> list[zipfile.ZipInfo]:
    """Return the members of an archive, none of which is harmful.

    Raises ValueError where a name comes twice or leaves the archive, and where a member is
    encrypted, packed by another method than deflate (or at all, unless `compressed`), or claims
    more than can be in it.
    """
    members = archive.infolist()
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if name in seen:
            raise ValueError(f"it holds {name[:60]!r} twice")
        seen.add(name)
        if (
            name.startswith(("/", "\\"))
            or ".." in name.replace("\\", "/").split("/")
            or ":" in name
        ):
            raise ValueError(f"it holds {name[:60]!r}, a path out of the archive")
        if member.flag_bits & 1:
            raise ValueError(f"{name[:60]!r} in it is encrypted")
        if member.compress_type not in (
            {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} if compressed else {zipfile.ZIP_STORED}
        ):
            method = _METHODS.get(member.compress_type, f"method {member.compress_type}")
            raise ValueError(f"{name[:60]!r} in it is packed by {method}")
        packed = member.compress_type == zipfile.ZIP_DEFLATED
        if member.file_size > (member.compress_size * _RATIO if packed else member.compress_size):
            raise ValueError(
                f"{name[:60]!r} in it claims {member.file_size} bytes, which cannot be in it"
            )
    return members


@dataclass(frozen=True)
class StoredArray:
    """An array in an archive, of which only the header was read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    columns_first: bool
    start: int  # bytes of the header
    archive: zipfile.ZipFile
    name: str
    whole: bytes | None  # header and values, of an array that is as small as a header may be

    def read(self) -> np.ndarray:
        """Unpack the array; its checksum is verified."""
        data = self.archive.read(self.name) if self.whole is None else self.whole
        return np.frombuffer(data, dtype=self.dtype, offset=self.start).reshape(
            self.shape, order="F" if self.columns_first else "C"
        )


def _stored(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> StoredArray:
    with archive.open(member) as file:
        data = file.read(_HEADER)
    length = int.from_bytes(data[8:10], "little")
    shape, columns_first, dtype, start = _header(
        data[: 10 + length] if data[6:7] == b"\1" else data
    )
    if dtype.hasobject:
        raise ValueError(f"{member.filename} in it holds objects")
    if start + math.prod(shape) * dtype.itemsize != member.file_size or min(shape, default=0) < 0:
        raise ValueError(
            f"{member.filename} in it claims {shape} {dtype} in {member.file_size} bytes"
        )
    whole = data if member.file_size <= _HEADER else None
    return StoredArray(shape, dtype, columns_first, start, archive, member.filename, whole)


@lru_cache(maxsize=256)  # NumPy parses it as Python: the same few headers in all files of a folder
def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether columns come first, type, and the header's length of what begins a `.npy`."""
    stream = io.BytesIO(data)
    version = npy_format.read_magic(stream)
    read = (
        npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    )
    shape, columns_first, dtype = read(stream)
    return tuple(shape), columns_first, dtype, stream.tell()


@contextmanager
def open_arrays(
    path: Path, names: Iterable[str], what: str, fix: str
) -> Iterator[dict[str, StoredArray]]:
    """Open an `.npz` that holds just the arrays `names`.

    The block compares their shapes, then reads them.

    Raises :class:`InputError`, also for what goes wrong in the block: the file is damaged, holds
    other arrays, objects, or claims more than is in it.
    """
    expected = [f"{name}.npy" for name in names]
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                member.filename: member for member in check_members(archive, compressed=True)
            }
            missing = [name for name in expected if name not in members]
            extra = [name for name in members if name not in expected]
            if missing or extra:
                raise ValueError(
                    f"it has no {missing[0].removesuffix('.npy')}"
                    if missing
                    else f"it also holds {extra[0][:60]!r}"
                )
            yield {name.removesuffix(".npy"): _stored(archive, members[name]) for name in expected}
    except InputError:
        raise
    except (
        Exception
    ) as error:  # a damaged archive raises nearly anything; each is the same fault of the file
        raise InputError(f"{what} {path} cannot be read ({str(error)[:200]}): {fix}") from error
