"""Lists of ids, as data sets and other projects write them."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from smaf.core.errors import InputError
from smaf.core.files import check_id, read_lines
from smaf.core.images import IMAGE_SUFFIXES

log = logging.getLogger("smaf")

_SUFFIX = f"(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})"
_FILES = re.compile(rf"(.+?{_SUFFIX})(?:[\s,;]+(.+?{_SUFFIX}))?", re.IGNORECASE)
_PRESENCE = re.compile(r"(.*\S)\s+(-1|0|1)")  # VOC's ImageSets/Main: absent, difficult, present
_FIX = "write each id once, one a line"


def read_ids(path: Path) -> list[str]:
    """Read the ids of a list in its order.

    A line is one of

    - an id, or the name of its photograph: `2007_000032`, `2007_000032.jpg`,
      `/JPEGImages/2007_000032.jpg`;
    - a photograph and its mask: `/JPEGImages/2007_000032.jpg /SegmentationClass/2007_000032.png`.
      Folders are of no account: both are looked for in the data set's own;
    - in a list where every line is so, an id and -1, 0 or 1, as VOC's `ImageSets/Main` has it:
      those with -1, which do not show the class, are left out;
    - a comment, which begins with `# `.

    Raises :class:`InputError` for an empty list, a doubled id, a path that leaves the folder, and
    other lines.
    """
    lines = read_lines(
        path, "list", "name another with --list, or run `smaf prepare` to make train_aug"
    )
    lines = [line for line in lines if not re.match(r"#(\s|#|$)", line)]
    if lines and lines[0][0] in "[{":
        raise InputError(f"list {path} begins with {lines[0][0]}, as JSON does: {_FIX}")
    lines = _present(lines, path)
    ids = [_id_of(line, path) for line in lines]
    if not ids:
        raise InputError(f"list {path} is empty: {_FIX}")
    _check_ids_differ(ids, lines, path)
    return ids


def _present(lines: Sequence[str], path: Path) -> list[str]:
    """Return the lines of a list without the second column that VOC's Main lists have.

    Where all lines have that column, images that do not show the class are left out.
    """
    rows = [_PRESENCE.fullmatch(line) for line in lines]
    if not all(rows):
        return list(lines)
    kept = [row[1] for row in rows if row and row[2] != "-1"]
    if len(kept) < len(rows):
        log.info(
            "list %s: %d of %d ids are left out, marked -1 (the class is absent)",
            path,
            len(rows) - len(kept),
            len(rows),
        )
    return kept


def _id_of(line: str, path: Path) -> str:
    files = _FILES.fullmatch(line)
    if files is None:
        if re.search(rf"{_SUFFIX}[\s,;]", line, flags=re.IGNORECASE):
            raise InputError(
                f"list {path} has the line {line!r}, expected an id, or a photograph and its mask: "
                f"{_FIX}"
            )
        return check_id(line, path)
    stems = [_stem(name, path) for name in files.groups() if name]
    if len(set(stems)) > 1:
        raise InputError(
            f"list {path} has the line {line!r}, of two ids: a photograph and its mask have one "
            "name, up to the suffix"
        )
    return stems[0]


def _stem(name: str, path: Path) -> str:
    """Return the id in a file name, whose folders may be any but `..`."""
    *folders, file = re.split(r"[/\\]", name)
    if ".." in folders:
        check_id(name, path)  # refuses it
    return check_id(re.sub(rf"{_SUFFIX}$", "", file, flags=re.IGNORECASE), path)


def _check_ids_differ(ids: Sequence[str], lines: Sequence[str], path: Path) -> None:
    """Raise :class:`InputError` for ids that come twice.

    The error shows the lines where they are spelled differently.
    """
    if len(set(ids)) == len(ids):
        return
    first: dict[str, str] = {}
    doubled: dict[str, tuple[str, str]] = {}
    for image_id, line in zip(ids, lines, strict=True):
        if image_id in first:
            doubled.setdefault(image_id, (first[image_id], line))
        first.setdefault(image_id, line)
    shown = [
        image_id if a == b else f"{image_id} ({a!r} and {b!r})"
        for image_id, (a, b) in sorted(doubled.items())
    ]
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    raise InputError(f"list {path} has {', '.join(shown[:3])}{more} twice: {_FIX}")
