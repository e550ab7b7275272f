"""Checksums of files, by which contents are known again."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHECKSUM = "sha256:"


def contents(path: Path) -> str | None:
    """SHA-256 of a file; None where it cannot be read: its reader says what is wrong."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return _CHECKSUM + digest.hexdigest()


def is_contents(value: object) -> bool:
    """Whether a value is what :func:`contents` gives."""
    return str(value).startswith(_CHECKSUM)
