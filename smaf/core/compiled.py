"""Loops over pixels, compiled by Numba."""

from __future__ import annotations

import fnmatch
import logging
import os
import sys
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
    stats = getattr(function, "stats", None)  # none where NUMBA_DISABLE_JIT is set
    if stats is None:
        return
    kept = os.listdir(stats.cache_path) if os.path.isdir(stats.cache_path or "") else []
    line, (major, minor) = function.__code__.co_firstlineno, sys.version_info[:2]
    if not fnmatch.filter(kept, f"*{function.__name__}-{line}.py{major}{minor}*.nbi"):
        log.info("compiling %s: up to half a minute, once", what)
