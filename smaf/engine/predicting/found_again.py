"""Where the photographs of a record of predictions lie, from any working folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smaf.core.checksums import contents, is_contents
from smaf.core.errors import printable


def places_of(photograph: Path, folder: Path) -> dict[str, str]:
    """What a record in `folder` says of where a photograph lies.

    `absolute` finds it where the folder alone has moved, `relative` (to the folder) where both have
    moved together.
    """
    path = os.path.join(os.path.realpath(photograph.parent), photograph.name)
    try:
        near = os.path.relpath(path, os.path.realpath(folder)).replace(os.sep, "/")
    except ValueError:  # another drive of Windows
        near = path
    return {"absolute": path, "relative": near}


def photograph_of(entry: Mapping[str, Any], folder: Path) -> Path | None:
    """The photograph of an entry of the record in `folder`; None where it is gone.

    It is where it was, else at another of the places of :func:`places_of`. Records before version
    0.9 have the path alone as it was named: it is looked for from the working folder, from the
    record's and from those above it. What lies at such another place is the photograph where its
    contents are those that were predicted.
    """
    where = next((p for p in map(entry.get, ("absolute", "photograph")) if _is_absolute(p)), None)
    if where is not None and os.path.isfile(where):
        return Path(where)
    expected = entry.get("contents")
    for path in _others(entry, folder):
        if path.is_file() and (not is_contents(expected) or contents(path) == expected):
            return path
    return None


def _is_absolute(value: object) -> bool:
    return isinstance(value, str) and os.path.isabs(value)


def _others(entry: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    own = Path(os.path.realpath(folder))
    if isinstance(entry.get("relative"), str):
        yield own / entry["relative"]
    elif not _is_absolute(entry["photograph"]):
        name = str(entry["photograph"])
        yield from (Path(name), *(above / name for above in (own, *own.parents)))


@dataclass(frozen=True)
class Gone:
    """Photographs of a record that are not where it says; made by :func:`gone_of`."""

    names: Sequence[str]
    of: int

    def __str__(self) -> str:
        """How many, the first one, and what to do."""
        one = len(self.names) == 1
        they, them = ("it", "it") if one else ("they", "them")
        be, were = ("is", "was") if one else ("are", "were")
        return (
            f"{len(self.names):,} of {self.of:,} photographs {be} not where {they} {were} "
            f"predicted, {printable(self.names[0])} first: put {them} back, or predict {them} "
            f"where {they} {be} now"
        )


def gone_of(entries: Sequence[Mapping[str, Any]], folder: Path) -> Gone:
    """Those of the entries of the record in `folder` whose photographs are gone."""
    gone = [str(entry["photograph"]) for entry in entries if photograph_of(entry, folder) is None]
    return Gone(gone, len(entries))
