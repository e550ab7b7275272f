"""Class names, and the way from a data set's mask values to the classes that a task keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from smaf.core.errors import InputError, did_you_mean
from smaf.core.files import read_text
from smaf.core.name_lists import listed_names
from smaf.core.names import check_names, find_class

IGNORE = 255
MAX_CLASSES = 254  # mask values are bytes: 0 is background and 255 is ignored

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read foreground class names, in the order of the masks' values.

    Files are read as people and annotation tools write them: one a line or all in one line, YAML,
    JSON, or CVAT's labelmap.txt. Running numbers (`8 cat`, with `0 background` as the field's
    `labels.txt` has it, or from 1), a heading and a first line `background` are dropped. What may
    shift a class against the masks is an :class:`InputError`, and so is a name that label tables
    cannot hold.
    """
    fix = "write one class name a line, or name another file"
    text = read_text(path, "class-name file", fix)
    try:
        names = listed_names(text)
    except ValueError as error:
        raise InputError(f"class-name file {path} {error}; {fix}") from error
    if not names:
        raise InputError(f"class-name file {path} has no names: write each class once, one a line")
    check_names(names, f"class-name file {path}")
    if len(names) > MAX_CLASSES:
        raise InputError(
            f"class-name file {path} has {len(names)} classes: masks hold at most {MAX_CLASSES}"
        )
    return tuple(names)


@dataclass(frozen=True)
class ClassMap:
    """The classes of a data set (`source`), and those that the task keeps (`names`).

    `names` have an order of their own. Class c of `names` is channel c of a network and value c + 1
    of the task's masks.
    """

    source: tuple[str, ...]
    names: tuple[str, ...]

    @staticmethod
    def of(
        source: Sequence[str], keep: Sequence[str] | None = None, *, keep_file: Path | str = ""
    ) -> ClassMap:
        """Keep the classes `keep` of `source`, by default all.

        Names are matched as :func:`smaf.core.names.find_class` does. An unknown name is an error,
        and so are two names of one class.
        """
        if keep is None:
            return ClassMap(tuple(source), tuple(source))
        where, found = keep_file or "class list", [find_class(name, source) for name in keep]
        unknown = [
            name + did_you_mean(name, source)
            for name, index in zip(keep, found, strict=True)
            if index is None
        ]
        if unknown:
            raise InputError(
                f"{where}: unknown class names {', '.join(unknown)}: the data set has "
                f"{', '.join(source)}"
            )
        names = tuple(source[index] for index in found if index is not None)
        check_names(names, where)
        return ClassMap(tuple(source), names)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def indices(self) -> np.ndarray:
        """(C,) int64: for each kept class its index in the data set."""
        return np.array([self.source.index(name) for name in self.names], dtype=np.int64)

    @cached_property
    def lookup(self) -> np.ndarray:
        """(256,) uint8, the task's value of each of the data set's mask values.

        Dropped classes become 255, which is left out.
        """
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[0] = 0
        table[self.indices + 1] = np.arange(1, len(self.names) + 1)
        return table

    def map_mask(self, mask: np.ndarray, source: Path | str) -> np.ndarray:
        """(H, W) uint8 mask with the data set's values → the task's values.

        The mask itself where the task keeps all classes in their order. Raises :class:`InputError`
        where the mask has a value outside the data set's classes.
        """
        # 255 + 1 is 0: the largest class by one pass, without looking up where 255 is
        if int((mask + np.uint8(1)).max(initial=0)) > len(self.source) + 1:
            values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
            outside = [int(v) for v in values if len(self.source) < v < IGNORE]
            raise InputError(
                f"mask {source} has the values {outside}, but the data set's classes are "
                f"1..{len(self.source)} (0 background, 255 ignore): mend it or --class_names"
            )
        return mask if self.names == self.source else self.lookup[mask]

    def map_label(self, label: np.ndarray) -> np.ndarray:
        """(number of the data set's classes,) image label → (C,) float32 of the kept classes."""
        return np.asarray(label, dtype=np.float32)[self.indices]
