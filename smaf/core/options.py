"""Options, each declared once: as a field of a frozen dataclass with default, range, meaning.

From these fields come the command line (:func:`add_options`), the checks of ranges, also for who
works from Python, the recipes (:mod:`smaf.core.recipes`), and what a run's record holds and
compares (:func:`smaf.engine.outputs.settings_of`).

Example:
    >>> @dataclass(frozen=True)
    ... class Rates(Options):
    ...     lr: float = option(0.1, "rate", within=POSITIVE)
    ...     flip: bool = option(True, "use mirror images")
    >>> Rates(lr=0.5)
    Rates(lr=0.5, flip=True)
    >>> Rates(lr=-1.0)
    Traceback (most recent call last):
    smaf.core.errors.InputError: --lr -1.0: expected more than 0
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, NamedTuple, TypeVar

from smaf.core.errors import InputError, did_you_mean

Plan = TypeVar("Plan", bound="Options")
_OPTION, _PART = "option", "part"


class Role(Enum):
    """What an option means for a run's result; a stopped run goes on only with the same results."""

    RESULT = "its value decides the result"
    CONTENTS = "it names files, whose contents decide the result, wherever they lie"
    RUN = "it says how the run goes, not what it gives: recorded, but not compared"


class _Flag(argparse.Action):
    """`--name` and `--no_name`, a pair with one destination; the last one wins."""

    def __init__(self, option_strings: Sequence[str], dest: str, **about: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **about)

    def format_usage(self) -> str:
        """Both flags, as the line of the usage shows them."""
        return " | ".join(self.option_strings)

    def __call__(
        self, _: object, namespace: argparse.Namespace, __: object, flag: str | None = None
    ) -> None:
        setattr(namespace, self.dest, not str(flag).startswith("--no_"))


class Range(NamedTuple):
    """The values that a number may have, and how an error calls them."""

    holds: Callable[[float], bool]
    expected: str


POSITIVE = Range(lambda value: 0 < value < math.inf, "more than 0")
NOT_NEGATIVE = Range(lambda value: 0 <= value < math.inf, "0 or more")
FRACTION = Range(lambda value: 0 <= value <= 1, "a value from 0 to 1")
OPEN_FRACTION = Range(lambda value: 0 < value < 1, "a value between 0 and 1")


@dataclass(frozen=True)
class Option:
    """What is known of an option beside its default value; see :func:`option`."""

    help: str
    name: str | None = None
    kind: Callable[[str], Any] | None = None
    within: Range | None = None
    choices: tuple[Any, ...] = ()
    many: int | str | None = None
    metavar: Any = None
    const: str | None = None
    ordered: str = ""
    role: Role = Role.RESULT
    files: str = ""


def option(default: Any, help: str, **about: Any) -> Any:
    """Declare a field of an :class:`Options` class as an option.

    Args:
        default: True or False make a pair of flags, `--name` and `--no_name`; a tuple an option of
            several values. None: not given; a plan's user resolves it, or it means "nothing".
        help: what `--help` says.
        **about: fields of :class:`Option`. `name` on the command line, where it is not the field's;
            `kind` of a value, where the default does not tell (`int`, `float`); `within`, the
            :class:`Range` of each value; `choices`; `many`, the number of values ("+": any);
            `const`, the value where the option is given without one; `ordered`, what the two
            values of a range are called, the smaller of which comes first; `role`; `files`, where
            it names a folder with a file for each image, what their names end with.
    """
    return dataclasses.field(default=default, metadata={_OPTION: Option(help, **about)})


def part(make: Callable[[], Options], *, without: Sequence[str] = ()) -> Any:
    """Declare a field that is itself an :class:`Options` object; its options are the plan's, too.

    `without` are options that the command line leaves out: they keep the value that `make` gives.
    """
    return dataclasses.field(default_factory=make, metadata={_PART: tuple(without)})


def redeclared(owner: type[Options], name: str, default: Any) -> Any:
    """Declare the field `name` of a base class again, with another default."""
    fields = {field.name: field for field in dataclasses.fields(owner)}
    return dataclasses.field(default=default, metadata=fields[name].metadata)


class Declared(NamedTuple):
    """An option of a plan: its name, what is known of it, its value, and its group in `--help`."""

    name: str
    field: str
    about: Option
    value: Any
    group: str


@dataclass(frozen=True)
class Options:
    """Base of plans and of their parts: a frozen dataclass of fields made by :func:`option`.

    Raises :class:`InputError` where a value is of another kind, or out of its range.
    """

    GROUP: ClassVar[str] = "options"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            about = field.metadata.get(_OPTION)
            if about is not None:
                name, value = about.name or field.name, getattr(self, field.name)
                _check_kind(name, value, about.kind or _kind_of(field.default))
                _check_value(name, about, value)

    def options(self) -> Iterator[Declared]:
        """The options of this plan and of its parts, in the order of their declaration."""
        yield from _declared(self, frozenset())

    def values(self) -> dict[str, Any]:
        """Option name → value."""
        return {declared.name: declared.value for declared in self.options()}

    def filled(self: Plan, **defaults: Any) -> Plan:
        """The plan with `defaults` in the place of fields that are None."""
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)

    def changed(self: Plan, **values: Any) -> Plan:
        """The plan with other values, by the options' or the fields' names, also of its parts.

        Raises :class:`InputError` for a name that is no option, and for a value out of range.
        """
        known = {name for declared in self.options() for name in declared[:2]}
        unknown = [name for name in values if name not in known]
        if unknown:
            near = did_you_mean(unknown[0], known)
            raise InputError(f"{type(self).__name__} has no option {unknown[0]}{near}")
        return _changed(self, values)


def _declared(plan: Options, without: frozenset[str]) -> Iterator[Declared]:
    for field in dataclasses.fields(plan):
        value = getattr(plan, field.name)
        if _PART in field.metadata:
            yield from _declared(value, without | set(field.metadata[_PART]))
        elif _OPTION in field.metadata:
            about = field.metadata[_OPTION]
            name = about.name or field.name
            if name not in without:
                yield Declared(name, field.name, about, value, plan.GROUP)


def _changed(plan: Plan, values: Mapping[str, Any]) -> Plan:
    new = {}
    for field in dataclasses.fields(plan):
        if _PART in field.metadata:
            kept = {n: v for n, v in values.items() if n not in field.metadata[_PART]}
            new[field.name] = _changed(getattr(plan, field.name), kept)
        elif _OPTION in field.metadata:
            for name in (field.metadata[_OPTION].name, field.name):
                if name in values:
                    new[field.name] = values[name]
    return dataclasses.replace(plan, **new)


def _kind_of(default: Any) -> Callable[[str], Any]:
    """What makes a value of a word: the type of the default value, or of its first one."""
    sample = default[0] if isinstance(default, tuple) and default else default
    return type(sample) if isinstance(sample, int | float) else str


def _check_kind(name: str, value: Any, kind: Callable[[str], Any]) -> None:
    """Raise :class:`InputError` where a number or a flag is something else, as Python may give."""
    expected = {bool: "True or False", int: "a whole number", float: "a number"}
    if value is None or kind not in expected:
        return
    types: Any = (float, int) if kind is float else kind
    for one in value if isinstance(value, tuple | list) else (value,):
        if not isinstance(one, types) or (isinstance(one, bool) and kind is not bool):
            raise InputError(f"--{name} {one!r}: expected {expected[kind]}")


def _check_value(name: str, about: Option, value: Any) -> None:
    """Raise :class:`InputError` where a value is out of range, or is none of the choices."""
    if value is None or isinstance(value, bool):
        return
    values = value if isinstance(value, tuple | list) else (value,)
    shown = " ".join(map(str, values))
    if not values and about.within:
        raise InputError(f"--{name}: expected at least one value")
    if about.within and not all(about.within.holds(number) for number in values):
        raise InputError(f"--{name} {shown}: expected {about.within.expected}")
    if about.ordered and values[0] > values[1]:
        raise InputError(f"--{name} {shown}: expected the smaller {about.ordered} first")
    if about.choices and not set(values) <= set(about.choices):
        raise InputError(f"--{name} {shown}: expected one of {', '.join(map(str, about.choices))}")


def add_options(
    parser: argparse.ArgumentParser, plan: Options, *, without: Sequence[str] = ()
) -> None:
    """Add the options of `plan` and of its parts to a parser, with their values as defaults.

    Those in `without` are left out.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for declared in plan.options():
        if declared.name in without:
            continue
        if declared.group not in groups:
            groups[declared.group] = parser.add_argument_group(declared.group)
        _add(groups[declared.group], declared)


def _add(group: argparse._ArgumentGroup, declared: Declared) -> None:
    name, _, about, value, _ = declared
    flag = f"--{name}"
    if isinstance(value, bool):
        group.add_argument(
            flag, f"--no_{name}", dest=name, action=_Flag, default=value, help=about.help
        )
        return
    several = isinstance(value, tuple)
    extra: dict[str, Any] = {"choices": about.choices} if about.choices else {}
    if about.const is not None:
        extra |= {"nargs": "?", "const": about.const}
    elif several or about.many is not None:
        extra["nargs"] = "+" if about.many is None else about.many
    if about.metavar is not None:
        extra["metavar"] = about.metavar
    kind, default = about.kind or _kind_of(value), list(value) if several else value
    group.add_argument(flag, type=kind, default=default, help=about.help, **extra)
    if about.const is not None and "none" in about.choices:  # on and off, as a pair of flags has it
        off = f"the same as {flag} none"
        group.add_argument(
            f"--no_{name}", dest=name, action="store_const", const="none", default=value, help=off
        )


def plan_from(plan: Plan, args: argparse.Namespace) -> Plan:
    """`plan` with the values that a parser of :func:`add_options` gave to its options.

    Raises :class:`InputError` for the first value that is out of range.
    """
    values = {}
    for declared in plan.options():
        value = getattr(args, declared.name, declared.value)
        values[declared.name] = tuple(value) if isinstance(value, list) else value
    return plan.changed(**values)
