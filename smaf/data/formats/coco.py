"""COCO's instances, as pycocotools reads them and as Roboflow lays them out."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_api

from smaf.core.errors import InputError
from smaf.core.files import write_json
from smaf.data.formats.drawing import outline
from smaf.data.formats.format import Annotated, Export, Layer, Picture, Region
from smaf.data.formats.place import FIX, Place
from smaf.data.prepare.coco_annotations import read_split
from smaf.data.prepare.coco_masks import Region as Outline
from smaf.data.prepare.coco_masks import decode_region, encode_region

FILE = "_annotations.coco.json"  # what Roboflow looks for
_LISTS = {"images", "annotations", "categories"}
_FIX = f"{FIX}, as COCO's instances with outlines, or mend the file"
_SMALL = 8  # times that an object is smaller than its picture
_FOLDERS = {"train": "train", "val": "valid"}  # as Roboflow calls the lists


class Coco:
    """COCO's JSON: `train/_annotations.coco.json` beside the photographs, `valid/` for list val.

    Objects are run lengths down the columns, in pycocotools' code. With `polygons` they are lists
    of polygons, whose union is exactly the object: since a polygon holds no hole, a part with holes
    is cut along straight lines through them (:mod:`smaf.data.formats.outlines`).

    Reading, every object counts as one of its class, whatever `iscrowd` says: CVAT writes all its
    masks as crowds. Of objects that overlap the later one wins. A photograph without an object may
    not have been looked at.
    """

    name = "coco"
    about = "COCO's JSON, run lengths or polygons (Roboflow, FiftyOne, CVAT, …)"
    takes = frozenset({"polygons", "split"})
    ignores = False

    def write(self, export: Export) -> None:
        """Write a JSON file for each list that has photographs."""
        for split, folder in _FOLDERS.items():
            pictures = [picture for picture in export.pictures if picture.split == split]
            if pictures:
                self._write(export, pictures, export.folder / folder)

    def _write(self, export: Export, pictures: list[Picture], folder: Path) -> None:
        folder.mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, picture in enumerate(pictures, start=1):
            picture.put(folder / picture.file)
            width, height = picture.size
            images.append(
                {"id": number, "file_name": picture.file, "width": width, "height": height}
            )
            for region in export.regions(picture.mask()):
                record = _annotation(region, picture.size, export)
                annotations.append({"id": len(annotations) + 1, "image_id": number, **record})
        categories = [
            {"id": number, "name": name, "supercategory": "object"}
            for number, name in enumerate(export.classes, start=1)
        ]
        value = {"images": images, "annotations": annotations, "categories": categories}
        write_json(folder / FILE, value, indent=None)

    def claims(self, place: Place) -> bool:
        """A JSON file with two of COCO's lists, or a folder with `_annotations.coco.json`.

        So a file that lacks one of them is told what it lacks.
        """
        if place.is_folder:
            return bool(place.named(FILE))
        value = place.json
        return isinstance(value, dict) and len(_LISTS & value.keys()) > 1

    def read(self, place: Place) -> list[Annotated]:
        """The photographs of a file, or of each `_annotations.coco.json` in a folder."""
        if not place.is_folder:
            return _read(place.path)
        files = place.named(FILE) or [n for n in place.names if posixpath.splitext(n)[1] == ".json"]
        if not files:
            raise InputError(f"folder {place} has no {FILE}: name COCO's JSON file")
        return [found for name in files for found in _read(place.file(name))]


def _annotation(region: Region, size: tuple[int, int], export: Export) -> dict[str, Any]:
    return {
        "category_id": region.class_index + 1,
        "segmentation": _polygons(region, export.tolerance)
        if export.polygons
        else encode(region, size),
        "area": region.area,
        "bbox": region.box,
        "iscrowd": 0,
    }


def encode(region: Region, size: tuple[int, int]) -> dict[str, Any]:
    """COCO's run lengths of an object in a picture (width, height), in pycocotools' code.

    They go down the columns. Of a small object its own pixels alone are looked at.

    Example:
        >>> pixels = np.array([[False, True, True], [False, False, True]])
        >>> encode(Region(0, 0, 0, pixels), (3, 2))
        {'size': [2, 3], 'counts': '2111'}
    """
    width, height = size
    if _SMALL * region.pixels.size > width * height:
        code = mask_api.encode(np.asfortranarray(region.whole(size), dtype=np.uint8))
    else:
        runs = {"size": [height, width], "counts": _runs(region, size)}
        code = mask_api.frPyObjects(runs, height, width)
    return {"size": [height, width], "counts": code["counts"].decode("ascii")}


def _runs(region: Region, size: tuple[int, int]) -> list[int]:
    """Lengths of runs down the columns: of 0 first, then of 1, and so on."""
    columns, rows = np.nonzero(region.pixels.T)
    places = (columns + region.x) * size[1] + rows + region.y
    firsts = places[np.diff(places, prepend=-2) != 1]
    ends = places[np.diff(places, append=-2) != 1] + 1
    bounds = np.stack([firsts, ends], axis=1).ravel()
    lengths = np.diff(bounds, prepend=0, append=size[0] * size[1]).tolist()
    return lengths if lengths[-1] else lengths[:-1]


def _polygons(region: Region, tolerance: float) -> list[list[float]]:
    return [
        [value for x, y in points for value in (x + region.x, y + region.y)]
        for points in outline(region.pixels, tolerance=tolerance)
    ]


class _Objects(NamedTuple):
    names: tuple[str, ...]
    regions: list[Outline]


def _read(path: Path) -> list[Annotated]:
    split = read_split(path, by_file=True, may_be_empty=True, fix=_FIX)
    bare = next(iter(sorted(split.unmasked)), None)
    if bare is not None:
        raise InputError(
            f"annotation file {path}, image {bare}: an object has no outline: draw it, or take the "
            f"object out; {FIX}"
        )
    return [
        Annotated(
            name,
            f"annotation file {path}, image {name}",
            split.shapes[name][::-1],
            partial(_layers, _Objects(split.names, regions)),
        )
        for name, regions in split.regions.items()
    ]


def _layers(objects: _Objects, shape: tuple[int, int]) -> Iterator[Layer]:
    """Objects of one class that follow each other are drawn at once: they may be thousands."""
    for index, group in groupby(objects.regions, key=attrgetter("class_index")):
        codes = [encode_region(region.segmentation, shape) for region in group]
        yield Layer(objects.names[index], decode_region(mask_api.merge(codes)))
