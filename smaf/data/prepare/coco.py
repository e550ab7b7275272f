"""MS-COCO's `annotations/instances_*.json` turned into image-level labels, lists and masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smaf.core.classes import read_class_names
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import output_folder
from smaf.core.images import IMAGE_SUFFIXES, read_mask
from smaf.core.names import name_key
from smaf.core.parallel import map_parallel
from smaf.data.layout import PHOTO_FOLDERS
from smaf.data.prepare.coco_annotations import Split, annotation_files, read_split
from smaf.data.prepare.coco_masks import MaskTask, write_task
from smaf.data.prepare.preparing import (
    LISTS,
    Summary,
    files_by_id,
    find_name_file,
    store_labels,
    wants,
    write_class_names,
    write_lines,
)

log = logging.getLogger("smaf")


def _mask_path(root: Path, image_id: str) -> Path:
    return root / "SegmentationClass" / f"{image_id}.png"


def _is_whole(path: Path) -> bool:
    """Whether a mask exists and can be read: a power cut may leave half of one."""
    try:
        read_mask(path)
    except InputError:
        return False
    return True


def write_masks(root: Path, split: Split, *, overwrite: bool = False, num_workers: int = 0) -> int:
    """Write `root/SegmentationClass/<id>.png` of every image with outlines; return how many.

    Masks that exist and can be read are kept unless `overwrite`, so a stopped run goes on.
    """
    tasks = [
        MaskTask(_mask_path(root, image_id), split.shapes[image_id], regions, split.path)
        for image_id, regions in split.regions.items()
        if image_id not in split.unmasked
    ]
    tasks = [task for task in tasks if overwrite or not _is_whole(task.path)]
    map_parallel(write_task, tasks, num_workers=num_workers, what=f"masks of {split.list_name}")
    return len(tasks)


def _settle_names(root: Path, names: tuple[str, ...]) -> tuple[Path, tuple[str, ...]]:
    """The class-name file and its names.

    A file that exists may spell the names otherwise, but must have them in the same order.
    """
    name_file = find_name_file(root)
    if name_file is None:
        return root / "metadata" / "coco14" / "labels.txt", names
    given = read_class_names(name_file)
    if [name_key(name) for name in given] != [name_key(name) for name in names]:
        raise InputError(
            f"class-name file {name_file} does not have the annotations' {len(names)} classes in "
            "ascending category id, so mask values would name other classes: move it away and run "
            "again"
        )
    return name_file, given


class _Contents(NamedTuple):
    """What is kept of the annotation files.

    Class names, list name → sorted ids, id → label (C,) float32, and ids without a mask.
    """

    names: tuple[str, ...]
    lists: dict[str, list[str]]
    labels: dict[str, np.ndarray]
    unmasked: frozenset[str]


def _read_all(files: Sequence[Path]) -> _Contents:
    """What the annotation files hold; every file is read once, before work is spent.

    One file at a time is in memory (instances_train2014.json takes over a gigabyte). Raises
    :class:`InputError` where files have other classes, or share an image.
    """
    names: tuple[str, ...] = ()
    lists: dict[str, list[str]] = {}
    labels: dict[str, np.ndarray] = {}
    unmasked: frozenset[str] = frozenset()
    for path in files:
        log.info("reading %s", path)
        split = read_split(path)
        log.info("%d images, %d without annotation left out", len(split.shapes), split.empty)
        if names and split.names != names:
            raise InputError(
                f"annotation file {path} has other categories than {files[0]}: keep files of one "
                "data set in annotations/"
            )
        shared = sorted(labels.keys() & split.shapes.keys())
        if shared or split.list_name in lists:
            raise InputError(
                f"annotation file {path}: {shared[0] if shared else 'its list ' + split.list_name} "
                "is in another file of annotations/, too: move one of them away"
            )
        names = split.names
        lists[split.list_name] = sorted(split.shapes)
        labels |= {image_id: split.label(image_id) for image_id in split.shapes}
        unmasked |= split.unmasked
    return _Contents(names, lists, labels, unmasked)


def _tell_unmasked(root: Path, contents: _Contents) -> None:
    if contents.unmasked:
        first = min(contents.unmasked)
        there = sum(_mask_path(root, image_id).exists() for image_id in contents.unmasked)
        log.warning(
            "warning: %d of %d images, %s for one, have objects without an outline (a box alone, "
            "or nothing): they get labels and no mask%s",
            len(contents.unmasked),
            len(contents.labels),
            first,
            f"; {there} masks of them are there, which these annotations did not make"
            if there
            else "",
        )


def _tell_absent(root: Path, contents: _Contents) -> None:
    photos = {
        image_id
        for folder in PHOTO_FOLDERS
        for image_id in files_by_id(root / folder, IMAGE_SUFFIXES)
    }
    if absent := len(contents.labels.keys() - photos):
        log.info(
            "%d of %d photographs are not in %s: put them there to use them",
            absent,
            len(contents.labels),
            ", ".join(f"{folder}/" for folder in PHOTO_FOLDERS),
        )


def _write_lists(root: Path, contents: _Contents, *, overwrite: bool) -> dict[str, int]:
    """Write the lists of ids; return path → number of ids, of those that were not kept."""
    written = {}
    for list_name, ids in contents.lists.items():
        path = root / LISTS / f"{list_name}.txt"
        if wants(path, overwrite=overwrite):
            write_lines(path, ids)
            written[str(path)] = len(ids)
    return written


def _write_all_masks(
    root: Path, files: Sequence[Path], contents: _Contents, *, overwrite: bool, num_workers: int
) -> int:
    """Write the masks of every annotation file; return how many.

    A file is read again only where masks of it are missing.
    """
    masks = 0
    for path, ids in zip(files, contents.lists.values(), strict=True):
        places = [
            _mask_path(root, image_id) for image_id in ids if image_id not in contents.unmasked
        ]
        if places and (overwrite or not all(_is_whole(place) for place in places)):
            output_folder(places[0].parent)
            masks += write_masks(
                root, read_split(path), overwrite=overwrite, num_workers=num_workers
            )
    return masks


def prepare_coco(root: Path, *, overwrite: bool = False, num_workers: int = 0) -> Summary:
    """Write class names, image-level labels, lists and masks of COCO 2014.

    Any other `instances_*.json` files serve, too. An image with an object whose outline is not
    known gets no mask. Files that exist are kept unless `overwrite`. Raises :class:`InputError` for
    annotations that contradict each other or the class names, :class:`MissingInputError` where
    there are none.
    """
    files = annotation_files(root)
    if not files:
        raise MissingInputError(
            f"{root / 'annotations'} has no instances_train2014.json or instances_val2014.json: "
            "unpack COCO's annotations_trainval2014.zip there, or use --dataset voc"
        )
    contents = _read_all(files)
    name_file, names = _settle_names(root, contents.names)
    _tell_absent(root, contents)
    _tell_unmasked(root, contents)
    if not name_file.exists():
        write_class_names(name_file, names)
    labels = store_labels(
        name_file.parent / "image_labels.csv",
        root,
        names,
        lambda: contents.labels,
        overwrite=overwrite,
    )
    written = _write_lists(root, contents, overwrite=overwrite)
    masks = _write_all_masks(root, files, contents, overwrite=overwrite, num_workers=num_workers)
    masked = len(contents.labels) - len(contents.unmasked)
    return Summary.of(
        labels,
        names,
        written,
        masks_written=masks,
        masks_kept=masked - masks,
        masks_missing=len(contents.unmasked),
    )
