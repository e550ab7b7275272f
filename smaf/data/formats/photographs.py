"""A data set's photographs, found by the names that annotation tools give them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from smaf.core.errors import InputError, printable
from smaf.core.files import plain_name
from smaf.core.images import IMAGE_SUFFIXES
from smaf.data.init.matching import FileIndex, path_parts
from smaf.data.layout import DataRoot

_ROBOFLOW = re.compile(r"(.+)_(jpe?g|png|bmp|tiff?|webp)\.rf\.[0-9A-Za-z]+", re.IGNORECASE)
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio's


def listed_ids(data: DataRoot, name: str | None) -> list[str]:
    """The ids of a list; without a name those of all lists, each once.

    Raises :class:`InputError` where there is no list.
    """
    if name is not None:
        return data.ids(name)
    lists = sorted(data.list_path("train").parent.glob("*.txt"))
    if not lists:
        return data.ids("train")  # which says that it is not there
    return list(dict.fromkeys(image_id for path in lists for image_id in data.ids(path)))


class Photographs:
    """Looks up ids of a data set by ids, and by names and paths of photographs.

    A path that agrees with a photograph's own one in its folder, too, comes first, then an id, then
    the photograph's name. What tools add to names is taken off where nothing is found with it:
    Roboflow's `_jpg.rf.<hash>`, Label Studio's `<hash>-`.
    """

    def __init__(self, data: DataRoot, ids: Iterable[str]) -> None:
        self._data = data
        self._ids = {plain_name(image_id): image_id for image_id in ids}

    def find(self, name: str) -> str | None:
        """The id that `name` means; None where none does, or several."""
        return next((found for one in _forms(name) if (found := self._find(one))), None)

    def _find(self, name: str) -> str | None:
        parts = path_parts(name)
        files = self._index.find(name) if len(parts) > 1 and self._in_folders else []
        if len(files) == 1 and "/" in files[0]:  # `b/a.jpg` is not the photograph of the id `a`
            return self._listed(files[0])
        last = plain_name(parts[-1]) if parts else ""
        stem, suffix = os.path.splitext(last)
        for one in (last, stem) if suffix.lower() in IMAGE_SUFFIXES else (last,):
            if one in self._ids:
                return self._ids[one]
        listed = [i for file in self._index.find(name) if (i := self._listed(file)) is not None]
        return listed[0] if len(listed) == 1 else None

    def _listed(self, file: str) -> str | None:
        return self._ids.get(plain_name(self._files[file]))

    @cached_property
    def _files(self) -> dict[str, str]:
        """Photograph, below the folder that all share, → id; also of those on no list."""
        pointers = self._data.pointers
        known = {} if pointers is None else pointers.photographs
        own = {f"{i}.jpg": i for i in self._ids.values() if i not in known}
        return own | {file: image_id for image_id, file in known.items()}

    @cached_property
    def _in_folders(self) -> bool:
        return any("/" in file for file in self._files)

    @cached_property
    def _index(self) -> FileIndex:
        return FileIndex(self._files)


def _forms(name: str) -> Iterator[str]:
    """Yield the name, then the name without what tools add."""
    yield name
    *folders, last = path_parts(name) or [""]
    stem, suffix = os.path.splitext(last)
    stem = stem if suffix.lower() in IMAGE_SUFFIXES else last
    if found := _ROBOFLOW.fullmatch(stem):
        yield "/".join([*folders, f"{found[1]}.{found[2]}"])
    if found := _UPLOADED.fullmatch(last):
        yield found[1]


def unknown(names: list[str], data: DataRoot, what: str) -> InputError:
    """The error that names photographs which the data set does not have."""
    shown = ", ".join(printable(name[:200]) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return InputError(
        f"{what}: {shown}{more}: no photograph of that id or name in {printable(data.root)}: "
        "annotate the files that `smaf export` wrote, or name another list with --list"
    )
