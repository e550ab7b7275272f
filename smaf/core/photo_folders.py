"""Folders of photographs with all below them, whoever made them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from smaf.core.errors import InputError, printable

# Photographs that cannot be read: said, not passed over
FOREIGN = (
    ".heic",
    ".heif",
    ".avif",
    ".gif",
    ".jfif",
    ".jpe",
    ".jp2",
    ".jxl",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
)
_SYSTEM = ("__MACOSX", "@eaDir")  # folders of a Mac's archives and a Synology's thumbnails


def photo_folders(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield `top` and the folders below it, each with the names of its files.

    Hidden folders and links back to a folder above are left out.
    """
    above: dict[str, tuple[tuple[int, int], ...]] = {str(top): ()}
    for folder, folders, files in os.walk(top, followlinks=True, onerror=_unreadable):
        chain = (*above.pop(folder), _identity(folder))
        names = [
            name
            for name in sorted(folders)
            if not name.startswith(".")
            and name not in _SYSTEM
            and _identity(os.path.join(folder, name)) not in chain
        ]
        above.update((os.path.join(folder, name), chain) for name in names)
        folders[:] = names
        yield Path(folder), files


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _unreadable(error: OSError) -> None:
    raise InputError(
        f"folder {printable(str(error.filename))} cannot be read ({error.strerror}): mend its "
        "permissions, or name the folders beside it"
    )
