"""Labels from `metadata.jsonl`, as Hugging Face's image folders have it: a JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from smaf.core.errors import InputError, printable
from smaf.core.files import read_lines
from smaf.core.found_names import in_order
from smaf.core.names import split_names
from smaf.data.init.faults import Faults
from smaf.data.init.labelled import Labelled, Said, collect, split_name
from smaf.data.init.matching import FileIndex
from smaf.data.init.table_source import below

_FIX = "write one JSON object a line, with file_name and labels"
_COLUMNS = ("labels", "label", "classes", "class", "categories", "category", "tags", "tag")
_MASK = "mask_file_name"


def read_metadata(
    folder: Path,
    files: Sequence[Path],
    index: FileIndex,
    faults: Faults,
    *,
    names: tuple[str, ...] | None = None,
) -> Labelled:
    """Read the lines of all `files`; several in folders called train, valid, … are the lists.

    Labels are the first of `labels`, `label`, `classes`, `categories`, … of a line, or of its
    `objects`: a name, several separated by `;` `,` or `|`, a list of names, or of objects that have
    one. An empty list or text means that the photograph shows none of the classes; null is no
    label. `mask_file_name` names a true mask, relative to the file, as `file_name` is.

    Raises :class:`InputError` where a line is no such object, or names classes by numbers.
    """
    rows = {path: list(_rows(folder, path)) for path in files}
    every = [row for part in rows.values() for row in part]
    classes = names or in_order(name for row in every for name in row.names)
    if not classes:
        raise InputError(
            f"labels {printable(files[0])} name no class: expected one of the columns "
            f"{', '.join(_COLUMNS)}, or objects with one of them; {_FIX}"
        )
    found = Labelled(classes, collect(every, classes, index, faults))
    listed: set[str] = set()
    for path, part in rows.items():
        name = split_name(path.parent.name) if len(files) > 1 else None
        for row in part:
            places = index.find(row.photograph, below=row.below)
            if len(places) != 1 or places[0] not in found.shown:
                continue
            if row.mask:
                found.masks[places[0]] = row.mask
            if name and places[0] not in listed:
                listed.add(places[0])
                found.lists.setdefault(name, []).append(places[0])
    return found


def mask_files(folder: Path, files: Sequence[Path]) -> list[Path]:
    """The masks that the lines name: they are no photographs."""
    lines = [
        row for path in files if path.suffix.lower() == ".jsonl" for row in _rows(folder, path)
    ]
    return [folder / row.mask for row in lines if row.mask]


def _rows(folder: Path, path: Path) -> Iterator[Said]:
    """What each labelled line says; lines whose labels are null or missing are passed over."""
    start = "/".join(below(folder, path))
    for number, line in enumerate(read_lines(path, "labels", _FIX), start=1):
        where = f"{path.name}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{printable(path)}, line {number} is not JSON: {_FIX}") from error
        name = value.get("file_name") if isinstance(value, dict) else None
        if not isinstance(name, str) or not name:
            raise InputError(f"{printable(path)}, line {number} has no file_name: {_FIX}")
        names = _labels(value, f"{printable(path)}, line {number}")
        if names is not None:
            mask = _mask_name(value, start, f"{printable(path)}, line {number}")
            yield Said(where, name, tuple(names), True, (start,) if start else (), mask)


def _mask_name(value: Mapping[str, Any], start: str, where: str) -> str:
    """The mask's path below the photographs' folder, or an empty text."""
    name = value.get(_MASK)
    if name is None or name == "":
        return ""
    path = os.path.normpath(f"{start}/{name}" if start else str(name)).replace(os.sep, "/")
    if not isinstance(name, str) or path.startswith(("../", "/")) or path == "..":
        raise InputError(
            f"{where}: {_MASK} is {name!r:.80}, expected a file below the folder "
            f"of photographs: {_FIX}"
        )
    return path


def _labels(value: Mapping[str, Any], where: str) -> list[str] | None:
    """The names of classes in a line; None where it has no label."""
    column = next((key for key in _COLUMNS if value.get(key) is not None), None)
    if column is not None:
        return _names(value[column], where)
    objects = value.get("objects")
    if isinstance(objects, dict):
        return _labels({key: objects.get(key) for key in _COLUMNS}, where)
    if isinstance(objects, list):
        if not all(isinstance(item, dict) for item in objects):
            raise InputError(f"{where}: objects are expected to have a category each: {_FIX}")
        found = [_labels({key: item.get(key) for key in _COLUMNS}, where) for item in objects]
        if None in found:
            raise InputError(f"{where}: an object has no category: {_FIX}")
        return [name for names in found for name in names or ()]
    return None


def _names(value: Any, where: str) -> list[str]:
    if isinstance(value, str):
        return split_names(value, ())
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return [name.strip() for name in value if name.strip()]
    raise InputError(
        f"{where}: the label is {value!r:.80}, expected a class name or a list of names (numbers "
        "may count from 0 or from 1): write the names"
    )
