"""A data set whose photographs lie elsewhere: `dataset.json` names their folder, `files.csv` each.

```
dataset.json   {"photographs": "../holiday", "masks": null}
files.csv      image,photograph
               a__b_c,a/b c.JPG
```
Folders are absolute, or relative to the data set. Files are relative to their folder, with forward
slashes on every system; `files.csv` may have a column `mask`, too. Written by `smaf init`.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import check_id, read_json, write_json, write_text
from smaf.core.names import name_key
from smaf.core.parallel import map_threads
from smaf.core.tables import Row, read_table

POINTERS, FILES = "dataset.json", "files.csv"
# A relative path to the photographs' folder goes up so many folders at most: the data set and the
# photographs are then likely to be moved, or mounted elsewhere, together
MOST_UP = 2
_FIX = "mend it, or run `smaf init` again"


@dataclass(frozen=True)
class Pointers:
    """Which photograph, and which mask where there is one, belongs to an id.

    `photographs` and `masks` are id → file below their folder, with forward slashes.
    """

    root: Path
    photo_folder: str
    mask_folder: str | None
    photographs: Mapping[str, str]
    masks: Mapping[str, str]

    @cached_property
    def photographs_below(self) -> Path:
        """The folder of the photographs; :class:`MissingInputError` where it is gone."""
        return self._found("photographs", self.photo_folder)

    @cached_property
    def masks_below(self) -> Path:
        """The folder of the masks, where there are some; :class:`MissingInputError` where not."""
        return self._found("masks", self.mask_folder or "")

    def _found(self, key: str, name: str) -> Path:
        """The folder; :class:`MissingInputError` where it is not there (any more)."""
        folder = _resolved(self.root, name)
        if not folder.is_dir():
            raise MissingInputError(
                f"{self.root / POINTERS}: the folder of {key}, {folder}, does not exist: write "
                f'where it is now after "{key}" in that file, or run `smaf init` again'
            )
        return folder

    def path(self, what: str, image_id: str) -> Path | None:
        """Where the file lies, or None where `files.csv` does not have one.

        `what` is "photograph" or "mask". Raises :class:`MissingInputError` where the folder of such
        files is gone.
        """
        if what == "photograph" and image_id in self.photographs:
            return self.photographs_below / self.photographs[image_id]
        if what == "mask" and image_id in self.masks:
            return self.masks_below / self.masks[image_id]
        return None

    def there(self, what: str, image_ids: Iterable[str]) -> dict[str, bool]:
        """Id → whether its file exists, of ids that have an entry; `what` as in :meth:`path`."""
        files = {"photograph": self.photographs, "mask": self.masks}.get(what, {})
        named = [image_id for image_id in image_ids if image_id in files]
        if not named:
            return {}
        folder = str(self.photographs_below if what == "photograph" else self.masks_below)
        paths = [f"{folder}/{files[image_id]}" for image_id in named]
        return dict(zip(named, map_threads(os.path.isfile, paths, chunk=512), strict=True))


def _resolved(root: Path, name: str) -> Path:
    """The folder that `dataset.json` means; a path that goes up is tried in the text first.

    Where the data set is opened through a link, `..` of its real place is tried, too.
    """
    tried = [
        Path(os.path.normpath(Path(start) / name))
        for start in (os.path.abspath(root), root.resolve())
    ]
    return next((path for path in tried if path.is_dir()), tried[0])


def read_pointers(root: Path) -> Pointers | None:
    """Read `dataset.json` and `files.csv` of a data set; None where it has no `dataset.json`.

    Raises :class:`InputError` where they are damaged, or an entry would leave its folder.
    """
    path = root / POINTERS
    if not path.exists():
        return None
    value = read_json(path, "data-set file", _FIX)
    folders = [
        value.get(key) if isinstance(value, dict) else None for key in ("photographs", "masks")
    ]
    if not isinstance(folders[0], str) or not folders[0] or not isinstance(folders[1], str | None):
        raise InputError(
            f'data-set file {path} must have "photographs": a folder, and "masks": a folder or '
            f"null: {_FIX}"
        )
    photographs, masks = _read_files(root / FILES)
    if masks and folders[1] is None:
        raise InputError(f"{root / FILES} names masks, {path} no folder of masks: {_FIX}")
    return Pointers(root, folders[0], folders[1], photographs, masks)


def _read_files(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    table = read_table(path, "file table", _FIX)
    keys = [name_key(cell) for cell in table[0].cells] if table else []
    if "image" not in keys or "photograph" not in keys:
        raise InputError(
            f"file table {path} must have the columns image and photograph in its first "
            f"line: {_FIX}"
        )
    columns = {key: keys.index(key) for key in ("image", "photograph", "mask") if key in keys}
    found: dict[str, dict[str, str]] = {"photograph": {}, "mask": {}}
    for row in table[1:]:
        cells = {key: _cell(row, column) for key, column in columns.items()}
        image_id = check_id(cells["image"], f"file table {path}, line {row.line}")
        if image_id in found["photograph"]:
            raise InputError(f"file table {path}, line {row.line} has {image_id} again: {_FIX}")
        found["photograph"][image_id] = _inside(cells["photograph"], path, row.line)
        if cells.get("mask"):
            found["mask"][image_id] = _inside(cells["mask"], path, row.line)
    return found["photograph"], found["mask"]


def _cell(row: Row, column: int) -> str:
    return row.cells[column] if column < len(row.cells) else ""


def _inside(name: str, path: Path, line: int) -> str:
    """`name` where it stays below its folder; links out of it are the user's own affair."""
    parts = name.split("/")
    leaves = any(part in {"", ".", ".."} for part in parts)
    if leaves or (os.name == "nt" and any(c in name for c in "\\:")):
        raise InputError(
            f"file table {path}, line {line}: {name!r:.200} is not a file below the photographs' "
            f"or masks' folder, such as summer/one.jpg: {_FIX}"
        )
    return name


def folder_name(folder: Path, root: Path) -> str:
    """How `dataset.json` in `root` names `folder`: relative where they lie near each other.

    Near is below the data set, or below a folder at most :data:`MOST_UP` above it; else the path is
    absolute.

    Example:
        >>> folder_name(Path("/home/me/holiday/raw"), Path("/home/me/data"))
        '../holiday/raw'
        >>> folder_name(Path("/disk/holiday"), Path("/home/me/data"))
        '/disk/holiday'
    """
    full = os.path.abspath(folder)
    try:
        near = os.path.relpath(full, os.path.abspath(root)).replace(os.sep, "/")
    except ValueError:  # another drive of Windows
        return full
    up = near.split("/").count("..")
    at_top = len(Path(os.path.abspath(root)).parts) - 1 <= up  # they share nothing but the top
    return full if up > MOST_UP or at_top else near


def write_files(root: Path, rows: Sequence[tuple[str, str, str]], *, masks: bool) -> None:
    """Write `files.csv` of rows (id, photograph, mask or an empty text)."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", "photograph", *(["mask"] if masks else [])])
    writer.writerows(row if masks else row[:2] for row in rows)
    write_text(root / FILES, stream.getvalue())


def write_pointers(root: Path, photographs: str, masks: str | None, **more: Any) -> None:
    """Write `dataset.json`; `more` is kept in it for whoever made the data set."""
    write_json(root / POINTERS, {"photographs": photographs, "masks": masks, **more})
