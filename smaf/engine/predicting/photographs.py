"""This module finds the photographs that `smaf predict` is given, and where their masks go.

They are named by files, folders and globs.
"""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from smaf.core.errors import InputError, MissingInputError, printable
from smaf.core.images import IMAGE_SUFFIXES
from smaf.core.photo_folders import FOREIGN, photo_folders
from smaf.engine.predicting.result_files import Photograph, is_result, place_of

log = logging.getLogger("smaf")
_SUFFIXES = frozenset(suffix.lower() for suffix in IMAGE_SUFFIXES)


def find_photographs(arguments: Sequence[str]) -> list[Photograph]:
    """Return the photographs that the arguments name, each path once, in order.

    An argument is a file, a folder with all below it, or a glob. Masks mirror the folders below a
    named folder, or below a glob's part before its first wildcard. Hidden files and folders are
    left out where they are not named themselves, and so are earlier masks and overlays. Two links
    to one photograph count as two photographs; links that lead nowhere are kept, so that their
    error is told.

    Raises :class:`InputError` where an argument names none, or where two photographs would get the
    same mask file.
    """
    found: dict[tuple[object, ...], Photograph] = {}
    results = 0
    for argument in arguments:
        named = list(_named(argument))
        photographs = [photograph for photograph in named if not is_result(photograph.path)]
        results += len(named) - len(photographs)
        if not photographs:
            only = " but masks and overlays of earlier predictions" if named else ""
            raise MissingInputError(
                f"{printable(argument)} names no photograph{only}: expected an image file, a "
                f"folder of them ({', '.join(sorted(_SUFFIXES))}) or a glob"
            )
        for photograph in photographs:
            status = os.lstat(photograph.path)  # `link/../a.jpg` may be another file than `a.jpg`
            found.setdefault(
                (os.path.abspath(photograph.path), status.st_dev, status.st_ino), photograph
            )
    if results:
        log.info("left out %d masks and overlays of earlier predictions", results)
    return _one_a_place(list(found.values()))


def _one_a_place(photographs: Sequence[Photograph]) -> list[Photograph]:
    places: dict[PurePath, Photograph] = {}
    for photograph in photographs:
        other = places.setdefault(photograph.place, photograph)
        one, two = other.path, photograph.path
        if other is photograph or (
            one.exists() and two.exists() and one.samefile(two)
        ):  # the same mask
            continue
        above = Path(os.path.commonpath([os.path.abspath(one.parent), os.path.abspath(two.parent)]))
        mirror = (
            f"name {printable(above)}, whose folders the masks mirror, "
            if one.parent != two.parent
            else ""
        )
        raise InputError(
            f"{printable(one)} and {printable(two)} would both be written to "
            f"{printable(photograph.place)}.png: {mirror}rename one, or predict them into two "
            "folders"
        )
    return list(places.values())


def _named(argument: str) -> Iterator[Photograph]:
    path = Path(argument)
    if os.path.isdir(path):
        yield from _below(path, path)
    elif os.path.isfile(path) or os.path.islink(path):
        yield Photograph(path, place_of(PurePath(path.name)))
    elif glob.has_magic(argument):
        parts = path.parts
        fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        top = Path(*parts[:fixed])
        for match in _expand(top, parts[fixed:]):
            if os.path.isdir(match):
                yield from _below(match, top)
            elif os.path.isfile(match) or os.path.islink(match):
                yield Photograph(match, place_of(match.relative_to(top)))


def _below(folder: Path, top: Path) -> Iterator[Photograph]:
    """Yield the photographs of `folder` and of all folders below it.

    The places of their masks are relative to `top`.
    """
    foreign = []
    for below, names in photo_folders(folder):
        for name in sorted(names):
            path, suffix = below / name, os.path.splitext(name)[1].lower()
            if name.startswith(".") or not (os.path.isfile(path) or os.path.islink(path)):
                continue
            if suffix in _SUFFIXES:
                yield Photograph(path, place_of(path.relative_to(top)))
            elif suffix in FOREIGN:
                foreign.append(path)
    if foreign:
        log.warning(
            "warning: %d files of %s were left out, %s first: expected %s; convert them",
            len(foreign),
            printable(folder),
            printable(foreign[0]),
            ", ".join(sorted(_SUFFIXES)),
        )


def _expand(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield the paths that the `parts` of a glob name in `folder`.

    Unlike Python's `**`, the `**` of this function does not follow links in circles.
    """
    if not parts:
        yield folder
    elif parts[0] == "**":
        for below, _ in photo_folders(folder):
            yield from _expand(below, parts[1:] or ("*",))
    else:
        for name in sorted(glob.glob(parts[0], root_dir=folder)):
            yield from _expand(folder / name, parts[1:])
