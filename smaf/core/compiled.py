"""Loops over pixels, compiled by Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled by Numba at its first call, free of Python's lock.

    Floating point keeps IEEE's rules, so that values are those of the same sums in NumPy. The
    machine code is kept beside this package or in the user's cache folder; where neither can be
    written to, every process compiles anew.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place for a cache
        return numba.njit(**options)(function)
