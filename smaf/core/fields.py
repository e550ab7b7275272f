"""Entries that a file gives by name, each checked as it is taken.

What is not as expected is an error of one line.
"""

from __future__ import annotations

import json
import math
import reprlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smaf.core.errors import InputError, did_you_mean


def parse_json(text: str | bytes, where: str, fix: str) -> Any:
    """Parse JSON from a file that may be damaged or hostile.

    A name given twice, NaN, deep nesting and numbers of thousands of digits are refused.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            raise ValueError("it gives a name twice")
        return entries

    def refuse(constant: str) -> None:
        raise ValueError(f"it holds {constant}")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except RecursionError as error:
        raise InputError(f"{where} is nested too deeply: {fix}") from error
    except ValueError as error:  # damaged, no UTF-8, or one of the above
        raise InputError(f"{where} is not valid JSON ({str(error)[:100]}): {fix}") from error


def shown(value: object) -> str:
    """`value` for an error message: short, however large or deep it is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return f"a {type(value).__name__} of far too many digits"


class Fields:
    """The entries of a mapping that a file holds.

    Args:
        value: what the file holds where a mapping of names is expected.
        where: the file and the place in it, "weights x.pth, info".
        fix: what the user can do.
        required, optional: the names; one that is missing, and one that is none of these, is an
            :class:`InputError`.
    """

    def __init__(
        self,
        value: object,
        where: str,
        fix: str,
        *,
        required: Iterable[str],
        optional: Iterable[str] = (),
    ) -> None:
        self.where, self.fix = where, fix
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is {shown(value)}, expected entries with names: {fix}")
        self.values = value
        known = [*required, *optional]
        unknown = [key for key in value if key not in known]
        missing = [key for key in required if key not in value]
        if unknown:
            near = did_you_mean(unknown[0], known) if isinstance(unknown[0], str) else ""
            raise InputError(f"{where} holds the unknown entry {shown(unknown[0])}{near}: {fix}")
        if missing:
            raise InputError(f"{where} has no {missing[0]}: {fix}")

    def fault(self, key: str, expected: str) -> InputError:
        """The error that says what was expected of an entry."""
        return InputError(
            f"{self.where}: {key} is {shown(self.values.get(key))}, expected {expected}: {self.fix}"
        )

    def flag(self, key: str, default: bool = False) -> bool:
        """Return an entry that is True or False."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.fault(key, "true or false")
        return value

    def text(self, key: str, among: Sequence[str]) -> str:
        """Return an entry that is one of the texts `among`."""
        value = self.values[key]
        if not isinstance(value, str) or value not in among:
            near = did_you_mean(value, among) if isinstance(value, str) else ""
            raise self.fault(key, f"one of {', '.join(among)}{near}")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """Return an entry that is a whole number from `low` to `high`."""
        value = self.values[key]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.fault(key, f"a whole number from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """Return an entry that is a number between `low` and `high`, both left out."""
        value = self.values[key]
        if not _is_number(value) or not low < value < high:
            raise self.fault(key, f"a number between {low:g} and {high:g}")
        return float(value)

    def numbers_of(self, keys: Iterable[str], low: float, high: float) -> dict[str, float]:
        """Return entries that are each a number from `low` to `high`."""
        found = {}
        for key in keys:
            value = self.values[key]
            if not _is_number(value) or not low <= value <= high:
                raise self.fault(key, f"a number from {low:g} to {high:g}")
            found[key] = float(value)
        return found

    def numbers(
        self, key: str, low: float, high: float, *, least: int, most: int
    ) -> tuple[float, ...]:
        """Return an entry of `least` to `most` numbers, each from `low` to `high`."""
        value = self.values[key]
        count = str(most) if least == most else f"{least} to {most}"
        if (
            not isinstance(value, (list, tuple))
            or not least <= len(value) <= most
            or not all(_is_number(v) and low <= v <= high for v in value)
        ):
            raise self.fault(key, f"{count} numbers from {low:g} to {high:g}")
        return tuple(float(v) for v in value)

    def names(self, key: str, most: int) -> tuple[str, ...]:
        """At most `most` names: texts that are not empty, each once, without control characters."""
        value = self.values[key]
        if not isinstance(value, (list, tuple)) or len(value) > most:
            raise self.fault(key, f"a list of at most {most} names")
        seen: set[str] = set()
        for name in value:
            if not isinstance(name, str) or not name.strip():
                raise InputError(
                    f"{self.where}: {key} has the name {shown(name)}, expected a text: {self.fix}"
                )
            if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in name):
                raise InputError(
                    f"{self.where}: {key} has the name {shown(name)}, which has a control "
                    f"character: {self.fix}"
                )
            if name in seen:
                raise InputError(
                    f"{self.where}: {key} has the name {shown(name)} twice: {self.fix}"
                )
            seen.add(name)
        return tuple(value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**53 if isinstance(value, int) else math.isfinite(value)
