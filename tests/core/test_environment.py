"""What is set before PyTorch is loaded, and what the user's settings do to it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "THP_MEM_ALLOC_ENABLE")


def after_import(first: str = "", **settings: str) -> list[str | None]:
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    code = f"import os{first}, smaf; print([os.environ.get(name) for name in {NAMES}])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **settings},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    values: list[str | None] = eval(done.stdout)
    return values


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["5000", None, "1"]),
        ({"GOMP_SPINCOUNT": "7"}, ["7", None, "1"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, [None, "ACTIVE", "1"]),
        ({"THP_MEM_ALLOC_ENABLE": "0"}, ["5000", None, "0"]),
    ],
)
def test_the_users_settings_stay(settings: dict[str, str], expected: list[str | None]) -> None:
    assert after_import(**settings) == expected


def test_commands_keep_freed_memory_instead_of_huge_pages() -> None:
    """Where the C library is glibc; somebody's program that imports the package does not."""
    code = f"import os, smaf; print([os.environ.get(name) for name in {NAMES}])"
    clean = {n: v for n, v in os.environ.items() if n not in NAMES and not n.startswith("MALLOC_")}
    values = []
    for name in ("smaf", "other"):
        program = f"import sys; sys.argv = ['/bin/{name}']; {code}"
        done = subprocess.run(
            [sys.executable, "-c", program], env=clean, capture_output=True, text=True, check=True
        )
        values.append(eval(done.stdout)[2])
    assert values == [
        None if sys.platform == "linux" and platform.libc_ver()[0] == "glibc" else "1",
        "1",
    ]


def test_nothing_is_set_once_pytorch_is_loaded() -> None:
    assert after_import(", torch") == [None, None, None]
