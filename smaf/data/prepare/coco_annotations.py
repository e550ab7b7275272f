"""COCO's annotation files, `instances_*.json`, as COCO and other tools write them: one reader."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.classes import MAX_CLASSES
from smaf.core.errors import InputError
from smaf.core.files import check_id, read_json
from smaf.core.images import MAX_PIXELS
from smaf.core.names import check_names, is_background
from smaf.data.prepare.coco_masks import FIX, Region, has_outline


@dataclass(frozen=True)
class Split:
    """The annotated images of one file: id → shape (H, W) and id → regions.

    `unmasked` holds the ids of images that have an annotation without an outline: their classes are
    known, but not where the objects are. `empty` is the number of images without an annotation.
    Read by file, ids are the file names with their folders, and images without an annotation are
    there, too, without regions.
    """

    path: Path
    names: tuple[str, ...]
    shapes: dict[str, tuple[int, int]]
    regions: dict[str, list[Region]]
    unmasked: frozenset[str]
    empty: int

    @property
    def list_name(self) -> str:
        """`train` for instances_train2014.json."""
        name = self.path.stem.removeprefix("instances_")
        return check_id(re.sub(r"_?\d{4}$", "", name) or name, self.path)

    def label(self, image_id: str) -> np.ndarray:
        """The image-level label, (C,) float32; a crowd counts as its class, too."""
        label = np.zeros(len(self.names), dtype=np.float32)
        label[[region.class_index for region in self.regions[image_id]]] = 1.0
        return label


def annotation_files(root: Path) -> list[Path]:
    """COCO 2014's annotation files below `root`; where there are none, any `instances_*.json`."""
    folder = root / "annotations"
    published = [folder / f"instances_{split}2014.json" for split in ("train", "val")]
    return [path for path in published if path.is_file()] or sorted(folder.glob("instances_*.json"))


class _Fault(ValueError):
    """What is wrong with a file, without what to do about it, which who reads it knows."""


def _integer(record: dict[str, Any], key: str, where: str) -> int:
    """A whole number; some tools write it as 18.0 or "18"."""
    value = record.get(key)
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,18}\s*", value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise _Fault(f"{where}: {key} is {value!r:.80}, expected a whole number")
    return value


def _key(record: dict[str, Any], key: str, where: str) -> int | str:
    """A number that refers to another record; images may have a text instead."""
    value = record.get(key)
    return (
        value
        if isinstance(value, str) and value and not value.strip().isdecimal()
        else _integer(record, key, where)
    )


def _crowd(record: dict[str, Any], where: str) -> bool:
    value = record.get("iscrowd")
    if value not in (None, 0, 1, "0", "1"):
        raise _Fault(f"{where}: iscrowd is {value!r:.80}, expected 0 or 1")
    return value in (1, "1")


def _records(data: Any, key: str, path: Path) -> list[dict[str, Any]]:
    records = data.get(key) if isinstance(data, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise _Fault(f"annotation file {path} has no list {key!r} of records")
    return records


def _classes(data: Any, path: Path) -> tuple[tuple[str, ...], dict[int, int | None]]:
    """Names in ascending category id (COCO's ids 1..90 have gaps), and category id → class index.

    A category called background, which some tools add, is no class: its index is None. A group that
    Roboflow lists before its classes is passed over.
    """
    named = {}
    records = _without_groups(_records(data, "categories", path), data)
    for record in records:
        name = record.get("name")
        if not isinstance(name, str) or not name.strip():
            raise _Fault(f"annotation file {path}: a category has the name {name!r:.80}")
        named[_integer(record, "id", f"annotation file {path}, category {name!r}")] = name.strip()
    if len(named) < len(records):
        raise _Fault(f"annotation file {path} must have each category id once")
    kept = [category for category in sorted(named) if not is_background(named[category])]
    names = tuple(named[category] for category in kept)
    if not names or len(names) > MAX_CLASSES:
        raise _Fault(f"annotation file {path} must have 1 to {MAX_CLASSES} categories")
    check_names(names, f"annotation file {path}")
    return names, {
        **dict.fromkeys(named),
        **{category: index for index, category in enumerate(kept)},
    }


def _without_groups(records: list[dict[str, Any]], data: Any) -> list[dict[str, Any]]:
    """Leave out categories that name the group of others: of the group "none", without objects.

    Roboflow writes one, which may have the name of a class.
    """
    groups = {str(record.get("supercategory")) for record in records} - {"none"}
    named = [r for r in records if r.get("supercategory") == "none" and r.get("name") in groups]
    if not named:
        return records
    objects = data.get("annotations")
    objects = objects if isinstance(objects, list) else []
    used = {str(o.get("category_id")) for o in objects if isinstance(o, dict)}
    return [r for r in records if r not in named or str(r.get("id")) in used]


def _image_id(record: dict[str, Any], path: Path) -> str:
    """The file name without folders and suffix."""
    name = str(record.get("file_name") or "")
    *folders, last = re.split(r"[/\\]", name)
    if ".." in folders or not os.path.splitext(last)[0].strip("."):
        raise _Fault(f"annotation file {path}: {name!r} is not an image id or file name")
    return check_id(os.path.splitext(last)[0], f"annotation file {path}")


def _file_name(record: dict[str, Any], path: Path) -> str:
    """The file name with its folders, as the file has it."""
    name = record.get("file_name")
    if not isinstance(name, str) or not name.strip():
        raise _Fault(f"annotation file {path}: an image has the file name {name!r:.80}")
    return name


def _images(
    data: Any, path: Path, *, by_file: bool = False
) -> dict[int | str, tuple[str, tuple[int, int]]]:
    """Image number → (id, shape (H, W)); the file name instead of the id where `by_file`."""
    images: dict[int | str, tuple[str, tuple[int, int]]] = {}
    files: dict[str, str] = {}
    for record in _records(data, "images", path):
        image_id, where = (
            (_file_name if by_file else _image_id)(record, path),
            f"annotation file {path}, image {record.get('file_name')!r}",
        )
        height, width = (_integer(record, key, where) for key in ("height", "width"))
        if min(height, width) < 1 or height * width > MAX_PIXELS:
            raise _Fault(
                f"{where}: a size of {width}×{height} pixels, expected 1 to {MAX_PIXELS / 1e6:.0f} "
                "million"
            )
        number = _key(record, "id", where)
        if number in images:
            raise _Fault(f"{where} has the id {number!r:.80} of image {images[number][0]}, too")
        other = files.setdefault(image_id, record["file_name"])
        if len(files) == len(images):
            raise InputError(
                f"{where} and image {other!r} have the same file name"
                f"{'' if by_file else ' without folder and suffix'}, which is the image's id: "
                "rename one of them"
            )
        images[number] = image_id, (height, width)
    return images


def _regions(
    data: Any,
    path: Path,
    images: dict[int | str, tuple[str, tuple[int, int]]],
    position: dict[int, int | None],
) -> tuple[dict[str, list[Region]], frozenset[str]]:
    """Id → regions of the images with annotations, and the ids where an outline is missing."""
    regions: dict[str, list[Region]] = {}
    unmasked: set[str] = set()
    for record in _records(data, "annotations", path):
        where = f"annotation file {path}, annotation {record.get('id')!r:.80}"
        image, category = _key(record, "image_id", where), _integer(record, "category_id", where)
        if image not in images:
            raise _Fault(f"{where} is of image {image!r:.80}, which the file does not list")
        if category not in position:
            raise _Fault(f"{where} has category {category}, which the file does not list")
        index = position[category]
        if index is None:
            raise InputError(
                f"{where} is of the background, which has no objects: take it out, or rename the "
                "category"
            )
        segmentation = record.get("segmentation")
        if not isinstance(segmentation, list | dict | None):
            raise _Fault(
                f"{where}: segmentation is {segmentation!r:.80}, expected polygons or run lengths"
            )
        if not has_outline(segmentation):
            segmentation = None
            unmasked.add(images[image][0])
        regions.setdefault(images[image][0], []).append(
            Region(index, _crowd(record, where), segmentation)
        )
    return regions, frozenset(unmasked)


def read_split(
    path: Path, *, by_file: bool = False, may_be_empty: bool = False, fix: str = FIX
) -> Split:
    """Read and check an annotation file. Shapes of regions are checked when they are painted.

    `by_file` as in :class:`Split`. A file without any annotation is an :class:`InputError`, unless
    it `may_be_empty`. `fix` says what to do about a file that is not as it must be.
    """
    data = read_json(path, "annotation file", fix)
    try:
        names, position = _classes(data, path)
        images = _images(data, path, by_file=by_file)
        regions, unmasked = _regions(data, path, images, position)
        if not regions and not may_be_empty:
            raise _Fault(f"annotation file {path} has no annotations")
    except _Fault as error:
        raise InputError(f"{error}: {fix}") from error
    empty = len(images) - len(regions)
    if by_file:
        regions = {image_id: regions.get(image_id, []) for image_id, _ in images.values()}
    shapes = {image_id: shape for image_id, shape in images.values() if image_id in regions}
    return Split(path, names, shapes, regions, unmasked, empty)
