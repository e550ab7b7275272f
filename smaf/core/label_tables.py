"""Tables of image-level labels: their columns found by their headings, and what each row says.

```
image,labels            file,class       filename, cat, dog      a.jpg,cat
a.jpg,cat;dog           a.jpg,cat        a.jpg, 1, 1             b.jpg,dog
b.jpg,dog               a.jpg,dog        b.jpg, 0, 1
```
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from smaf.core.errors import InputError, did_you_mean
from smaf.core.images import IMAGE_SUFFIXES
from smaf.core.names import find_class, is_background, name_key, split_names
from smaf.core.tables import Row, read_table

# Headings as name_key has them; of several the first of these names the image
_IMAGE = (
    "image",
    "images",
    "filename",
    "filenames",
    "file",
    "files",
    "imagename",
    "imagefile",
    "photo",
    "photograph",
    "picture",
    "img",
    "imagepath",
    "filepath",
    "path",
    "imageid",
    "id",
    "name",
)
_LABELS = (
    "labels",
    "label",
    "class",
    "classes",
    "classname",
    "classnames",
    "labelname",
    "tag",
    "tags",
    "category",
    "categories",
    "categoryname",
)
TRUTH = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


class LabelRow(NamedTuple):
    """What a row says: its line in the file, an image, and names of classes.

    `whole`: the image shows no other classes, since the table holds 0 and 1 for each.
    """

    line: int
    image: str
    names: tuple[str, ...]
    whole: bool = False


def is_image(cell: str) -> bool:
    return os.path.splitext(cell)[1].lower() in IMAGE_SUFFIXES


def read_label_rows(
    path: Path, classes: Sequence[str], fix: str, *, others: bool = False
) -> Iterator[LabelRow]:
    """Yield the rows of a label table in its order.

    The first line names the columns (several usual names are known) and may be missing where it
    begins with the name of an image file. A cell of labels that is empty, or has the word none
    alone, has no names. Without a column of labels each other column must be a class (with
    `others`: one of them), and hold 0 and 1. Names in cells may be no class: that is for the caller
    to judge. Raises :class:`InputError` where columns or cells cannot be understood.
    """
    table = read_table(path, "image-label file", fix)
    if not table:
        raise InputError(
            f"image-label file {path} is empty: it must have the columns image and labels in its "
            "first line, and a line for each image"
        )
    keys = [name_key(cell.lstrip("#")) for cell in table[0].cells]
    if is_image(table[0].cells[0]):
        yield from _named_rows(table, 0, labels=[1], width=2, path=path, classes=classes)
        return
    image = image_column(keys, table[1:])
    if image is not None and keys.count(keys[image]) > 1:
        raise InputError(
            f"image-label file {path} has the column {table[0].cells[image]} twice: keep one of "
            "them"
        )
    labels = label_columns(keys, table[0].cells, path)
    if image is not None and len(table) > 1 and labels:
        yield from _named_rows(
            table[1:], image, labels=labels, width=len(keys), path=path, classes=classes
        )
    elif image is not None and len(table) > 1 and len(keys) > 1:
        yield from _marked_rows(table, image, path=path, classes=classes, others=others)
    else:
        raise InputError(
            f"image-label file {path} must have the columns image and labels in its first line, "
            f"and a line for each image; its first line is {', '.join(table[0].cells)[:80]!r}"
        )


def image_column(keys: Sequence[str], rows: Sequence[Row]) -> int | None:
    """The column whose heading may be an image's: one that holds file names before all others."""
    columns = [keys.index(name) for name in _IMAGE if name in keys]
    filled = [
        column
        for column in columns
        if rows and len(rows[0].cells) > column and is_image(rows[0].cells[column])
    ]
    return next(iter(filled + columns), None)


def label_columns(keys: Sequence[str], headings: Sequence[str], path: Path) -> list[int]:
    """The column `labels`, or the only one with a usual heading; `label1`, `label2`, … are one."""
    words: dict[str, list[int]] = {}
    for column, key in enumerate(keys):
        if key.rstrip("0123456789") in _LABELS:
            words.setdefault(key.rstrip("0123456789"), []).append(column)
    if len(words) > 1 and "labels" not in words:
        found = ", ".join(headings[columns[0]] for columns in words.values())
        raise InputError(
            f"image-label file {path} has more than one column that may hold the labels ({found}): "
            "call the right one labels"
        )
    return words.get("labels") or next(iter(words.values()), [])


def _named_rows(
    rows: Sequence[Row],
    image: int,
    *,
    labels: Sequence[int],
    width: int,
    path: Path,
    classes: Sequence[str],
) -> Iterator[LabelRow]:
    """Yield the rows of a table whose cells name classes.

    Cells beyond the first line's `width` belong to labels in the last column.
    """
    cells: dict[str, tuple[str, ...]] = {}  # they repeat
    for line, row in rows:
        more = len(row) > width
        if more and labels[-1] != width - 1:
            raise InputError(
                f"image-label file {path}, line {line} has more cells than the first line: "
                "separate class names by ;"
            )
        text = ",".join([*(_cell(row, column) for column in labels), *row[width:]])
        if text not in cells:
            cells[text] = _names_of(text, classes)
        lost = more and [name for name in cells[text] if _is_strange(name, classes)]
        if lost:
            raise InputError(
                f"image-label file {path}, line {line} has more cells than the first line, and "
                f"{lost[0]!r:.80} is not a class: separate class names by ;, or put quotes around "
                "what has a separator"
            )
        yield LabelRow(line, _cell(row, image), cells[text])


def _cell(row: Sequence[str], column: int) -> str:
    return row[column] if column < len(row) else ""


def _names_of(cell: str, classes: Sequence[str]) -> tuple[str, ...]:
    """The names in a cell; there are none in an empty one, and where all it says is "none"."""
    names = tuple(split_names(cell, classes))
    nothing = [name_key(name) for name in names] == ["none"] and find_class("none", classes) is None
    return () if nothing else names


def _is_strange(name: str, classes: Sequence[str]) -> bool:
    return find_class(name, classes) is None and not is_background(name)


def marked_columns(headings: Sequence[str], image: int, classes: Sequence[str]) -> list[int]:
    """The columns of 0 and 1: all but the one of images and one that numbers the rows.

    The latter is called `id`, or has no heading, as pandas writes it.
    """
    keys = [name_key(heading) for heading in headings]
    return [
        column
        for column, key in enumerate(keys)
        if column != image
        and not (
            _is_strange(headings[column], classes) and (key in {"", "unnamed:0"} or key in _IMAGE)
        )
    ]


def _require_classes(
    headings: Sequence[str], path: Path, *, classes: Sequence[str], others: bool
) -> None:
    """Headings of columns of 0 and 1 must be classes (with `others`: one of them), each once."""
    strange = [heading for heading in headings if _is_strange(heading, classes)]
    if not headings or (strange and not (others and len(strange) < len(headings))):
        fault = (
            f"{strange[0]!r:.80} is none{did_you_mean(strange[0], classes)}"
            if strange
            else "it has none"
        )
        raise InputError(
            f"image-label file {path} must have the columns image and labels in its first line, or "
            f"a column for each class: {fault}; the data set has {', '.join(classes)}"
        )
    found = [find_class(heading, classes) for heading in headings]
    twice = [
        heading
        for heading, index in zip(headings, found, strict=True)
        if index is not None and found.count(index) > 1
    ]
    if twice:
        raise InputError(
            f"image-label file {path} has more than one column for a class ({', '.join(twice)}): "
            "keep one"
        )


def _marked_rows(
    table: Sequence[Row], image: int, *, path: Path, classes: Sequence[str], others: bool
) -> Iterator[LabelRow]:
    """Yield the rows of a table with a column of 0 and 1 for each class."""
    headings = table[0].cells
    columns = marked_columns(headings, image, classes)
    marked = [headings[column] for column in columns]
    _require_classes(marked, path, classes=classes, others=others)
    for line, row in table[1:]:
        marks = [TRUTH.get(_cell(row, column).lower()) for column in columns]
        if None in marks or len(row) > len(headings):
            raise InputError(
                f"image-label file {path}, line {line} must have 0 or 1 for each of the "
                f"{len(columns)} classes"
            )
        names = tuple(name for name, mark in zip(marked, marks, strict=True) if mark)
        yield LabelRow(line, _cell(row, image), names, whole=True)
