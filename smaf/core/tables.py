"""Tables as spreadsheets and annotation tools write them: CSV and its kin."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from smaf.core.errors import InputError
from smaf.core.files import read_text


class Row(NamedTuple):
    """The cells of a row, and the number of its line.

    Spaces around cells, and empty cells at the end, are dropped.
    """

    line: int
    cells: list[str]


def read_table(path: Path, what: str, fix: str) -> list[Row]:
    """Read the rows of a table, the first line among them.

    Empty rows and comments (`# …`) are left out. Cells are separated by a tab where the first line
    has one, else by the first of `,`, `;` and `|` in it (spreadsheets write `;` where the comma is
    the decimal sign), or by what a line `sep=;` names. Raises :class:`InputError` for a file that
    is no text, has control characters, or whose quotes do not close.
    """
    text = re.sub(r"\r\n?", "\n", read_text(path, what, fix))
    if control := re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", text):
        line = text.count("\n", 0, control.start()) + 1
        raise InputError(
            f"{what} {path}, line {line} has a control character ({control[0]!r}): take it out; "
            f"{fix}"
        )
    named = re.match(r"sep=(.)[ \t]*\n", text, flags=re.IGNORECASE)
    body = text[named.end() :] if named else text
    reader = csv.reader(
        io.StringIO(body, newline=""),
        delimiter=named[1] if named else _separator(body),
        skipinitialspace=True,
        strict=True,
    )
    rows = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            while stripped and not stripped[-1]:
                stripped.pop()
            if stripped and not (len(stripped) == 1 and stripped[0].startswith("#")):
                rows.append(Row(reader.line_num + bool(named), stripped))
    except csv.Error as error:
        raise InputError(
            f"{what} {path}, line {reader.line_num + bool(named)} is not a CSV table ({error}): "
            f"{fix}"
        ) from error
    return rows


def _separator(text: str) -> str:
    lines = (line for line in text.split("\n") if line.strip() and not line.startswith("#"))
    first = re.sub(r'"[^"]*"', "", next(lines, ""))
    if "\t" in first:
        return "\t"
    found = re.search(r"[,;|]", first)
    return found[0] if found else ","
