"""Which photographs a folder holds, which of them can be read, and which are there twice."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from smaf.core.errors import InputError, MissingInputError, printable
from smaf.core.files import check_id
from smaf.core.image_files import TooLargeError
from smaf.core.images import IMAGE_SUFFIXES, read_image
from smaf.core.parallel import map_parallel
from smaf.core.photo_folders import FOREIGN, photo_folders
from smaf.data.init.faults import Faults

# What Pillow and its libraries say of files that end too early
_TRUNCATED = re.compile(
    r"truncat|premature|unexpected end|end of (file|stream|data)|incomplete|broken data stream|"
    r"not enough",
    re.IGNORECASE,
)


def find_photographs(folder: Path, faults: Faults, *, without: Sequence[Path] = ()) -> list[str]:
    """Return the image files of a folder with all below it, sorted, as paths below it.

    They have forward slashes. Hidden files and the folders and files `without` are left out. Files
    whose names no list can hold, and photographs of unknown formats, are faults.

    Raises :class:`InputError` where the folder has no photograph.
    """
    if not folder.is_dir():
        raise MissingInputError(f"folder of photographs {printable(folder)} does not exist")
    outside = {os.path.realpath(path) for path in without}
    found = []
    for below, names in photo_folders(folder):
        real = os.path.realpath(below)
        if any(real == path or real.startswith(path + os.sep) for path in outside):
            continue
        start = os.path.relpath(below, folder).replace(os.sep, "/")
        for name in names:
            file = name if start == "." else f"{start}/{name}"
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith(".") or os.path.join(real, name) in outside:
                continue
            if suffix in FOREIGN:
                faults.add("unknown format", file)
            elif suffix in IMAGE_SUFFIXES and _has_plain_name(file, faults):
                found.append(file)
    if not found:
        raise InputError(
            f"folder {printable(folder)} has no photographs ({', '.join(IMAGE_SUFFIXES)}): name "
            "the folder that holds them, at any depth"
        )
    return sorted(found)


def _has_plain_name(file: str, faults: Faults) -> bool:
    """Whether tables can hold the path; what they cannot is a fault."""
    try:
        for part in file.split("/"):
            check_id(part, "file")
    except InputError as error:
        faults.add("file name", file, str(error).split(": ", 1)[1])
        return False
    if file != file.strip():
        faults.add("file name", file, "it begins with a space")
        return False
    return True


@dataclass(frozen=True)
class Checked:
    """A photograph: its (width, height), upright, and bytes; or the kind of fault and more."""

    size: tuple[int, int] = (0, 0)
    num_bytes: int = 0
    fault: str = ""
    about: str = ""


def check_photograph(path: Path) -> Checked:
    """Read a photograph to its end; a JPEG is unpacked at an eighth, which reads all its bytes."""
    sizes: list[tuple[int, int]] = []

    def note(size: tuple[int, int]) -> tuple[int, int]:
        sizes.append(size)
        return 1, 1

    try:
        read_image(path, needed=note)
        return Checked(sizes[0], os.path.getsize(path))
    except TooLargeError as error:
        return Checked(fault="huge", about=_reason(error, path))
    except (InputError, OSError) as error:
        about = _reason(error, path)
        return Checked(fault="truncated" if _TRUNCATED.search(about) else "unreadable", about=about)


def _reason(error: Exception, path: Path) -> str:
    """What an error of reading says, without the file and the fix."""
    text = str(error).split(str(path))[-1].strip()
    return text.rsplit(": ", 1)[0] if ": " in text else text


def check_photographs(
    folder: Path, files: Sequence[str], faults: Faults, *, min_side: int, num_workers: int
) -> dict[str, Checked]:
    """Return file → what it is, of those that can be read.

    The others, and those with a side below `min_side`, which are kept, are faults.
    """
    checked = map_parallel(
        check_photograph,
        [folder / file for file in files],
        num_workers=num_workers,
        what="photographs",
    )
    good = {}
    for file, found in zip(files, checked, strict=True):
        if found.fault:
            faults.add(found.fault, file, found.about)
            continue
        good[file] = found
        if min(found.size) < min_side:
            faults.add("tiny", file, "{}×{} pixels".format(*found.size))
    return good


def _digest(folder: Path, file: str) -> str:
    digest = hashlib.sha256()
    with (folder / file).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def without_duplicates(
    folder: Path,
    checked: Mapping[str, Checked],
    labels: Mapping[str, frozenset[str]],
    faults: Faults,
    *,
    num_workers: int,
) -> dict[str, Checked]:
    """Return the photographs without those that are, byte for byte, an earlier one.

    Where their labels differ all are left out, since nobody knows which are right. Only files of
    one length are compared, by their checksums.
    """
    lengths: dict[int, list[str]] = {}
    for file, found in checked.items():
        lengths.setdefault(found.num_bytes, []).append(file)
    alike = sorted(file for files in lengths.values() if len(files) > 1 for file in files)
    digests = map_parallel(
        partial(_digest, folder),
        alike,
        num_workers=num_workers,
        what="looking for duplicates",
        quiet=len(alike) < 1000,
    )
    same: dict[str, list[str]] = {}
    for file, digest in zip(alike, digests, strict=True):
        same.setdefault(digest, []).append(file)
    dropped: set[str] = set()
    for first, *others in same.values():
        differ = any(labels[other] != labels[first] for other in others)
        for other in others:
            kind = "duplicate with other labels" if differ else "duplicate"
            faults.add(kind, other, f"the same as {first}")
        dropped.update([first, *others] if differ and others else others)
    return {file: found for file, found in checked.items() if file not in dropped}
