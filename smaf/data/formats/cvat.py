"""CVAT: "CVAT for images 1.1" goes out and comes back, "segmentation mask 1.1" comes back."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import NamedTuple

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import write_json, write_text
from smaf.core.images import voc_palette
from smaf.core.xml_text import parse_xml
from smaf.data.formats import cvat_masks
from smaf.data.formats.drawing import draw_polygons, inside
from smaf.data.formats.format import Annotated, Export, Layer, Picture
from smaf.data.formats.place import FIX, Place

log = logging.getLogger("smaf")
FILE, IMAGES, LABELS = "annotations.xml", "images", "labels.json"
_AREAS = ("mask", "polygon")
_FIX = f'{FIX}, as "CVAT for images 1.1"'


class Cvat:
    """CVAT's XML with `<mask>` objects, whose run lengths go row by row within their box.

    Beside `annotations.xml` lie the photographs (`images/`) and the labels that the task must have
    (`labels.json`, for the tab Raw of its constructor). Reading takes the XML or the archive that
    holds it, masks and polygons, of which the higher `z_order` wins, or an archive or folder of
    "segmentation mask 1.1" (:mod:`smaf.data.formats.cvat_masks`). The XML lists all photographs of
    a task: one without an object may not have been looked at.
    """

    name = "cvat"
    about = "CVAT for images 1.1, masks; import reads segmentation mask 1.1, too"
    takes = frozenset({"split"})
    ignores = False

    def write(self, export: Export) -> None:
        """Write `annotations.xml`, `labels.json` and `images/`."""
        (export.folder / IMAGES).mkdir()
        top = ElementTree.Element("annotations")
        ElementTree.SubElement(top, "version").text = "1.1"
        _add_meta(top, export)
        # in the order of a task's frames, by which old releases of CVAT find them
        for number, picture in enumerate(sorted(export.pictures, key=lambda one: one.file)):
            picture.put(export.folder / IMAGES / picture.file)
            _add(top, number, picture, export)
        ElementTree.indent(top)
        text = ElementTree.tostring(top, encoding="unicode")
        write_text(export.folder / FILE, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
        colours = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in voc_palette().tolist()]
        labels = [
            {"name": name, "color": colour, "attributes": []}
            for name, colour in zip(export.classes, colours[1:], strict=False)
        ]
        write_json(export.folder / LABELS, labels)

    def claims(self, place: Place) -> bool:
        """An XML file; a folder or archive with `annotations.xml` or `labelmap.txt`."""
        known = {FILE, cvat_masks.LABELMAP}
        return place.suffix == ".xml" or any(n.rsplit("/", 1)[-1] in known for n in place.names)

    def read(self, place: Place) -> list[Annotated]:
        """The photographs of an XML file, or of the masks in a folder or archive."""
        if place.suffix == ".xml":
            return _read(place.path.read_bytes(), f"annotation file {place}")
        files = place.named(FILE)
        if files:
            return [
                found for name in files for found in _read(place.read(name), f"{place}, {name}")
            ]
        return cvat_masks.read(place)


def _add_meta(top: ElementTree.Element, export: Export) -> None:
    """CVAT passes it over; other readers of its XML (Datumaro) ask for the labels there."""
    task = ElementTree.SubElement(ElementTree.SubElement(top, "meta"), "task")
    about = {"name": "smaf", "size": str(len(export.pictures)), "mode": "annotation"}
    for key, value in about.items():
        ElementTree.SubElement(task, key).text = value
    labels = ElementTree.SubElement(task, "labels")
    for name in export.classes:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "attributes")


def _add(top: ElementTree.Element, number: int, picture: Picture, export: Export) -> None:
    width, height = picture.size
    about = {"id": number, "name": picture.file, "width": width, "height": height}
    image = ElementTree.SubElement(top, "image", {key: str(v) for key, v in about.items()})
    for region in export.regions(picture.mask()):
        left, top_row, box_width, box_height = region.box
        values = {
            "label": export.classes[region.class_index],
            "source": "auto",
            "occluded": 0,
            "rle": ", ".join(map(str, run_lengths(region.pixels))),
            "left": left,
            "top": top_row,
            "width": box_width,
            "height": box_height,
            "z_order": 0,
        }
        ElementTree.SubElement(image, "mask", {key: str(v) for key, v in values.items()})


def run_lengths(pixels: np.ndarray) -> list[int]:
    """The lengths of runs of pixels (h, w) bool, row by row: of 0 first, perhaps none of them.

    Example:
        >>> run_lengths(np.array([[False, True, True], [False, False, True]]))
        [1, 2, 2, 1]
        >>> run_lengths(np.array([[True, False]]))
        [0, 1, 1]
    """
    values = np.concatenate([[False], np.asarray(pixels, dtype=bool).ravel()])
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    return [int(length) for length in np.diff(ends, prepend=0)]


def pixels_of(text: str, size: tuple[int, int]) -> np.ndarray:
    """The pixels (h, w) bool of run lengths in a box of `size` (width, height).

    Raises ValueError where they do not fill the box.
    """
    try:
        lengths = [int(length) for length in text.split(",")]
    except ValueError:
        raise ValueError("its run lengths are no whole numbers") from None
    width, height = size
    if min(lengths) < 0 or sum(lengths) != width * height:
        raise ValueError(f"its run lengths do not fill its box of {width}×{height}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)


class _Shape(NamedTuple):
    kind: str
    values: dict[str, str]


def _read(data: bytes, where: str) -> list[Annotated]:
    top = parse_xml(data, where, _FIX)
    if top.tag != "annotations" or top.find("track") is not None:
        raise InputError(f"{where} holds no annotations of images: {_FIX}")
    left_out = {shape.tag for image in top.iter("image") for shape in image} - {*_AREAS, "tag"}
    if left_out:
        log.warning(
            "warning: %s: objects that are no areas are left out (%s)",
            where,
            ", ".join(sorted(left_out)),
        )
    return [_image(image, where) for image in top.iter("image")]


def _image(image: ElementTree.Element, where: str) -> Annotated:
    name = image.get("name", "")
    where = f"{where}, image {name!r:.200}"
    size = _numbers(image.attrib, ("width", "height"), where)
    found = [_Shape(shape.tag, dict(shape.attrib)) for shape in image if shape.tag in _AREAS]
    heights = [_numbers({"z_order": "0", **shape.values}, ("z_order",), where) for shape in found]
    order = sorted(range(len(found)), key=heights.__getitem__)
    return Annotated(
        name, where, (size[0], size[1]), partial(_layers, [found[place] for place in order])
    )


def _numbers(values: dict[str, str], keys: tuple[str, ...], where: str) -> list[int]:
    try:
        return [int(values.get(key, "")) for key in keys]
    except ValueError:
        raise InputError(f"{where}: {' and '.join(keys)} are no whole numbers: {_FIX}") from None


def _layers(shapes: list[_Shape], shape: tuple[int, int]) -> Iterator[Layer]:
    """Objects of one label that follow each other are drawn at once: they may be thousands."""
    for label, group in groupby(shapes, key=lambda one: one.values.get("label", "")):
        region = np.zeros(shape, dtype=bool)
        for kind, values in group:
            draw = _mask if kind == "mask" else _polygon
            draw(values, region)
        yield Layer(label, region)


def _mask(values: dict[str, str], region: np.ndarray) -> None:
    try:
        left, top, width, height = (
            int(values.get(key, "")) for key in ("left", "top", "width", "height")
        )
    except ValueError:
        raise ValueError("the box of a mask is not given in whole numbers") from None
    if min(left, top) < 0 or min(width, height) < 1 or left + width > region.shape[1]:
        raise ValueError("the box of a mask lies beyond the picture")
    if top + height > region.shape[0]:
        raise ValueError("the box of a mask lies beyond the picture")
    pixels = pixels_of(values.get("rle", ""), (width, height))
    region[top : top + height, left : left + width] |= pixels


def _polygon(values: dict[str, str], region: np.ndarray) -> None:
    try:
        numbers = [
            float(n) for point in values.get("points", "").split(";") for n in point.split(",")
        ]
    except ValueError:
        raise ValueError("the points of a polygon are no numbers") from None
    height, width = region.shape
    region |= draw_polygons([inside(numbers, (width, height))], (height, width))
