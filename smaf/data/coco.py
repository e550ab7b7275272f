"""MS-COCO brought into VOC layout: image-level labels, lists and class masks from `annotations/instances_*.json`."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_api

from smaf.core.classes import IGNORE, MAX_CLASSES, read_class_names
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import check_id, output_folder, read_json
from smaf.core.images import IMAGE_SUFFIXES, write_mask
from smaf.data.layout import PHOTO_FOLDERS
from smaf.data.voc import (
    LISTS,
    Summary,
    check_names,
    file_ids,
    find_name_file,
    map_parallel,
    store_labels,
    wants,
    write_class_names,
    write_lines,
)

log = logging.getLogger("smaf")

_FIX = "take the file from COCO's annotations_trainval2014.zip again, or mend what wrote it"
_MAX_PIXELS = 200_000_000


class Region(NamedTuple):
    """One annotation: a class 0..C-1, whether it is a crowd, and its polygons or run lengths as COCO writes them."""

    class_index: int
    crowd: bool
    segmentation: Any


class MaskTask(NamedTuple):
    """A mask to paint: where it goes, its (height, width), its regions and the annotation file, for errors."""

    path: Path
    size: tuple[int, int]
    regions: list[Region]
    source: Path


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
        raise InputError(f"{where}: {key} is {value!r}, expected a whole number: {_FIX}")
    return value


def _records(data: Any, key: str, path: Path) -> list[dict[str, Any]]:
    records = data.get(key) if isinstance(data, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"annotation file {path} has no list {key!r} of records: {_FIX}")
    return records


def _classes(data: Any, path: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names in ascending category id (COCO's ids 1..90 have gaps), and category id → class index."""
    named = {}
    records = _records(data, "categories", path)
    for record in records:
        name = record.get("name")
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"annotation file {path}: a category has the name {name!r}: {_FIX}")
        named[_integer(record, "id", f"annotation file {path}, category {name}")] = name.strip()
    names = tuple(named[category] for category in sorted(named))
    if not names or len(named) < len(records) or len(set(names)) < len(names) or len(names) > MAX_CLASSES:
        raise InputError(f"annotation file {path} must have 1 to {MAX_CLASSES} categories, each id and name "
                         f"once: {_FIX}")
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
            raise InputError(f"{where}: a size of {width}×{height} pixels cannot be right: {_FIX}")
        images[_integer(record, "id", where)] = (image_id, (height, width))
    if len({image_id for image_id, _ in images.values()}) < len(data["images"]):
        raise InputError(f"annotation file {path} has an image id or a file name twice: {_FIX}")
    return images


def read_split(path: Path) -> Split:
    """Read and check an annotation file. Shapes of regions are checked when they are painted."""
    data = read_json(path, "annotation file", _FIX)
    names, position = _classes(data, path)
    images = _images(data, path)
    regions: dict[str, list[Region]] = {}
    for record in _records(data, "annotations", path):
        where = f"annotation file {path}, annotation {record.get('id')}"
        image, category = (_integer(record, key, where) for key in ("image_id", "category_id"))
        if image not in images:
            raise InputError(f"{where} is of image {image}, which the file does not list: {_FIX}")
        if category not in position:
            raise InputError(f"{where} has category {category}, which the file does not list: {_FIX}")
        if not isinstance(record.get("segmentation"), list | dict):
            raise InputError(f"{where} has no segmentation; bounding boxes alone make no mask: {_FIX}")
        region = Region(position[category], bool(record.get("iscrowd", 0)), record["segmentation"])
        regions.setdefault(images[image][0], []).append(region)
    if not regions:
        raise InputError(f"annotation file {path} has no annotations: {_FIX}")
    sizes = {image_id: size for image_id, size in images.values() if image_id in regions}
    return Split(path, names, sizes, regions, len(images) - len(regions))


def run_lengths(counts: str) -> list[int]:
    """Decode COCO's compressed run lengths: five bits a character (offset 48), the sixth bit says that more follow.

    From the third on each is the difference to the one two before.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift  # two's complement
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return lengths


def encode_region(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Return pycocotools' run-length code of a region in an image of `size` (height, width).

    `segmentation` is a list of polygons [x1, y1, x2, y2, …] in pixels, whose union is taken, or a dict of run lengths
    down the columns (`counts`, plain or compressed). All is checked before: given NaN pycocotools takes all the memory,
    given runs that do not fill the image it returns whatever the memory holds. Raises ValueError.
    """
    height, width = size
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if isinstance(counts, str):
            counts = run_lengths(counts)
        fit = (isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
               and sum(counts) == height * width and segmentation.get("size") == [height, width])
        if not fit:
            raise ValueError(f"its run lengths do not fill an image of {width}×{height}")
        return mask_api.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    polygons = []
    for polygon in segmentation:
        fit = (isinstance(polygon, list) and len(polygon) % 2 == 0
               and all(type(value) in (int, float) for value in polygon)
               and all(-width <= x <= 2 * width for x in polygon[::2])
               and all(-height <= y <= 2 * height for y in polygon[1::2]))
        if not fit:
            raise ValueError(f"its polygon is not a list of x, y within an image of {width}×{height}")
        if len(polygon) >= 6:  # a point or a line covers no pixel, and pycocotools takes four numbers for a box
            polygons += mask_api.frPyObjects([polygon], height, width)
    return mask_api.merge(polygons) if polygons else mask_api.encode(np.zeros(size, dtype=np.uint8, order="F"))


def paint_mask(regions: Sequence[Region], size: tuple[int, int]) -> np.ndarray:
    """Paint regions to an (H, W) uint8 mask: class index + 1, 0 where nothing is.

    Where objects overlap the smaller wins (of equals the later). A crowd is 255, ignored, where no object covers it:
    its outline is too coarse to be a truth.
    """
    codes = [(region, encode_region(region.segmentation, size)) for region in regions]
    mask = np.zeros(size, dtype=np.uint8, order="F")  # as pycocotools decodes
    for region, code in sorted(codes, key=lambda pair: (not pair[0].crowd, -int(mask_api.area(pair[1])))):
        mask[mask_api.decode(code) > 0] = IGNORE if region.crowd else region.class_index + 1
    return np.ascontiguousarray(mask)


def _write_task(task: MaskTask) -> None:
    try:
        mask = paint_mask(task.regions, task.size)
    except ValueError as error:
        raise InputError(f"annotation file {task.source}, image {task.path.stem}: a region cannot be drawn, {error}: "
                         f"{_FIX}") from error
    write_mask(task.path, mask)


def _mask_path(root: Path, image_id: str) -> Path:
    return root / "SegmentationClass" / f"{image_id}.png"


def write_masks(root: Path, split: Split, *, overwrite: bool = False, num_workers: int = 0) -> int:
    """Write `root/SegmentationClass/<id>.png` of every annotated image; return how many.

    Masks that are there are kept unless `overwrite`, so a stopped run goes on.
    """
    tasks = [MaskTask(_mask_path(root, image_id), split.sizes[image_id], regions, split.path)
             for image_id, regions in split.regions.items()]
    tasks = [task for task in tasks if overwrite or not task.path.is_file()]
    map_parallel(_write_task, tasks, num_workers=num_workers, what=f"masks of {split.list_name}")
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
