"""Lists of class names as people and annotation tools write them: numbered, with a heading, as YAML, JSON, labelmap.

A class's place in the list is its value in the masks. What could shift it is read where it can mean one thing only, and
is a ValueError otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from smaf.core.names import is_background, name_key, unquoted

_IGNORE = 255
_HEADINGS = {"id", "index", "idx", "value", "pixelvalue", "number", "no", "nr", "classid", "classindex", "labelid",
             "categoryid", "name", "names", "class", "classes", "classname", "classnames", "label", "labels",
             "labelname", "labelnames", "category", "categories", "categoryname", "categorynames"}
# What lists may have for mask value 0 or 255 instead of a class
_NO_CLASS = {"void", "ignore", "ignored"}
_LIKE_BACKGROUND = {"unlabeled", "unlabelled", "unknown", "none", "null", "nothing", "empty", "other", "others"}
_FRONT = re.compile(r"(?P<number>\d{1,9})(?P<gap>\s*[,:;=)|]\s*|\.\s+|\s+-\s+|\s+)(?P<name>\S.*)")
_BEHIND = re.compile(r"(?P<name>\S|\S.*?\S)(?P<gap>\s*[,:;=|]\s*|\s+)(?P<number>\d{1,9})")
_LABELMAP = re.compile(r"(?P<name>[^:]+):(\d+,\d+,\d+)?:[^:]*:[^:]*")  # CVAT: name:colour:parts:actions


def listed_names(text: str) -> list[str]:
    """The class names of a list in its order, without numbers, heading and background.

    Raises ValueError, which says what is amiss with the list.
    """
    entries = _entries(text)
    if entries and all(_LABELMAP.fullmatch(entry) for entry in entries):
        names, first = [entry.split(":")[0].strip() for entry in entries], None
    else:
        names, first = _without_numbers(entries)
    names = [unquoted(name) for name in names]
    if names and first is None and re.fullmatch(r"_+ignore_+", names[0].lower()):  # labelme: it stands for -1
        names = names[1:]
    if names and is_background(names[0]):
        if first == 1:
            raise ValueError("gives the background the number 1, but its value in masks is 0: number it 0")
        names = names[1:]
    elif names and first != 1 and name_key(names[0]) in _LIKE_BACKGROUND:
        raise ValueError(f"begins with {names[0]!r}: call it background if it is 0 in the masks, or number the lines "
                         "from 1 if it is a class")
    for name in names:
        if is_background(name):
            raise ValueError(f"has {name!r} after a class: it must come first, since mask values follow the lines")
        if re.match(r"[\W_]*background\b", name.lower()):
            raise ValueError(f"has {name!r} among the classes: background alone, in the first place")
        if name_key(name) in _NO_CLASS:
            raise ValueError(f"has {name!r} for a class: take it off the list if it is 255 in the masks, or rename it")
        if re.search(r"[\s,]\d+[\s,]+\d+$", name):
            raise ValueError(f"has {name!r}: a number and a name at most in a line")
    return names


def _entries(text: str) -> list[str]:
    """What stands for a class each, numbers included, without the heading."""
    text = _below_names_key(re.sub(r"\r\n?", "\n", text)).strip()
    if text[:1] in {"[", "{"}:
        return _flow(text)
    lines = _without_comments(text.split("\n"))
    if all(re.match(r"[-*]\s", line) for line in lines):
        lines = [line[1:].strip() for line in lines]
    lines = [line.rstrip(",; \t") for line in lines]
    if len(lines) > 1 and _is_heading(lines[0]):  # a class may be called so, but not the first one of several
        lines = lines[1:]
    if len(lines) == 1 and not any(form.fullmatch(lines[0]) for form in (_FRONT, _BEHIND, _LABELMAP)):
        word, colon, rest = lines[0].partition(":")
        lines = re.split(r"[,;|\t]", rest if colon and rest and _is_heading(word) else lines[0])
    return [line for line in map(unquoted, lines) if line]


def _below_names_key(text: str) -> str:
    """What a YAML file has below its key `names`; another text as it is."""
    lines = text.split("\n")
    place = next((index for index, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if place is None:
        return text
    rest, after = lines[place].partition(":")[2].strip(), lines[place + 1:]
    if rest[:1] in {"[", "{"}:
        return "\n".join([rest, *after])
    block = list(takewhile(lambda line: not line.strip() or line[0] in " \t-", after))
    return "\n".join(block) if any(line.strip() for line in block) else text


def _without_comments(lines: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for line in map(str.strip, lines):
        if line.startswith("#") and kept and not (re.match(r"#+(\s|$)", line)):
            raise ValueError(f"has the line {line!r}: a comment begins with # and a space, a class name with another "
                             "character")
        if line and not line.startswith("#"):
            kept.append(line)
    return kept


def _flow(text: str) -> list[str]:
    """Entries of a list or mapping in brackets: JSON, YAML or Python."""
    close = {"[": "]", "{": "}"}[text[0]]
    if close not in text:
        raise ValueError(f"begins with {text[0]} and has no {close}")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    except ValueError:
        inner = text[1:text.index(close)]
        if re.search(r"[\[{]", inner):
            raise ValueError("has brackets within brackets: names alone are expected") from None
        return [entry for part in re.split(r"[,\n]", inner) if (entry := unquoted(part))]
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), list | dict):
        value = next(iter(value.values()))  # {"names": [...]}
    pairs = value.items() if isinstance(value, dict) else ((None, name) for name in value)
    entries = []
    for key, name in pairs:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise ValueError(f"holds {type(name).__name__}s where class names are expected")
        entries.append(str(name) if key is None else f"{key}: {name}")
    return entries


def _is_heading(entry: str) -> bool:
    return all(name_key(word) in _HEADINGS for word in re.split(r"[\s,;:|]+", entry.strip(" \t:")))


def _without_numbers(entries: Sequence[str]) -> tuple[list[str], int | None]:
    """Names without their running numbers, and the first number (0 or 1; None where the names have no numbers).

    A number may belong to a name: `3d printer`, `2 door car`. Numbers of some lines only, and numbers that do not
    run from 0 or 1, are a ValueError where they may mean mask values.
    """
    entries = [re.sub(r"""(["'])(\d+)\1""", r"\2", entry) for entry in entries]
    for pattern in (_FRONT, _BEHIND):
        found = [pattern.fullmatch(entry) for entry in entries]
        matches = [match for match in found if match]
        if not matches:
            continue
        whole = len(matches) == len(entries)
        numbers, names = [int(match["number"]) for match in matches], [match["name"] for match in matches]
        if whole and len(numbers) > 1 and numbers[-1] == _IGNORE > len(numbers):
            numbers, names = numbers[:-1], names[:-1]
        running = numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] in {0, 1}
        if whole and running and len(set(names)) == len(names):
            return names, numbers[0]
        separated = any(match["gap"].strip() for match in matches)
        in_place = any(match and int(match["number"]) in {index, index + 1} for index, match in enumerate(found))
        if separated or (pattern is _FRONT and (whole or in_place)):
            raise ValueError("has numbers that do not run from 0 or 1 line by line, as mask values do "
                             f"({matches[0].string!r}): order and number all lines, or none")
    return entries, None
