"""What a source of labels says: classes, which photographs show which, lists and true masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from smaf.core.found_names import means_none
from smaf.core.names import class_index, find_class
from smaf.data.init.faults import Faults
from smaf.data.init.matching import FileIndex
from smaf.data.prepare.coco_masks import Region

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


class Outline(NamedTuple):
    """A true mask to paint: shape (H, W), regions of classes in `names`' order, the file."""

    shape: tuple[int, int]
    regions: list[Region]
    source: Path


@dataclass
class Labelled:
    """Labels of photographs, which are paths below their folder.

    `names` are all classes, in the order of the masks' values; `shown` is photograph → names of
    the classes that it shows, perhaps none. `lists` is list name → photographs, where the source
    tells. `outlines` and `masks` (files below the folder) are true masks.
    """

    names: tuple[str, ...]
    shown: dict[str, frozenset[str]]
    lists: dict[str, list[str]] = field(default_factory=dict)
    outlines: dict[str, Outline] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)


class Said(NamedTuple):
    """What a row says: where it stands, which photograph it names, and names of classes.

    `whole`: the photograph shows no other classes. `below`: folders that the name may start from.
    `mask` is the name of the photograph's mask.
    """

    where: str
    photograph: str
    names: tuple[str, ...]
    whole: bool = False
    below: tuple[str, ...] = ()
    mask: str = ""


def canonical(names: Iterable[str], classes: tuple[str, ...], where: str) -> frozenset[str]:
    """The classes that `names` mean, without words for none of them.

    Raises :class:`InputError` for a name that is no class.
    """
    return frozenset(
        classes[class_index(name, classes, where)]
        for name in names
        if find_class(name, classes) is not None or not means_none(name)
    )


def collect(
    rows: Iterable[Said], classes: tuple[str, ...], index: FileIndex, faults: Faults
) -> dict[str, frozenset[str]]:
    """Return photograph → classes of rows, each photograph's united.

    Rows whose photograph is not there, or that may mean several, are faults; so are photographs
    whose rows contradict each other: one shows nothing, or one that is whole shows something else.
    """
    shown: dict[str, set[str]] = {}
    first: dict[str, tuple[Said, frozenset[str]]] = {}
    conflicts: dict[str, str] = {}
    for row in rows:
        file = find_one(row, index, faults)
        if file is None:
            continue
        classes_of_row = canonical(row.names, classes, row.where)
        other, before = first.setdefault(file, (row, classes_of_row))
        if bool(before) != bool(classes_of_row) or (row.whole and before != classes_of_row):
            conflicts.setdefault(file, f"{other.where} and {row.where}")
        shown.setdefault(file, set()).update(classes_of_row)
    for file, where in conflicts.items():
        faults.add("conflicting rows", file, where)
        del shown[file]
    return {file: frozenset(found) for file, found in shown.items()}


def find_one(row: Said, index: FileIndex, faults: Faults) -> str | None:
    """The photograph that a row names; None, and a fault, where it is not one."""
    found = index.find(row.photograph, below=row.below)
    if len(found) == 1:
        return found[0]
    if found:
        faults.add("ambiguous row", row.photograph, f"{row.where}: {' or '.join(found[:3])}")
    else:
        faults.add("row without photograph", row.photograph, row.where)
    return None


def split_name(*words: str) -> str | None:
    """The list that the first known of `words` names: `valid` is val.

    Example:
        >>> split_name("annotations", "instances_train2017"), split_name("valid"), split_name("cat")
        ('train', 'val', None)
    """
    for word in words:
        plain = word.lower().removeprefix("instances_").rstrip("0123456789_-")
        if plain in SPLITS:
            return SPLITS[plain]
    return None


def renamed(
    shown: Mapping[str, Iterable[str]], classes: tuple[str, ...], where: str
) -> dict[str, frozenset[str]]:
    """Photograph → classes, spelled as in `classes`."""
    return {file: canonical(names, classes, where) for file, names in shown.items()}
