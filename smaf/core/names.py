"""Class names as people write them: their classes, what cannot be a name, cells of several."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from smaf.core.errors import InputError, did_you_mean
from smaf.core.files import plain_name

_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u200b\u2028\u2029\u2060\ufeff\ud800-\udfff]")
_NUMBER = re.compile(r"-?\d+(\.0*)?")


def name_key(name: str) -> str:
    """Return `name` without what is written in one way or another.

    Case, spaces, underscores and decomposed letters do not count.

    Example:
        >>> name_key("Potted_Plant ")
        'pottedplant'
    """
    return plain_name(re.sub(r"[\s_]+", "", name.casefold()))


def is_background(name: str) -> bool:
    """Whether `name` means the background, as `__background__` and `BG` do.

    It is in every picture and no class.
    """
    return name_key(name) in {"background", "bg"}


@lru_cache(maxsize=16)
def _places(classes: tuple[str, ...]) -> tuple[dict[str, int], dict[str, int]]:
    """Name → index, and :func:`name_key` → index where one class alone has it."""
    keys = [name_key(name) for name in classes]
    times = Counter(keys)
    return (
        {name: index for index, name in enumerate(classes)},
        {key: index for index, key in enumerate(keys) if times[key] == 1},
    )


def find_class(name: str, classes: Sequence[str]) -> int | None:
    """Return the index of the class that `name` means, or None.

    That is the same name, else the only one with the same :func:`name_key`.
    """
    names, keys = _places(tuple(classes))
    index = names.get(name)
    return keys.get(name_key(name)) if index is None else index


def class_index(name: str, classes: Sequence[str], where: Path | str) -> int:
    """Return the index of the class that `name` means, as :func:`find_class` does.

    Else raises :class:`InputError`, which names the place, the classes and the nearest of them.
    """
    index = find_class(name, classes)
    if index is not None:
        return index
    if _NUMBER.fullmatch(name):
        raise InputError(
            f"{where}: the number {name} instead of a class name: numbers may count from 0 or from "
            f"1, so write the names, of which the data set has {', '.join(classes)}"
        )
    raise InputError(
        f"{where}: unknown class name {name!r:.80}{did_you_mean(name, classes)}: the data set has "
        f"{', '.join(classes)}"
    )


def _fault(name: str) -> str | None:
    """Return what is wrong with a name that a list or a label table cannot hold."""
    if _CONTROL.search(name):
        return "has a control character in it"
    if re.search(r"[;,|]", name):
        return "has one of ; , | in it, which separate names in label tables"
    if re.match(r"[\W\d_]*background\b", name.lower()):
        return "is background and more, which is no class: background alone comes first in a list"
    if re.search(r"[\s,]\d+[\s,]+\d+$|\s#", name):
        return "has more in it than a name, which has a number before or after it at most"
    if re.search(r"""^[\[\]{}()<>"'*#/=:-]|[\[{(=:]$""", name) or not any(
        letter.isalnum() for letter in name
    ):
        return "does not read like a name"
    return None


def check_names(names: Iterable[str], source: Path | str) -> None:
    """Raise :class:`InputError` for a name that comes twice, or that tables cannot hold.

    Separators and control characters (a line's end is one) would make two names of one, and what is
    more than a name may shift the classes after it; names that differ only in case, spaces or
    underscores cannot be told apart.
    """
    known: dict[str, str] = {}
    for name in names:
        if fault := _fault(name):
            raise InputError(f"{source}: class name {name!r:.80} {fault}: rename it")
        other = known.get(name_key(name))
        known[name_key(name)] = name
        if other is not None:
            twice = (
                f"the names {name} twice"
                if other == name
                else (
                    f"the names {other!r} and {name!r}, which differ only in case, spaces or "
                    "underscores"
                )
            )
            raise InputError(f"{source} has {twice}: write each class once")


def unquoted(text: str) -> str:
    """`text` without spaces and the one pair of quotes around it."""
    quoted = re.fullmatch(r"""\s*("[^"]*"|'[^']*')\s*""", text)
    return (quoted[1][1:-1] if quoted else text).strip()


def split_names(cell: str, classes: Sequence[str]) -> list[str]:
    """Split the names of one table cell.

    Such cells are `cat;dog`, `cat, dog`, `cat|dog`, `["cat", "dog"]` and `cat dog`. Spaces separate
    only where each word is a class: another name may have a space.
    """
    cell = unquoted(cell)
    if find_class(cell, classes) is not None:
        return [cell]
    if cell[:1] + cell[-1:] in {"[]", "()", "{}"}:
        cell = cell[1:-1]
    parts = [name for part in re.split(r"[;,|\n]", cell) if (name := unquoted(part))]
    words = [unquoted(word) for word in cell.split()]
    if len(parts) == 1 and all(
        is_background(word) or find_class(word, classes) is not None for word in words
    ):
        return words
    return parts
