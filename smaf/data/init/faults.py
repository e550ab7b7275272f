"""What is wrong with a folder of photographs and its labels: one table, each kind with its fix."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from smaf.core.errors import printable
from smaf.core.files import write_text

SUMMARY, EACH = "faults.csv", "faults_each.csv"
FEW = 10  # photographs of a class below which it is said


class Kind(NamedTuple):
    """A kind of fault: what is left out of the data set for it (or an empty text), and its fix."""

    left_out: str
    fix: str


_ROW = "the row"
_PHOTO = "the photograph"
_MASK = "the mask"
KINDS = {
    "unreadable": Kind(_PHOTO, "replace the file"),
    "truncated": Kind(_PHOTO, "copy the file again from where it came"),
    "huge": Kind(_PHOTO, "make it smaller: at most 120 million pixels are read"),
    "file name": Kind(_PHOTO, "rename the file or folder"),
    "unknown format": Kind(_PHOTO, "convert it to JPEG or PNG"),
    "unlabelled": Kind(_PHOTO, "give it a row, with an empty cell if it shows none of the classes"),
    "duplicate": Kind("the later one", "remove one of the two"),
    "duplicate with other labels": Kind("both", "keep one of them, with all its labels"),
    "tiny": Kind("", "give a larger version, or take it out"),
    "row without photograph": Kind(_ROW, "mend the name, or put the photograph there"),
    "ambiguous row": Kind(_ROW, "write the path below the folder, with the suffix"),
    "conflicting rows": Kind(_PHOTO, "keep one of the rows"),
    "class without photograph": Kind("the class", "add photographs of it, or ignore this"),
    "few photographs": Kind("", f"add photographs: {FEW} or more, better 50"),
    "on every photograph": Kind(
        "", "add photographs without it: the method cannot tell it from the background"
    ),
    "mask of another size": Kind(_MASK, "make it the size of its photograph, upright"),
    "unreadable mask": Kind(_MASK, "save it as a PNG whose values are class numbers"),
    "mask against labels": Kind("", "mend the labels, or name the masks' order (--class_names)"),
    "mask without photograph": Kind(_MASK, "give it the photograph's path or name"),
}


class Fault(NamedTuple):
    """One thing that is wrong: its kind, the file, row or class, and more about it."""

    kind: str
    what: str
    about: str

    def __str__(self) -> str:
        return f"{self.what}: {self.about}" if self.about else self.what


@dataclass
class Faults:
    """All that is wrong, in the order in which it was found."""

    found: list[Fault] = field(default_factory=list)

    def add(self, kind: str, what: str, about: str = "") -> None:
        """Note a fault of one of :data:`KINDS`."""
        if kind not in KINDS:
            raise KeyError(kind)
        self.found.append(Fault(kind, printable(what), printable(about)))

    def of(self, kind: str) -> list[Fault]:
        """The faults of one kind."""
        return [fault for fault in self.found if fault.kind == kind]

    def count(self, *kinds: str) -> int:
        """How many faults are of these kinds."""
        return sum(fault.kind in kinds for fault in self.found)

    def table(self) -> list[tuple[str, int, str, str, str]]:
        """Rows (kind, count, example, what is left out, fix) of the kinds that there are."""
        rows = []
        for name, kind in KINDS.items():
            if found := self.of(name):
                rows.append((name, len(found), str(found[0]), kind.left_out, kind.fix))
        return rows

    def __str__(self) -> str:
        """The table as text, two lines a kind: the example, then what is done and the fix."""
        rows = self.table()
        if not rows:
            return "nothing is wrong"
        width = max(len(name) for name, *_ in rows)
        lines = [f"{'what is wrong':<{width}}  count  example, what is left out → what to do"]
        for name, count, example, left_out, fix in rows:
            lines.append(f"{name:<{width}}  {count:>5}  {_short(example)}")
            out = f"{left_out} is left out" if left_out else "kept"
            out = "both are left out" if left_out == "both" else out
            lines.append(f"{'':<{width}}         {out} → {fix}")
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write the table to `faults.csv`, and every fault to `faults_each.csv`."""
        head = ("fault", "count", "example", "left_out", "fix")
        _write(folder / SUMMARY, head, self.table())
        rows = [(*fault, KINDS[fault.kind].left_out) for fault in self.found]
        _write(folder / EACH, ("fault", "what", "about", "left_out"), rows)


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([head, *rows])
    write_text(path, stream.getvalue())
