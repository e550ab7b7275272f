"""A reader for the field's pickled `.npy` dicts, which runs none of their code.

They hold name or number → array or flat list of numbers, and nothing else.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from smaf.core.errors import InputError
from smaf.core.fields import shown
from smaf.core.files import require_file, write_bytes
from smaf.core.pickle_opcodes import PickledArray, PickleReader


def _numbers(key: str | int, value: Any) -> Any:
    """Return an array of numbers, a flat list of them, or a single one, as it is."""
    if isinstance(value, PickledArray):
        value = value.value
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf":
            return value
        raise ValueError(f"it has an array of {value.dtype} for {shown(key)}, expected numbers")
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (list, tuple)) and all(
        isinstance(number, (int, float)) for number in value
    ):
        return value
    raise ValueError(
        f"it has {shown(value)} for {shown(key)}, expected an array or a flat list of numbers"
    )


def read_pickled_dict(path: Path, what: str, fix: str) -> dict[str | int, Any]:
    """Read the dict that `numpy.save(path, some_dict)` pickled, without running code from the file.

    Its values are arrays of numbers, flat lists or tuples of numbers, or single numbers. Raises
    :class:`InputError` where the file is damaged, holds something else, would run code, or would
    take far more memory than it has bytes.
    """
    require_file(path, what, fix)
    stream = io.BytesIO(path.read_bytes())
    try:
        version = npy_format.read_magic(stream)
        read_header = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        _, _, dtype = read_header(stream)
        if not dtype.hasobject:
            raise ValueError(f"it holds a plain array of {dtype}")
        reader = PickleReader(stream.read())
        value = reader.read()
        if isinstance(value, dict):
            entries = {key: _numbers(key, part) for key, part in value.items()}
            total = sum(
                part.nbytes if isinstance(part, np.ndarray) else 8 * len(part)
                for part in entries.values()
                if not isinstance(part, (int, float))
            )
            if total > reader.room:
                raise ValueError("it holds more than a file of its size can")
            return {
                key: part.copy() if isinstance(part, np.ndarray) else part
                for key, part in entries.items()
            }
    except (
        Exception
    ) as error:  # a damaged pickle raises nearly anything; each is the same fault of the file
        raise InputError(f"{what} {path} cannot be read ({str(error)[:200]}): {fix}") from error
    raise InputError(f"{what} {path} holds a {type(value).__name__}, expected a dict: {fix}")


def write_pickled_dict(path: Path, value: dict[Any, np.ndarray]) -> None:
    """Write `value` as the field exchanges it: `numpy.save` of a pickled dict."""
    stream = io.BytesIO()
    np.save(
        stream, np.array(value, dtype=object), allow_pickle=True
    )  # written for exchange, never read so
    write_bytes(path, stream.getvalue())
