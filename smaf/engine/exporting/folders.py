"""The folder of an export: made whole or not at all, never over what somebody corrected in it.

Annotation tools may work in the folder itself, as labelme does. So an export keeps the checksums of
what it wrote: another one takes its place only while nothing has changed since, or since the
changes were imported.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from smaf.core.checksums import contents
from smaf.core.errors import InputError, printable
from smaf.core.files import output_folder, read_json, write_json
from smaf.core.parallel import map_threads
from smaf.data.formats.place import Place

MARK = ".smaf_export.json"  # says that a folder is an export, which another one may replace
_UP = 2  # folders that a file lies below its export at most
_ALONE = (".json", ".xml", ".zip")  # files that are read without others beside them


def write_mark(folder: Path, facts: Mapping[str, Any]) -> None:
    """Note what an export is of, and the checksums of all that lies in its folder."""
    write_json(folder / MARK, {**facts, "files": _files(folder)})


def _files(folder: Path) -> dict[str, str | None]:
    """File below the folder → its checksum; hidden files are no part of an export."""
    names = [name for name in Place(folder).names if not _is_hidden(name)]
    found = map_threads(contents, [folder / name for name in names])
    return dict(zip(names, found, strict=True))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _recorded(folder: Path) -> dict[str, Any]:
    value = read_json(folder / MARK, "record of an export", "name a new folder")
    return value if isinstance(value, dict) else {}


def _changed(folder: Path) -> list[str]:
    """What was changed, added or removed since the export was written, or imported."""
    known, now = _recorded(folder).get("files"), _files(folder)
    if not isinstance(known, dict):  # before version 0.9: all that is newer than the record
        written = (folder / MARK).stat().st_mtime
        return [name for name in now if (folder / name).stat().st_mtime > written]
    return [name for name in {**known, **now} if known.get(name) != now.get(name)]


def _check_unchanged(folder: Path, shown: str) -> None:
    """Raise :class:`InputError` where an export has corrections that nobody imported."""
    changed = _changed(folder)
    if not changed:
        return
    there = [name for name in changed if (folder / name).is_file()]
    newest = max(there or changed, key=lambda name: _time(folder / name))
    more = f" and {len(changed) - 1:,} more" if len(changed) > 1 else ""
    how = "was changed" if there else "was removed"
    raise InputError(
        f"--out {shown}: {printable(newest)}{more} {how} since the export was written: "
        "`smaf import` it first, or name another folder"
    )


def _time(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else 0.0


@contextmanager
def new_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give an empty folder beside `out`, which becomes `out` after the block.

    Raises :class:`InputError` where `out` holds anything else than an export that `overwrite`
    allows to replace, and where somebody has changed that one.
    """
    shown, out = printable(out), Path(os.path.realpath(out))
    here = Path.cwd().resolve()
    if out in (here, *here.parents):
        raise InputError(f"--out {shown} is the folder that this runs in: name a new one")
    if out.exists() and not (out.is_dir() and not os.listdir(out)):
        if not (out / MARK).is_file():
            raise InputError(f"--out {shown} holds other files than an export: name a new folder")
        if not overwrite:
            raise InputError(
                f"--out {shown} holds an export: name a new folder, or replace it with --overwrite"
            )
        _check_unchanged(out, shown)
    output_folder(out.parent)
    temporary = out.with_name(f".smaf-{uuid.uuid4().hex[:8]}.part")
    temporary.mkdir()
    try:
        yield temporary
        if out.exists():
            if (out / MARK).is_file():
                _check_unchanged(out, shown)  # while the new one was made
            shutil.rmtree(out)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _below(export: Path, below: str) -> dict[str, str | None]:
    """The files of an export in a folder `below` it, also those that are gone, and checksums."""
    known = _recorded(export).get("files")
    gone = dict.fromkeys(known if isinstance(known, dict) else {})
    found, start = {**gone, **_files(export)}, "" if below == "." else f"{below}/"
    return {name: value for name, value in found.items() if name.startswith(start)}


class Importing:
    """Notes in an export that its changes have been imported, so that it may be replaced.

    What counts is what the files were before they were read. A source that is no part of an export
    is left as it is.
    """

    def __init__(self, source: Path) -> None:
        alone = source.is_file() and source.suffix.lower() in _ALONE
        top = source if source.is_dir() else source.parent
        top = Path(os.path.realpath(top))
        above = [top, *list(top.parents)[:_UP]]
        self._export = next((folder for folder in above if (folder / MARK).is_file()), None)
        self._facts: dict[str, Any] = {}
        self._files: dict[str, str | None] = {}
        if self._export is None:
            return
        with suppress(InputError):  # a damaged record, which keeps its export from being replaced
            self._facts = _recorded(self._export)
            below = top.relative_to(self._export)
            if alone:
                self._files = {(below / source.name).as_posix(): contents(source)}
            else:
                self._files = _below(self._export, below.as_posix())

    def done(self) -> None:
        """Note it."""
        if self._export is None or not self._facts:
            return
        known = self._facts.get("files")
        files = {**(known if isinstance(known, dict) else {}), **self._files}
        there = {name: value for name, value in files.items() if value is not None}
        with suppress(OSError):  # a folder that cannot be written to: its export stays refused
            write_json(self._export / MARK, {**self._facts, "files": there})
