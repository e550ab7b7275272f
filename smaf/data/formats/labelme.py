"""labelme: a JSON file a photograph, beside it."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import read_json, write_json
from smaf.core.inner_png import binary_of, binary_text
from smaf.data.formats.drawing import draw_polygons, flat, inside
from smaf.data.formats.format import Annotated, Export, Layer, Picture
from smaf.data.formats.place import FIX, Place

log = logging.getLogger("smaf")
VERSION = "5.5.0"  # the format of shapes with masks
_AREAS = ("mask", "polygon", "rectangle")


class Labelme:
    """labelme's JSON: shapes of type mask, two corners and a PNG of the pixels between them.

    The second corner is the last pixel, not the one behind it. Reading takes masks, polygons and
    rectangles of a file, or of all JSON files in a folder; of shapes that overlap the later one
    wins. A file without a shape may be one that was exported so.
    """

    name = "labelme"
    about = "labelme's JSON, a file a photograph, masks"
    takes = frozenset({"split"})
    ignores = False

    def write(self, export: Export) -> None:
        """Write `<id>.json` beside each photograph."""
        for picture in export.pictures:
            picture.put(export.folder / picture.file)
            width, height = picture.size
            value: dict[str, Any] = {
                "version": VERSION,
                "flags": {},
                "shapes": _shapes(picture, export),
                "imagePath": picture.file,
                "imageData": None,
                "imageHeight": height,
                "imageWidth": width,
            }
            write_json(export.folder / f"{picture.image_id}.json", value)

    def claims(self, place: Place) -> bool:
        """A JSON file with shapes and imagePath, or a folder whose first JSON file is so."""
        files = _files(place)
        return bool(files) and _is_labelme(read_json(files[0], "file", FIX))

    def read(self, place: Place) -> list[Annotated]:
        """The photograph of a file, or those of the JSON files in a folder."""
        files = _files(place)
        if not files:
            raise InputError(f"{place} has no JSON file: name labelme's file, or their folder")
        return [_read(path) for path in files]


def _files(place: Place) -> list[Path]:
    if place.suffix == ".json":
        return [place.path]
    return [place.file(n) for n in place.names if posixpath.splitext(n)[1].lower() == ".json"]


def _is_labelme(value: Any) -> bool:
    return isinstance(value, dict) and {"shapes", "imagePath"} <= value.keys()


def _shapes(picture: Picture, export: Export) -> list[dict[str, Any]]:
    shapes: list[dict[str, Any]] = []
    for region in export.regions(picture.mask()):
        left, top, width, height = region.box
        shapes.append(
            {
                "label": export.classes[region.class_index],
                "points": [[left, top], [left + width - 1, top + height - 1]],
                "group_id": None,
                "description": "",
                "shape_type": "mask",
                "flags": {},
                "mask": binary_text(region.pixels),
            }
        )
    return shapes


def _read(path: Path) -> Annotated:
    value = read_json(path, "file", FIX)
    shapes = value.get("shapes") if _is_labelme(value) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise InputError(f"file {path} is not labelme's: expected shapes and imagePath: {FIX}")
    size = (value.get("imageWidth"), value.get("imageHeight"))
    if not all(type(side) is int and side > 0 for side in size):
        raise InputError(f"file {path}: imageWidth and imageHeight are {size}: {FIX}")
    others = {str(shape.get("shape_type")) for shape in shapes} - {*_AREAS, "None"}
    if others:
        log.warning("warning: file %s: shapes are left out (%s)", path, sorted(others))
    areas = [shape for shape in shapes if shape.get("shape_type") in (*_AREAS, None)]
    return Annotated(
        str(value["imagePath"]), f"file {path}", (size[0], size[1]), partial(_layers, areas)
    )


def _layers(shapes: list[dict[str, Any]], shape: tuple[int, int]) -> Iterator[Layer]:
    """Shapes of one label that follow each other are drawn at once: they may be thousands."""
    draw = {"mask": _mask, "rectangle": _rectangle}
    for label, group in groupby(shapes, key=lambda one: str(one.get("label"))):
        region = np.zeros(shape, dtype=bool)
        for one in group:
            draw.get(str(one.get("shape_type")), _polygon)(one, region)
        yield Layer(label, region)


def _draw(numbers: list[float], region: np.ndarray) -> None:
    height, width = region.shape
    region |= draw_polygons([inside(numbers, (width, height))], (height, width))


def _polygon(one: dict[str, Any], region: np.ndarray) -> None:
    _draw(flat(one.get("points")), region)


def _rectangle(one: dict[str, Any], region: np.ndarray) -> None:
    numbers = flat(one.get("points"))
    if len(numbers) != 4:
        raise ValueError("a rectangle has two points")
    x0, y0, x1, y1 = numbers
    _draw([x0, y0, x1, y0, x1, y1, x0, y1], region)


def _mask(one: dict[str, Any], region: np.ndarray) -> None:
    numbers = flat(one.get("points"))
    pixels = binary_of(str(one.get("mask")))
    if len(numbers) != 4:
        raise ValueError("a mask has two points")
    left, top, right, bottom = (round(number) for number in numbers)
    height, width = pixels.shape
    if (right - left + 1, bottom - top + 1) != (width, height):
        raise ValueError(f"a mask of {width}×{height} pixels does not fit its corners")
    if min(left, top) < 0 or right >= region.shape[1] or bottom >= region.shape[0]:
        raise ValueError("a mask lies beyond the picture")
    region[top : bottom + 1, left : right + 1] |= pixels
