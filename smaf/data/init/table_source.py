"""Labels from a CSV table: a row a photograph, or a row a label, or a column a class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from smaf.core.errors import InputError, printable
from smaf.core.found_names import table_names
from smaf.core.label_tables import read_label_rows
from smaf.data.init.faults import Faults
from smaf.data.init.labelled import Labelled, Said, collect
from smaf.data.init.matching import FileIndex

_FIX = "give a table with the columns image and labels"


def below(folder: Path, path: Path) -> tuple[str, ...]:
    """The folder of `path` below `folder`, from which its names may start; () where it is not.

    Example:
        >>> below(Path("photos"), Path("photos/train/metadata.jsonl"))
        ('train',)
    """
    start = os.path.relpath(path.parent, folder).replace(os.sep, "/")
    return () if start == "." or start.startswith("..") else (start,)


def read_label_table(
    folder: Path,
    files: Sequence[Path],
    index: FileIndex,
    faults: Faults,
    *,
    names: tuple[str, ...] | None = None,
) -> Labelled:
    """Read the one table of `files`; without `names` the names in it are the classes.

    A photograph is named by its path below `folder` or below the table's folder, or by the end of
    it, as :class:`~smaf.data.init.matching.FileIndex` has it. How names are separated is read off
    the table: :mod:`smaf.core.found_names`. An empty cell, `none` and `background` mean that the
    photograph shows none of the classes.
    """
    path = files[0]
    classes = names or table_names(path, _FIX)
    rows = _rows(path, classes, below(folder, path))
    shown = collect(rows, classes, index, faults)
    if not classes:
        raise InputError(f"labels {printable(path)} name no class: {_FIX}")
    return Labelled(classes, shown)


def _rows(path: Path, classes: tuple[str, ...], starts: tuple[str, ...]) -> Iterator[Said]:
    for row in read_label_rows(path, classes, _FIX, others=True):
        where = f"{path.name}, line {row.line}"
        yield Said(where, row.image, row.names, row.whole, starts)
