"""Loops over pixels, compiled by Numba."""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Callable
from typing import Any

import numba

log = logging.getLogger("smaf")


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


def tell_of_compiling(function: Callable[..., Any], what: str) -> None:
    """Log that `what` is compiled now, unless an earlier process kept `function`'s machine code."""
    folder = function.stats.cache_path  # type: ignore[attr-defined] # of Numba's dispatcher
    kept = os.listdir(folder) if folder and os.path.isdir(folder) else []
    if not fnmatch.filter(kept, f"*{function.__name__}-*.nbi"):
        log.info("compiling %s: half a minute, once", what)
