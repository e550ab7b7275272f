"""The C library's allocator, set for tensors: what is freed stays for the next step."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's <malloc.h>
_LARGEST, _LARGEST_BEFORE = 1 << 30, 1 << 25  # of glibc from 2.35 on, and before


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed instead of giving it back; whether it does so.

    Training asks for the same hundreds of megabytes at each step. By default each large tensor is
    memory that the system hands out page by page, cleared, and takes back when it is freed: a
    quarter of a step's CPU time, with huge pages a tenth. What a process has at its peak it then
    keeps. Other C libraries, and whoever sets glibc's variables (`MALLOC_…`, `GLIBC_TUNABLES`), are
    left alone.
    """
    chosen = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if chosen or not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version")):
        return False
    found = any(library.mallopt(_MMAP_THRESHOLD, size) for size in (_LARGEST, _LARGEST_BEFORE))
    return found and bool(library.mallopt(_TRIM_THRESHOLD, 2**31 - 1))
