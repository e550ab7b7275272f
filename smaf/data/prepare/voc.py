"""What VOC 2012 does not ship: image-level labels, class names and the list train_aug.

All are made from the annotations and masks that it does ship.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smaf.core.classes import IGNORE, VOC_CLASSES, ClassMap, read_class_names
from smaf.core.errors import InputError, MissingInputError
from smaf.core.images import IMAGE_SUFFIXES, MASK_SUFFIXES, read_mask
from smaf.core.names import class_index, is_background
from smaf.core.parallel import map_parallel
from smaf.core.xml_text import parse_xml
from smaf.data.layout import MASK_FOLDERS
from smaf.data.lists import read_ids
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


class ImageLabel(NamedTuple):
    """An image's label, (C,) float32 of 0 and 1, and whether its mask is white.

    A white mask has 255, which means ignored, for its only value beside 0.
    """

    shown: np.ndarray
    only_ignored: bool = False


def _label_vector(indices: Iterable[int], num_classes: int) -> np.ndarray:
    label = np.zeros(num_classes, dtype=np.float32)
    label[list(indices)] = 1.0
    return label


def read_xml_label(path: Path, names: Sequence[str]) -> np.ndarray:
    """Return the (C,) float32 label of a VOC annotation.

    Every `<object>` counts, also difficult ones, but not their `<part>`s.

    Raises :class:`InputError` where the file is broken, is another tool's XML, declares a document
    type or entities (a small file of nested entities can fill the memory), or where an object has
    no name or one that is not in `names`.
    """
    fix = "replace the file, or delete it to take the label from the mask"
    tree = parse_xml(path.read_bytes(), f"annotation {path}", fix)
    if tree.tag != "annotation":
        raise InputError(
            f"annotation {path} is not VOC's: it begins with <{tree.tag}>, expected <annotation>: "
            f"{fix}"
        )
    found = [(item.findtext("name") or "").strip() for item in tree.findall("object")]
    if "" in found:
        raise InputError(f"annotation {path}: object {found.index('') + 1} has no name: {fix}")
    try:
        shown = [
            class_index(name, names, f"annotation {path}")
            for name in found
            if not is_background(name)
        ]
    except InputError as error:
        raise InputError(
            f"{error}; mend it, or name the data set's own classes with --class_names"
        ) from error
    return _label_vector(shown, len(names))


def read_mask_label(path: Path, names: Sequence[str]) -> ImageLabel:
    """Return the label of a mask: the classes that have a pixel in it."""
    mask = ClassMap.of(names).map_mask(read_mask(path), path)
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
    classes = [value - 1 for value in values if 0 < value < IGNORE]
    return ImageLabel(_label_vector(classes, len(names)), not classes and IGNORE in values)


def _read_label(path: Path, names: Sequence[str]) -> ImageLabel:
    is_xml = path.suffix.lower() == ".xml"
    return ImageLabel(read_xml_label(path, names)) if is_xml else read_mask_label(path, names)


def _check_not_all_white(labels: Mapping[Path, ImageLabel]) -> None:
    """Raise :class:`InputError` where no mask has a value beside 0 and 255.

    Such masks come from tools that draw objects in white; a few may be all ignored.
    """
    doubtful = [path for path, label in labels.items() if label.only_ignored]
    if not doubtful:
        return
    said = (
        f"{len(doubtful)} of {len(labels)} masks, {doubtful[0]} for one, have no value but 0 and "
        "255, and 255 means ignored"
    )
    if not any(label.shown.any() for label in labels.values()):
        raise InputError(
            f"{said}, so they show no class: write the class's number (1 for the first) where its "
            "objects are"
        )
    log.warning("warning: %s, so that nothing says what they show: they get no labels", said)


def image_labels(
    root: Path, names: Sequence[str], *, num_workers: int = 0
) -> dict[str, np.ndarray]:
    """Return the labels of photographs in `root/JPEGImages`, id → (C,) float32.

    They come from annotations (XML), and from masks where there are none; a mask of ignored pixels
    and background gives none, since training would take what it hides for background.
    """
    photos = files_by_id(root / "JPEGImages", IMAGE_SUFFIXES)
    if not photos:
        raise MissingInputError(
            f"{root / 'JPEGImages'} has no photographs: name the folder that holds JPEGImages "
            "(VOCdevkit/VOC2012), or use --dataset coco"
        )
    sources = [files_by_id(root / "Annotations", (".xml",))]
    sources += [files_by_id(root / folder, MASK_SUFFIXES) for folder in MASK_FOLDERS]
    found = {
        image_id: next((files[image_id] for files in sources if image_id in files), None)
        for image_id in photos
    }
    paths = {image_id: path for image_id, path in found.items() if path}
    if not paths:
        raise MissingInputError(
            f"{root} has neither Annotations/<id>.xml nor {'/<id>.png nor '.join(MASK_FOLDERS)}"
            "/<id>.png of its photographs: put them there, or write metadata/image_labels.csv "
            "yourself (columns image, labels)"
        )
    masks = [path for path in paths.values() if path.suffix.lower() != ".xml"]
    log.info(
        "%d photographs: labels of %d from Annotations, of %d from masks, %d have neither",
        len(photos),
        len(paths) - len(masks),
        len(masks),
        len(photos) - len(paths),
    )
    labels = map_parallel(
        partial(_read_label, names=tuple(names)),
        list(paths.values()),
        num_workers=num_workers,
        what="labels",
    )
    by_path = dict(zip(paths.values(), labels, strict=True))
    _check_not_all_white({path: by_path[path] for path in masks})
    labelled = zip(paths, labels, strict=True)
    return {i: label.shown for i, label in labelled if not label.only_ignored}


def train_aug_ids(root: Path) -> list[str] | None:
    """Return the sorted ids of the augmented masks outside val (and test).

    In VOC 2012 these are 10,582. None where there are no augmented masks. Without a val list
    nothing is returned: training on what is evaluated later would go unnoticed.
    """
    masks = files_by_id(root / "SegmentationClassAug", MASK_SUFFIXES)
    held_out = [
        path for name in ("val", "test") if (path := root / LISTS / f"{name}.txt").is_file()
    ]
    if not masks:
        log.info(
            "no train_aug list: %s has no masks (they come from SBD, not with VOC)",
            root / "SegmentationClassAug",
        )
        return None
    if not (root / LISTS / "val.txt").is_file():
        log.info("no train_aug list: there is no %s to keep out of it", root / LISTS / "val.txt")
        return None
    outside = {image_id for path in held_out for image_id in read_ids(path)}
    return [image_id for image_id in masks if image_id not in outside]


def prepare_voc(
    root: Path, *, class_names: Path | None = None, overwrite: bool = False, num_workers: int = 0
) -> Summary:
    """Write image-level labels, class names and train_aug of a data set in VOC layout.

    `class_names` is the file of the data set's own classes; without one
    `root/metadata/*/labels.txt` serves, else VOC's 20 are written to `metadata/voc12/labels.txt`.
    Files that are there are kept unless `overwrite`.
    """
    name_file = class_names or find_name_file(root)
    names = read_class_names(name_file) if name_file else VOC_CLASSES
    name_file = name_file or root / "metadata" / "voc12" / "labels.txt"
    labels = store_labels(
        name_file.parent / "image_labels.csv",
        root,
        names,
        lambda: image_labels(root, names, num_workers=num_workers),
        overwrite=overwrite,
    )
    if not name_file.exists():
        write_class_names(name_file, names)
    taken = find_name_file(root)
    if taken is None or taken.resolve() != name_file.resolve():
        log.info(
            "commands take %s unless you name %s with --class_names",
            taken or "VOC's 20 class names",
            name_file,
        )
    lists = {}
    path = root / LISTS / "train_aug.txt"
    ids = train_aug_ids(root)
    if ids and wants(path, overwrite=overwrite):
        write_lines(path, ids)
        lists[str(path)] = len(ids)
    return Summary.of(labels, names, lists)
