"""Class names, and the way from a data set's mask values to the classes that a task keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import read_lines

IGNORE = 255
MAX_CLASSES = 254  # mask values are bytes: 0 is background and 255 is ignored

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read foreground class names, one a line; a leading number and a first line `background` are dropped.

    Both `8 cat` (with `0 background` first, as the field's `labels.txt` has it) and `cat` are read.
    """
    lines = read_lines(path, "class-name file", "write one class name a line, or name another file")
    names = [re.sub(r"^\d+[\s,:]+", "", line) for line in lines]
    if names and names[0].lower() in {"background", "__background__"}:
        names = names[1:]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if not names or doubled:
        fault = f"the names {', '.join(doubled)} twice" if doubled else "no names"
        raise InputError(f"class-name file {path} has {fault}: write each class once, one a line")
    if len(names) > MAX_CLASSES:
        raise InputError(f"class-name file {path} has {len(names)} classes: masks hold at most {MAX_CLASSES}")
    return tuple(names)


@dataclass(frozen=True)
class ClassMap:
    """The classes of a data set (`source`) and those that the task keeps (`names`, in their own order).

    Class c of `names` is channel c of a network and value c + 1 of the task's masks.
    """

    source: tuple[str, ...]
    names: tuple[str, ...]

    @staticmethod
    def of(source: Sequence[str], keep: Sequence[str] | None = None, *, keep_file: Path | str = "") -> ClassMap:
        """Keep the classes `keep` of `source` (all where it is None); an unknown name is an error."""
        unknown = [name for name in keep or () if name not in source]
        if unknown:
            raise InputError(f"{keep_file or 'class list'}: unknown class names {', '.join(unknown)}: "
                             f"the data set has {', '.join(source)}")
        return ClassMap(tuple(source), tuple(source if keep is None else keep))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def indices(self) -> np.ndarray:
        """(C,) int64: for each kept class its index in the data set."""
        return np.array([self.source.index(name) for name in self.names], dtype=np.int64)

    @cached_property
    def lookup(self) -> np.ndarray:
        """(256,) uint8: a data set's mask value to the task's; dropped classes become 255 (left out)."""
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[0] = 0
        table[self.indices + 1] = np.arange(1, len(self.names) + 1)
        return table

    def map_mask(self, mask: np.ndarray, source: Path | str) -> np.ndarray:
        """(H, W) uint8 mask with the data set's values → the task's values.

        Raises :class:`InputError` where the mask has a value outside the data set's classes.
        """
        values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
        outside = [int(v) for v in values if len(self.source) < v < IGNORE]
        if outside:
            raise InputError(f"mask {source} has the values {outside}, but the data set's classes are "
                             f"1..{len(self.source)} (0 background, 255 ignore): mend it or --class_names")
        return self.lookup[mask]

    def map_label(self, label: np.ndarray) -> np.ndarray:
        """(number of the data set's classes,) image label → (C,) float32 of the kept classes."""
        return np.asarray(label, dtype=np.float32)[self.indices]
