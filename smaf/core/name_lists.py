"""Lists of class names as people and annotation tools write them.

They may be numbered, have a heading, and be YAML, JSON or a labelmap. A class's place in the list
is its value in the masks. What could shift it is read where it can mean one thing only, and is a
ValueError otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from smaf.core.names import is_background, name_key, unquoted

_IGNORE = 255
# Headings as name_key has them
_NUMBERS = {
    "id",
    "index",
    "idx",
    "value",
    "pixelvalue",
    "number",
    "classid",
    "classindex",
    "labelid",
    "categoryid",
}
_NAMES = {
    "name",
    "names",
    "class",
    "classes",
    "classname",
    "classnames",
    "label",
    "labels",
    "labelname",
    "labelnames",
    "category",
    "categories",
    "categoryname",
    "categorynames",
}
# What lists may have for mask value 0 or 255 instead of a class
_UNLABELLED = {"unlabeled", "unlabelled", "none", "nothing", "empty"}
_LIKE_BACKGROUND = _UNLABELLED | {"unknown", "null", "other", "others"}
_NO_CLASS = {"void", "ignore", "ignored"}
_FRONT = re.compile(r"(?P<number>\d{1,9})(?P<gap>\s*[,:;=)|]\s*|\.\s+|\s+-\s+|\s+)(?P<name>\S.*)")
_BEHIND = re.compile(r"(?P<name>\S|\S.*?\S)(?P<gap>\s*[,:;=|]\s*|\s+)(?P<number>\d{1,9})")
_LABELMAP = re.compile(
    r"(?P<name>[^:]+):(\d+,\d+,\d+)?:[^:]*:[^:]*"
)  # CVAT: name:colour:parts:actions
_CLOSING = {"[": "]", "{": "}", "(": ")"}


def listed_names(text: str) -> list[str]:
    """The class names of a list in its order, without numbers, heading and background.

    Raises ValueError, which says what is amiss with the list.
    """
    entries = _entries(text)
    if entries and re.fullmatch(
        r"(-1[\s,:;]+)?_+ignore_+", entries[0].lower()
    ):  # labelme's, for no label
        entries = entries[1:]
    if entries and all(_LABELMAP.fullmatch(entry) for entry in entries):
        names, first = [entry.split(":")[0].strip() for entry in entries], None
    else:
        names, first = _without_numbers(entries)
    names = _without_background([unquoted(name) for name in names], first)
    for name in names:
        if is_background(name):
            raise ValueError(
                f"has {name!r} after a class: it must come first, since mask values follow the "
                "lines"
            )
        if first is None and name_key(name) in _NO_CLASS:
            raise ValueError(
                f"has {name!r} for a class: take it off the list if it is 255 in the masks, or "
                "number the lines"
            )
    return names


def _without_background(names: list[str], first: int | None) -> list[str]:
    """Return the names without a first name that means background.

    `first` is the number of the first name, None where there are no numbers.
    """
    if not names:
        return names
    if is_background(names[0]) or (first == 0 and name_key(names[0]) in _UNLABELLED):
        if first == 1:
            raise ValueError(
                "gives the background the number 1, but its value in masks is 0: number it 0"
            )
        return names[1:]
    if first != 1 and name_key(names[0]) in _LIKE_BACKGROUND:
        raise ValueError(
            f"begins with {names[0]!r:.80}: call it background if it is 0 in the masks, or number "
            "the lines from 1 if it is a class"
        )
    return names


def _entries(text: str) -> list[str]:
    """What stands for a class each, numbers included, without the heading."""
    text = _below_key(re.sub(r"\r\n?", "\n", text)).strip()
    if text[:1] in _CLOSING and text[-1:] == _CLOSING[text[0]]:
        return _flow(text)
    lines = _without_comments(text.split("\n"))
    if len(lines) > 1 and _is_heading(
        lines[0]
    ):  # a class may be called so, but not the first one of several
        lines = lines[1:]
    if all(re.match(r"[-*]\s", line) for line in lines):
        lines = [line[1:].strip() for line in lines]
    lines = [line.rstrip(",; \t") for line in lines]
    if len(lines) == 1 and not any(
        form.fullmatch(lines[0]) for form in (_FRONT, _BEHIND, _LABELMAP)
    ):
        lines = re.split(r"[,;|\t]", lines[0])
    return [line for line in map(unquoted, lines) if line]


def _below_key(text: str) -> str:
    """Return what a file has below a key; another text is returned as it is.

    Keys are `names:` in YAML, `CLASSES = (…)` in code.
    """
    lines = text.split("\n")
    for place, line in enumerate(lines):
        key = re.match(r"(\w+)\s*[:=]\s*", line)
        if key is None or name_key(key[1]) not in _NAMES:
            continue
        rest, after = re.sub(r"^#.*", "", line[key.end() :]), lines[place + 1 :]
        close = _CLOSING.get(rest[:1])
        if close is not None:
            inside, found, _ = "\n".join([rest, *after]).partition(close)
            return inside + found
        block = list(takewhile(lambda line: not line.strip() or line[0] in " \t-", after))
        if not rest and any(line.strip() for line in block):
            return "\n".join(block)
        if rest and not any(map(str.strip, [*lines[:place], *after])):
            return rest  # Classes: cat, dog
    return text


def _without_comments(lines: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for line in map(str.strip, lines):
        if (
            line.startswith("#")
            and not re.match(r"#+(\s|$)", line)
            and not _is_heading(line.strip("#"))
        ):
            raise ValueError(
                f"has the line {line!r:.80}: a comment begins with # and a space, a class name "
                "with another character"
            )
        if line and not line.startswith("#"):
            kept.append(line)
    return kept


def _flow(text: str) -> list[str]:
    """Entries of a list or mapping in brackets: JSON, YAML or Python."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    except ValueError:
        if re.search(r"[\[{(]", text[1:]):
            raise ValueError("has brackets within brackets: names alone are expected") from None
        return [entry for part in re.split(r"[,\n]", text[1:-1]) if (entry := unquoted(part))]
    if (
        isinstance(value, dict)
        and len(value) == 1
        and isinstance(next(iter(value.values())), list | dict)
    ):
        value = next(iter(value.values()))  # {"names": [...]}
    pairs = value.items() if isinstance(value, dict) else ((None, name) for name in value)
    entries = []
    for key, name in pairs:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise ValueError(f"holds {type(name).__name__}s where class names are expected")
        entries.append(str(name) if key is None else f"{key}: {name}")
    return entries


def _is_heading(line: str) -> bool:
    """Whether the cells of a line are all headings.

    Such lines are `name`, `Classes:`, `id,name`, `Pixel Value, Class`, `id name`.
    """
    cells = re.split(r"[,;:|\t]", line.strip(" \t:"))
    cells = cells if len(cells) > 1 or name_key(cells[0]) in _NAMES else cells[0].split()
    keys = [name_key(cell) for cell in cells]
    return all(key in _NUMBERS | _NAMES for key in keys) and any(key in _NAMES for key in keys)


def _without_numbers(entries: Sequence[str]) -> tuple[list[str], int | None]:
    """Return names without their running numbers, and the first number.

    That is 0 or 1, or None where the names have no numbers. A number may belong to a name: `3d
    printer`, `2 door car`. Numbers of some lines only, and numbers that do not run from 0 or 1, are
    a ValueError where they may mean mask values.
    """
    entries = [re.sub(r"""(["'])(\d+)\1""", r"\2", entry) for entry in entries]
    for pattern in (_FRONT, _BEHIND):
        found = [pattern.fullmatch(entry) for entry in entries]
        matches = [match for match in found if match]
        if not matches:
            continue
        whole = len(matches) == len(entries)
        numbers, names = (
            [int(match["number"]) for match in matches],
            [match["name"] for match in matches],
        )
        if whole and len(numbers) > 1 and numbers[-1] == _IGNORE > len(numbers):
            numbers, names = numbers[:-1], names[:-1]
        running = numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] in {
            0,
            1,
        }
        separated = any(match["gap"].strip() for match in matches)
        if whole and running and (pattern is _FRONT or separated or len(set(names)) == len(names)):
            return names, numbers[0]
        in_place = any(
            match and int(match["number"]) in {index, index + 1}
            for index, match in enumerate(found)
        )
        if separated or (pattern is _FRONT and (whole or in_place)):
            raise ValueError(
                "has numbers that do not run from 0 or 1 line by line, as mask values do "
                f"({matches[0].string!r:.80}): order and number all lines, or none"
            )
    return entries, None
