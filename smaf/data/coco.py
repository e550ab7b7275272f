"""MS-COCO brought into VOC layout: image-level labels, lists and class masks from `annotations/instances_*.json`."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.classes import MAX_CLASSES, read_class_names
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import check_id, output_folder, read_json
from smaf.core.images import IMAGE_SUFFIXES
from smaf.core.parallel import map_parallel
from smaf.data.coco_masks import FIX, MaskTask, Region, write_task
from smaf.data.layout import PHOTO_FOLDERS
from smaf.data.preparing import (
    LISTS,
    Summary,
    check_names,
    file_ids,
    find_name_file,
    store_labels,
    wants,
    write_class_names,
    write_lines,
)

log = logging.getLogger("smaf")

_MAX_PIXELS = 200_000_000


@dataclass(frozen=True)
class Split:
    """The annotated images of one file: id → (height, width) and id → regions. `empty` images have no annotation."""

    path: Path
    names: tuple[str, ...]
    sizes: dict[str, tuple[int, int]]
    regions: dict[str, list[Region]]
    empty: int

    @property
    def list_name(self) -> str:
        """`train` for instances_train2014.json."""
        name = self.path.stem.removeprefix("instances_")
        return check_id(re.sub(r"_?\d{4}$", "", name) or name, self.path)

    def label(self, image_id: str) -> np.ndarray:
        """(C,) float32; a crowd shows its class, too."""
        label = np.zeros(len(self.names), dtype=np.float32)
        label[[region.class_index for region in self.regions[image_id]]] = 1.0
        return label


def annotation_files(root: Path) -> list[Path]:
    """COCO 2014's annotation files below `root`; where there are none, any `instances_*.json`."""
    folder = root / "annotations"
    published = [folder / f"instances_{split}2014.json" for split in ("train", "val")]
    return [path for path in published if path.is_file()] or sorted(folder.glob("instances_*.json"))


def _integer(record: dict[str, Any], key: str, where: str) -> int:
    value = record.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{where}: {key} is {value!r}, expected a whole number: {FIX}")
    return value


def _records(data: Any, key: str, path: Path) -> list[dict[str, Any]]:
    records = data.get(key) if isinstance(data, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"annotation file {path} has no list {key!r} of records: {FIX}")
    return records


def _classes(data: Any, path: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names in ascending category id (COCO's ids 1..90 have gaps), and category id → class index."""
    named = {}
    records = _records(data, "categories", path)
    for record in records:
        name = record.get("name")
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"annotation file {path}: a category has the name {name!r}: {FIX}")
        named[_integer(record, "id", f"annotation file {path}, category {name}")] = name.strip()
    names = tuple(named[category] for category in sorted(named))
    if not names or len(named) < len(records) or len(set(names)) < len(names) or len(names) > MAX_CLASSES:
        raise InputError(f"annotation file {path} must have 1 to {MAX_CLASSES} categories, each id and name "
                         f"once: {FIX}")
    check_names(names, path)
    return names, {category: index for index, category in enumerate(sorted(named))}


def _images(data: Any, path: Path) -> dict[int, tuple[str, tuple[int, int]]]:
    """Image number → (id, (height, width)); the id is the file name without its suffix."""
    images: dict[int, tuple[str, tuple[int, int]]] = {}
    for record in _records(data, "images", path):
        where = f"annotation file {path}, image {record.get('file_name')!r}"
        image_id = Path(check_id(str(record.get("file_name") or ""), f"annotation file {path}")).stem
        height, width = (_integer(record, key, where) for key in ("height", "width"))
        if min(height, width) < 1 or height * width > _MAX_PIXELS:
            raise InputError(f"{where}: a size of {width}×{height} pixels cannot be right: {FIX}")
        images[_integer(record, "id", where)] = (image_id, (height, width))
    if len({image_id for image_id, _ in images.values()}) < len(data["images"]):
        raise InputError(f"annotation file {path} has an image id or a file name twice: {FIX}")
    return images


def read_split(path: Path) -> Split:
    """Read and check an annotation file. Shapes of regions are checked when they are painted."""
    data = read_json(path, "annotation file", FIX)
    names, position = _classes(data, path)
    images = _images(data, path)
    regions: dict[str, list[Region]] = {}
    for record in _records(data, "annotations", path):
        where = f"annotation file {path}, annotation {record.get('id')}"
        image, category = (_integer(record, key, where) for key in ("image_id", "category_id"))
        if image not in images:
            raise InputError(f"{where} is of image {image}, which the file does not list: {FIX}")
        if category not in position:
            raise InputError(f"{where} has category {category}, which the file does not list: {FIX}")
        if not isinstance(record.get("segmentation"), list | dict):
            raise InputError(f"{where} has no segmentation; bounding boxes alone make no mask: {FIX}")
        region = Region(position[category], bool(record.get("iscrowd", 0)), record["segmentation"])
        regions.setdefault(images[image][0], []).append(region)
    if not regions:
        raise InputError(f"annotation file {path} has no annotations: {FIX}")
    sizes = {image_id: size for image_id, size in images.values() if image_id in regions}
    return Split(path, names, sizes, regions, len(images) - len(regions))


def _mask_path(root: Path, image_id: str) -> Path:
    return root / "SegmentationClass" / f"{image_id}.png"


def write_masks(root: Path, split: Split, *, overwrite: bool = False, num_workers: int = 0) -> int:
    """Write `root/SegmentationClass/<id>.png` of every annotated image; return how many.

    Masks that are there are kept unless `overwrite`, so a stopped run goes on.
    """
    tasks = [MaskTask(_mask_path(root, image_id), split.sizes[image_id], regions, split.path)
             for image_id, regions in split.regions.items()]
    tasks = [task for task in tasks if overwrite or not task.path.is_file()]
    map_parallel(write_task, tasks, num_workers=num_workers, what=f"masks of {split.list_name}")
    return len(tasks)


def _settle_names(root: Path, names: tuple[str, ...]) -> tuple[Path, tuple[str, ...]]:
    """The class-name file and its names: one that is there may spell them otherwise, not order them otherwise."""
    name_file = find_name_file(root)
    if name_file is None:
        return root / "metadata" / "coco14" / "labels.txt", names
    given = read_class_names(name_file)
    plain, expected = ([re.sub(r"[\W_]", "", name.lower()) for name in which] for which in (given, names))
    if plain != expected:
        raise InputError(f"class-name file {name_file} does not have the annotations' {len(names)} classes in "
                         "ascending category id, so mask values would name other classes: move it away and run again")
    return name_file, given


def _check_splits(files: Sequence[Path]) -> tuple[tuple[str, ...], dict[str, list[str]], dict[str, np.ndarray]]:
    """Read every file once, before work is spent: class names, list name → sorted ids, id → label.

    Only these are kept: one file at a time is in memory (instances_train2014.json takes over a gigabyte).
    """
    names: tuple[str, ...] = ()
    lists: dict[str, list[str]] = {}
    labels: dict[str, np.ndarray] = {}
    for path in files:
        log.info("reading %s", path)
        split = read_split(path)
        log.info("%d images, %d without annotation left out", len(split.sizes), split.empty)
        if names and split.names != names:
            raise InputError(f"annotation file {path} has other categories than {files[0]}: keep files of one data set "
                             "in annotations/")
        shared = sorted(labels.keys() & split.sizes.keys())
        if shared or split.list_name in lists:
            raise InputError(f"annotation file {path}: {shared[0] if shared else 'its list ' + split.list_name} is in "
                             "another file of annotations/, too: move one of them away")
        names = split.names
        lists[split.list_name] = sorted(split.sizes)
        labels |= {image_id: split.label(image_id) for image_id in split.sizes}
    return names, lists, labels


def prepare_coco(root: Path, *, overwrite: bool = False, num_workers: int = 0) -> Summary:
    """Write class names, image-level labels, lists and masks of COCO 2014 (or any `instances_*.json`).

    Files that are there are kept unless `overwrite`.
    """
    files = annotation_files(root)
    if not files:
        raise MissingInputError(f"{root / 'annotations'} has no instances_train2014.json or instances_val2014.json: "
                                "unpack COCO's annotations_trainval2014.zip there, or use --dataset voc")
    names, lists, made = _check_splits(files)
    name_file, names = _settle_names(root, names)
    photos = {image_id for folder in PHOTO_FOLDERS for image_id in file_ids(root / folder, IMAGE_SUFFIXES)}
    if absent := len(made.keys() - photos):
        log.info("%d of %d photographs are not in %s: put them there to use them", absent, len(made),
                 ", ".join(f"{folder}/" for folder in PHOTO_FOLDERS))
    if not name_file.exists():
        write_class_names(name_file, names)
    labels = store_labels(name_file.parent / "image_labels.csv", root, names, lambda: made, overwrite=overwrite)
    written = {}
    for list_name, ids in lists.items():
        path = root / LISTS / f"{list_name}.txt"
        if wants(path, overwrite=overwrite):
            write_lines(path, ids)
            written[str(path)] = len(ids)
    output_folder(_mask_path(root, "").parent)
    masks = 0
    for path, ids in zip(files, lists.values(), strict=True):
        if overwrite or not all(_mask_path(root, image_id).is_file() for image_id in ids):
            masks += write_masks(root, read_split(path), overwrite=overwrite, num_workers=num_workers)
    return Summary.of(labels, names, written, masks_written=masks, masks_kept=len(made) - masks)
