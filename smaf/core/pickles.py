"""A reader for the field's pickled `.npy` dicts that admits arrays, dicts, strings and numbers, no code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from smaf.core.errors import InputError
from smaf.core.files import require_file, write_bytes

# What NumPy's own pickles name, under the module paths of NumPy 1 and 2. None of these runs a user's code.
_ALLOWED = {(f"numpy.{core}.{module}", name)
            for core in ("core", "_core")
            for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"),
                                 ("numeric", "_frombuffer"))}
_ALLOWED |= {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("collections", "OrderedDict")}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED and not (module == "numpy.dtypes" and name.endswith("DType")):
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not an array, dict, text or number")
        return super().find_class(module, name)


def read_pickled_dict(path: Path, what: str, fix: str) -> dict[Any, Any]:
    """Read the dict that `numpy.save(path, some_dict)` pickled, without running code from the file.

    Raises :class:`InputError` where the file is damaged, holds something else, or would run code.
    """
    require_file(path, what, fix)
    stream = io.BytesIO(path.read_bytes())
    try:
        version = npy_format.read_magic(stream)
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        _, _, dtype = read_header(stream)
        if not dtype.hasobject:
            raise ValueError(f"it holds a plain array of {dtype}")
        # Python 2 pickles of NumPy arrays need latin1
        value = _ArrayUnpickler(stream, encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises nearly anything; each is the same fault of the file
        raise InputError(f"{what} {path} cannot be read ({error}): {fix}") from error
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value.item()
    if not isinstance(value, dict):
        raise InputError(f"{what} {path} holds a {type(value).__name__}, expected a dict: {fix}")
    return value


def write_pickled_dict(path: Path, value: dict[Any, np.ndarray]) -> None:
    """Write `value` as the field exchanges it: `numpy.save` of a pickled dict."""
    stream = io.BytesIO()
    np.save(stream, np.array(value, dtype=object), allow_pickle=True)  # written for exchange, never read so
    write_bytes(path, stream.getvalue())
