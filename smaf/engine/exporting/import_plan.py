"""The options of `smaf import`, and what it tells of what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from smaf.core.options import Options, option
from smaf.data.formats import FORMATS


@dataclass(frozen=True)
class ImportPlan(Options):
    """What is taken of a file, and what it is compared with."""

    GROUP: ClassVar[str] = "import"

    format: str | None = option(
        None, "its format; default: seen by itself", name="from", choices=tuple(FORMATS)
    )
    list_name: str | None = option(
        None, "list that the photographs are on; default: all lists", name="list"
    )
    empty: str = option(
        "auto",
        "a photograph without any object: background, or left out (skip); auto: background where "
        "the format says that somebody looked at it",
        choices=("auto", "background", "skip"),
    )
    run: str | None = option(
        None,
        "run, or folder of predictions, that was exported: corrected masks are compared with its "
        "masks, and pixels that it ignores (255) stay so where no object covers them",
    )
    only_changed: bool = option(
        False, "write only the masks that differ from those of --run", name="changed"
    )


@dataclass
class Imported:
    """What was imported, for the summary.

    `differing` are the pixels of each photograph that differ from what was there; `compared` says
    what that is. Counts of photographs: `skipped` without any object, `overlapping` with objects of
    several classes in one place, `unchanged` not written.
    """

    source: str
    folder: Path
    compared: str
    differing: dict[str, int] = field(default_factory=dict)
    pixels: int = 0
    skipped: int = 0
    overlapping: int = 0
    unchanged: int = 0

    def __str__(self) -> str:
        """A line for what was written, one for what differs, and one for each thing to know."""
        changed = [count for count in self.differing.values() if count]
        lines = [f"imported {len(self.differing)} masks from {self.source} into {self.folder}"]
        if self.pixels:
            lines.append(
                f"{len(changed)} of them differ from {self.compared}, by {sum(changed):,} pixels "
                f"({100 * sum(changed) / self.pixels:.2f} % of those that were compared)"
            )
        if self.unchanged:
            lines.append(f"{self.unchanged} are as they were and were not written (--changed)")
        if self.skipped:
            lines.append(
                f"{self.skipped} photographs without an object were left out (--empty background "
                "takes them as background)"
            )
        if self.overlapping:
            lines.append(
                f"{self.overlapping} photographs have objects of several classes in one place: "
                "the later or higher one was taken"
            )
        return "\n".join(lines)
