"""What glibc does with freed memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

_PROGRAM = """
import json, os, resource
import numpy as np
from smaf.core.allocator import keep_freed_memory
kept = keep_freed_memory() if {keep} else None
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(12_000_000, dtype=np.uint8).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first = faults(1)
print(json.dumps([kept, first, faults(30)]))
"""


def faults(keep: bool, **variables: str) -> tuple[bool | None, int, int]:
    """What the function says, the page faults of the first array, and of thirty after it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_T"))}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(keep=keep)],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, **variables},
    )
    kept, first, later = json.loads(done.stdout)
    return kept, first, later


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_freed_memory_is_used_again() -> None:
    kept, first, later = faults(keep=True)
    if not kept:
        pytest.skip("another C library")
    assert later <= max(200, first)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_whoever_sets_the_variables_is_left_alone() -> None:
    assert faults(keep=True, MALLOC_ARENA_MAX="2")[0] is False
