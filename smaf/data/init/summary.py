"""What `smaf init` made, and how it tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smaf.core.errors import printable
from smaf.data.init.faults import Faults


@dataclass(frozen=True)
class Summary:
    """A new data set: classes, list → ids, list → photographs of each class, those of none.

    `left_out` is the number of photographs that were found and are not used, `masks` that of true
    masks; `faults` is what was wrong.
    """

    out: Path
    names: tuple[str, ...]
    lists: Mapping[str, Sequence[str]]
    per_class: Mapping[str, Sequence[int]]
    none: Mapping[str, int]
    faults: Faults
    left_out: int = 0
    masks: int = 0

    @staticmethod
    def of(
        out: Path,
        names: tuple[str, ...],
        lists: Mapping[str, Sequence[str]],
        shown: Mapping[str, frozenset[int]],
        faults: Faults,
        *,
        left_out: int,
        masks: int,
    ) -> Summary:
        """Count the classes on each list; `shown` is id → indices of classes."""
        per_class = {
            name: [sum(c in shown[i] for i in ids) for c in range(len(names))]
            for name, ids in lists.items()
        }
        none = {name: sum(not shown[i] for i in ids) for name, ids in lists.items()}
        return Summary(out, names, lists, per_class, none, faults, left_out, masks)

    def __str__(self) -> str:
        """The table of classes, a column a list, and the next command."""
        shown = list(self.lists)
        width = max(len("show none of them"), *(len(name) for name in self.names))
        lines = [f"{'photographs':<{width}}" + "".join(f"{name:>8}" for name in shown)]
        for c, name in enumerate(self.names):
            counts = (self.per_class[list_name][c] for list_name in shown)
            lines.append(f"{name:<{width}}" + "".join(f"{count:>8}" for count in counts))
        lines.append(
            f"{'show none of them':<{width}}" + "".join(f"{self.none[name]:>8}" for name in shown)
        )
        lines.append(f"{'all':<{width}}" + "".join(f"{len(self.lists[n]):>8}" for n in shown))
        lines.append(f"left out: {self.left_out}; true masks, for evaluation: {self.masks}")
        lines.append(f"next: smaf run {printable(self.out)} --out run")
        return "\n".join(lines)
