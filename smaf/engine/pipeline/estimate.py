"""How long a run takes and how much disk it needs, from what a rehearsal measured."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from smaf.core.errors import InputError
from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import OwnStep, StageStep, Step

_ROW_BYTES = 25_000  # of the report, a photograph
_MARGIN = 1.05
_SURE = 0.1  # part of a run's time after which its own pace counts as much as the rehearsal's


@dataclass(frozen=True)
class Pace:
    """What a photograph or a step of a training costs: seconds and bytes.

    `fixed` are the bytes of a training, whatever its number of steps. What loads and warms up is
    left out: a process does it once.
    """

    unit: float = 0.0
    unit_bytes: float = 0.0
    fixed: float = 0.0

    def bytes(self, units: int) -> float:
        """Bytes that so many units write; none where nothing is left.

        Example:
            >>> Pace(unit_bytes=50.0, fixed=7.0).bytes(2)
            107.0
        """
        return self.fixed + units * self.unit_bytes if units else 0.0

    def to_dict(self) -> dict[str, float]:
        """The form that notes hold."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


class Part(NamedTuple):
    """What is left of a step: of how many units, seconds and bytes, and on whose disk."""

    key: str
    name: str
    units: int
    seconds: float
    bytes: float
    folder: Path


def parts_of(run: Scope, steps: Sequence[Step], paces: Mapping[str, Any]) -> list[Part]:
    """What is left of each of `steps`, by the paces of :func:`smaf.engine.pipeline.rehearsal`."""
    return [
        _part(run, step, {key: Pace(**value) for key, value in paces.items()}) for step in steps
    ]


def _part(run: Scope, step: Step, paces: Mapping[str, Pace]) -> Part:
    left = step.left(run)
    if isinstance(step, StageStep):
        pace = paces.get(step.key, Pace())
        used = pace.bytes(left)
        return Part(step.key, step.name(run), left, left * pace.unit, used, step.folder)
    assert isinstance(step, OwnStep)
    seconds = step.seconds + left * paces.get(step.like, Pace()).unit
    written = {"report": _ROW_BYTES * left, "network": paces.get("train_seg", Pace()).fixed / 3}
    used = written.get(step.key, 0.0)
    return Part(step.key, step.name(run), left, seconds, used, run.at.logdir)


def check_disk(
    parts: Iterable[Part],
    *,
    free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> str:
    """Say how much disk the parts need and how much is free.

    Raises :class:`InputError` where a disk has too little.
    """
    needed: dict[int, tuple[float, Path]] = {}
    for part in parts:
        place = part.folder
        while not place.is_dir():
            place = place.parent
        device = os.stat(place).st_dev
        before, first = needed.get(device, (0.0, place))
        needed[device] = before + part.bytes, first
    lines = []
    for used, place in needed.values():
        there = free(place)
        if used * _MARGIN > there:
            raise InputError(
                f"the run needs about {size_of(used)} more on the disk of {place}, where "
                f"{size_of(there)} are free: make room, or name another folder with --out"
            )
        lines.append(f"{size_of(used)} of the {size_of(there)} that are free")
    return ", ".join(lines)


class Progress:
    """The time that is left: what was expected, corrected by what really passed.

    Args:
        expected: step → seconds that are expected of what is left of it.

    Example:
        >>> progress = Progress({"a": 60.0, "b": 120.0})
        >>> progress.line()
        '3 min left of 3 min'
        >>> progress.took["a"] = 120.0  # twice as long
        >>> progress.passed("a")
        >>> progress.line()
        '4 min left of 6 min'
    """

    def __init__(self, expected: Mapping[str, float]) -> None:
        self.expected, self.took = dict(expected), dict.fromkeys(expected, 0.0)
        self.left = dict(expected)

    def passed(self, key: str) -> None:
        """Note that a step is done; `took` says in how many seconds."""
        self.left.pop(key, None)

    @property
    def factor(self) -> float:
        """How many times as long as expected things take.

        The more has passed, the more it counts.
        """
        done = [key for key in self.expected if key not in self.left]
        doubt = _SURE * sum(self.expected.values())
        expected = sum(self.expected[key] for key in done)
        if not expected + doubt:
            return 1.0
        return (sum(self.took[key] for key in done) + doubt) / (expected + doubt)

    def line(self) -> str:
        """What is left of the whole; nothing where nothing is known."""
        if not self.expected:
            return ""
        left = self.factor * sum(self.left.values())
        return f"{time_of(left)} left of {time_of(left + sum(self.took.values()))}"


def time_of(seconds: float) -> str:
    """A time in words.

    Example:
        >>> time_of(41.2), time_of(719), time_of(7_500)
        ('41 s', '12 min', '2 h 05 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size_of(count: float) -> str:
    """A number of bytes in words.

    Example:
        >>> size_of(1_234_000), size_of(56_700_000_000)
        ('1 MB', '57 GB')
    """
    if count < 1e9:
        return f"{max(1, round(count / 1e6))} MB"
    return f"{count / 1e9:.2g} GB" if count < 1e11 else f"{count / 1e9:.0f} GB"
