"""What all formats of annotation tools share: the pictures that go out, and what comes back.

A format is a class with the methods of :class:`Format`, in a file of its own, and a line of the
table in :mod:`smaf.data.formats`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from smaf.core.classes import IGNORE, read_class_names
from smaf.core.files import write_text
from smaf.core.image_files import stand_of
from smaf.core.images import read_mask
from smaf.data.formats.outlines import Part, connected_parts
from smaf.data.formats.place import Place

CLASS_LIST = "classes.txt"


@dataclass(frozen=True)
class Picture:
    """A photograph whose mask goes to a tool.

    Args:
        file: its file's name in the export, `<id>` and a suffix: no two differ in the stem.
        size: (width, height), upright.
        split: the list that it belongs to, "train" or "val".
        mask: reads its mask, (H, W) uint8: 0 background, c + 1 class c, 255 ignored.
        put: writes the photograph to a path.
    """

    image_id: str
    file: str
    size: tuple[int, int]
    split: str
    mask: Callable[[], np.ndarray]
    put: Callable[[Path], None]


@dataclass(frozen=True)
class Export:
    """What a format writes.

    Args:
        folder: an empty folder.
        classes: names of the classes, in the order of the masks' values.
        polygons: outlines in the place of run lengths.
        tolerance: pixels by which points of an outline may be off, so that fewer do.
        split: an object for each connected part of a class, instead of one for all of them.
        url: what comes before a photograph's file name where a tool fetches photographs.
    """

    folder: Path
    classes: tuple[str, ...]
    pictures: Sequence[Picture]
    polygons: bool = False
    tolerance: float = 0.0
    split: bool = False
    url: str | None = None

    def regions(self, mask: np.ndarray) -> Iterator[Region]:
        """Yield the objects of a mask: classes in their order, without pixels that are ignored."""
        for value in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist():
            if not 0 < value < IGNORE:
                continue
            whole = mask == value
            ys, xs = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
            x, y = int(xs[0]), int(ys[0])
            pixels = whole[y : int(ys[-1]) + 1, x : int(xs[-1]) + 1]
            parts = connected_parts(pixels, x=x, y=y) if self.split else [Part(x, y, pixels)]
            for part in parts:
                yield Region(value - 1, part.x, part.y, part.pixels)


class Region(NamedTuple):
    """An object: its class 0..C-1 and its pixels (h, w) bool, the first at column x, row y."""

    class_index: int
    x: int
    y: int
    pixels: np.ndarray

    @property
    def area(self) -> int:
        """The number of its pixels."""
        return int(self.pixels.sum())

    @property
    def box(self) -> list[int]:
        """The least box around it: left, top, width, height."""
        height, width = self.pixels.shape
        return [self.x, self.y, width, height]

    def whole(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W) bool of a picture of `size` (width, height)."""
        region = np.zeros(size[::-1], dtype=bool)
        height, width = self.pixels.shape
        region[self.y : self.y + height, self.x : self.x + width] = self.pixels
        return region


class Layer(NamedTuple):
    """Pixels (H, W) bool of what `label` says.

    That is a class by its name (background is background), a class by its value in the data set's
    masks, or None: ignored, 255.
    """

    label: str | int | None
    pixels: np.ndarray


@dataclass(frozen=True)
class Annotated:
    """What a file says of one photograph.

    Args:
        name: the photograph's, as the file has it.
        where: file and place in it, for messages.
        size: (width, height) that the file says; None where it says none.
        layers: draws the objects, the lowest first, into a picture of a shape (H, W). Raises
            ValueError for what cannot be drawn.
        looked_at: somebody, or some mask, says that where no object is there is background.
    """

    name: str
    where: str
    size: tuple[int, int] | None
    layers: Callable[[tuple[int, int]], Iterator[Layer]]
    looked_at: bool = False


class Format(Protocol):
    """A format of an annotation tool."""

    name: str
    about: str  # what `--help` says
    takes: frozenset[str]  # of polygons, split and url, those that mean something here
    ignores: bool  # whether it can say that a pixel is ignored

    def write(self, export: Export) -> None:
        """Write all pictures of an export, and its photographs where the tool wants them."""

    def claims(self, place: Place) -> bool:
        """Whether a file or folder seems to be of this format."""

    def read(self, place: Place) -> list[Annotated]:
        """What a file or folder says of each photograph.

        Raises :class:`~smaf.core.errors.InputError` for what is not as the format has it.
        """


def mask_layers(path: Path, names: Sequence[str] | None, shape: tuple[int, int]) -> Iterator[Layer]:
    """Yield the values of a mask file as layers; `names` are those of the values 1, 2, ….

    Without names the values are those of the data set's masks. Raises ValueError for a value
    without a name, and for another size.
    """
    mask = read_mask(path, size=shape[::-1])
    for value in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist():
        if names is not None and len(names) < value < IGNORE:
            raise ValueError(f"it has the value {value}, but there are {len(names)} classes")
        if value == IGNORE:
            yield Layer(None, mask == value)
        elif value:
            yield Layer(value if names is None else names[value - 1], mask == value)


def annotated_mask(path: Path, names: Sequence[str] | None, name: str | None = None) -> Annotated:
    """What a mask file says of the photograph `name`, by default the one called like it.

    A mask says of each pixel what it is, so that no object means background.
    """
    size = stand_of(path, "mask").size
    layers = partial(mask_layers, path, names)
    return Annotated(name or path.stem, f"mask {path}", size, layers, looked_at=True)


def write_class_list(folder: Path, classes: Sequence[str]) -> None:
    """Write `classes.txt`, which names the values of masks: 0 background, and so on."""
    write_text(folder / CLASS_LIST, "\n".join(["background", *classes]) + "\n")


def listed_classes(place: Place) -> tuple[str, ...] | None:
    """The names in a folder's `classes.txt`; None where it has none."""
    path = place.file(CLASS_LIST)
    return read_class_names(path) if place.is_folder and path.is_file() else None
