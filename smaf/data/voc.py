"""What VOC 2012 does not ship, made from what it does: image-level labels, class names and the list train_aug."""

from __future__ import annotations

import logging
import multiprocessing
import re
import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from smaf.core.classes import VOC_CLASSES, ClassMap, read_class_names
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import check_id, output_folder, read_lines, write_text
from smaf.core.images import IMAGE_SUFFIXES, read_mask
from smaf.core.labels import read_image_labels, write_image_labels
from smaf.data.layout import LABEL_FILES, MASK_FOLDERS, NAME_FILES

log = logging.getLogger("smaf")

LISTS = Path("ImageSets", "Segmentation")
_TASKS_A_CHUNK = 32

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Summary:
    """What a data set has after `smaf prepare`: images, images of each class, and what this run wrote."""

    images: int
    unlabelled: int
    per_class: Mapping[str, int]
    lists: Mapping[str, int]
    masks_written: int = 0
    masks_kept: int = 0

    @staticmethod
    def of(labels: Mapping[str, np.ndarray], names: Sequence[str], lists: Mapping[str, int], *,
           masks_written: int = 0, masks_kept: int = 0) -> Summary:
        """Count `labels`, image id → (C,)."""
        table = np.stack(list(labels.values())) > 0
        counts = {name: int(n) for name, n in zip(names, table.sum(axis=0), strict=True)}
        return Summary(len(labels), int((~table.any(axis=1)).sum()), counts, dict(lists), masks_written, masks_kept)

    def __str__(self) -> str:
        rarest = min(self.per_class, key=self.per_class.__getitem__)
        commonest = max(self.per_class, key=self.per_class.__getitem__)
        lines = [f"images with labels: {self.images} ({self.unlabelled} of them show no class)",
                 f"images a class: {self.per_class[rarest]} ({rarest}) to {self.per_class[commonest]} ({commonest})"]
        lines += [f"list written: {path}, {count} ids" for path, count in self.lists.items()]
        if self.masks_written or self.masks_kept:
            lines.append(f"masks: {self.masks_written} written, {self.masks_kept} were there")
        return "\n".join(lines)


def wants(path: Path, *, overwrite: bool) -> bool:
    """Whether `path` is to be written: it is not there, or `overwrite` says so. Its folder must be writable."""
    if path.exists() and not overwrite:
        log.info("kept %s (--overwrite makes it anew)", path)
        return False
    output_folder(path.parent)
    return True


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write text lines, whole or not at all."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_class_names(path: Path, names: Sequence[str]) -> None:
    """Write class names as the field's `labels.txt` has them: `0 background`, `1 aeroplane`, …"""
    write_lines(path, (f"{index} {name}" for index, name in enumerate(("background", *names))))


def find_name_file(root: Path) -> Path | None:
    """The class-name file that the commands take for `root`, None where there is none."""
    return next((path for pattern in NAME_FILES for path in sorted(root.glob(pattern))), None)


def check_names(names: Sequence[str], source: Path) -> None:
    """A separator in a class name would split it in two where the CSV table is read."""
    unfit = [name for name in names if re.search(r"[;,|]", name)]
    if unfit:
        raise InputError(f"{source}: class name {unfit[0]!r} has one of ; , | in it, which separate names in label "
                         "tables: rename it")


def store_labels(path: Path, root: Path, names: Sequence[str], make: Callable[[], dict[str, np.ndarray]], *,
                 overwrite: bool) -> dict[str, np.ndarray]:
    """Write the labels that `make` returns to `path`, or read them where `path` is kept. Id → (C,) float32."""
    if wants(path, overwrite=overwrite):
        labels = make()
        write_image_labels(path, labels, names)
    else:
        try:
            labels = read_image_labels(path, names)
        except InputError as error:
            raise InputError(f"{error}; or let --overwrite make it anew") from error
    taken = next((found for pattern in LABEL_FILES for found in sorted(root.glob(pattern))), None)
    if taken is None or taken.resolve() != path.resolve():
        log.info("commands take %s unless you name %s with --labels", taken or "no labels", path)
    return labels


def map_parallel(function: Callable[[Task], Result], tasks: Sequence[Task], *, num_workers: int,
                 what: str) -> list[Result]:
    """`[function(task) for task in tasks]` with a progress bar, in `num_workers` processes (0 or 1: in this one)."""
    if num_workers <= 1 or len(tasks) <= _TASKS_A_CHUNK:
        with tqdm(tasks, desc=what) as bar:
            return [function(task) for task in bar]
    # spawn: a forked worker would hold on to the whole annotation file that this process has in memory
    try:
        with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn"),
                                 initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool, \
             tqdm(pool.map(function, tasks, chunksize=_TASKS_A_CHUNK), desc=what, total=len(tasks)) as bar:
            return list(bar)
    except BrokenProcessPool as error:
        raise InputError("a worker process was killed, most likely because the memory is full: run the same command "
                         "again with fewer --num_workers") from error


def _label_vector(indices: Iterable[int], num_classes: int) -> np.ndarray:
    label = np.zeros(num_classes, dtype=np.float32)
    label[list(indices)] = 1.0
    return label


def read_xml_label(path: Path, names: Sequence[str]) -> np.ndarray:
    """(C,) float32 label from a VOC annotation: every `<object>`, the difficult ones too, without their `<part>`s.

    Raises :class:`InputError` where the file is broken, declares a document type or entities (a small file of
    nested entities can fill the memory), or names a class that is not in `names`.
    """
    fix = "replace the file, or delete it to take the label from the mask"
    try:
        # decoded here and parsed as text: another encoding could hide a declaration from the test below
        text = path.read_text(encoding="utf-8-sig")
        if re.search(r"<!(DOCTYPE|ENTITY)", text, flags=re.IGNORECASE):
            raise InputError(f"annotation {path} declares a document type or entities, which VOC files do not: {fix}")
        tree = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise InputError(f"annotation {path} is not valid XML ({error}): {fix}") from error
    found = [(item.findtext("name") or "").strip() for item in tree.findall("object")]
    unknown = sorted({name for name in found if name not in names})
    if unknown:
        raise InputError(f"annotation {path}: unknown class name {unknown[0]!r}: the data set has {', '.join(names)}; "
                         "mend it, or name the data set's own classes with --class_names")
    return _label_vector((names.index(name) for name in found), len(names))


def read_mask_label(path: Path, names: Sequence[str]) -> np.ndarray:
    """(C,) float32 label: the classes that have a pixel in the mask."""
    mask = ClassMap.of(names).map_mask(read_mask(path), path)
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[: len(names) + 1])
    return _label_vector((int(value) - 1 for value in values if value), len(names))


def _read_label(path: Path, names: Sequence[str]) -> np.ndarray:
    return (read_xml_label if path.suffix == ".xml" else read_mask_label)(path, names)


def file_ids(folder: Path, suffixes: Sequence[str]) -> list[str]:
    """Sorted ids of the files with one of `suffixes`; hidden files (a Mac leaves `._<id>.jpg`) are left out."""
    if not folder.is_dir():
        return []
    return sorted({check_id(path.stem, folder) for path in folder.iterdir()
                   if path.suffix in suffixes and not path.name.startswith(".")})


def image_labels(root: Path, names: Sequence[str], *, num_workers: int = 0) -> dict[str, np.ndarray]:
    """Labels of every photograph in `root/JPEGImages` that has an annotation (XML), else a mask: id → (C,) float32."""
    photos = file_ids(root / "JPEGImages", IMAGE_SUFFIXES)
    if not photos:
        raise MissingInputError(f"{root / 'JPEGImages'} has no photographs: name the folder that holds JPEGImages "
                                "(VOCdevkit/VOC2012), or use --dataset coco")
    sources = [("Annotations", set(file_ids(root / "Annotations", (".xml",))), ".xml")]
    sources += [(folder, set(file_ids(root / folder, (".png",))), ".png") for folder in MASK_FOLDERS]
    paths = {}
    for image_id in photos:
        place = next(((folder, suffix) for folder, ids, suffix in sources if image_id in ids), None)
        if place:
            paths[image_id] = root / place[0] / f"{image_id}{place[1]}"
    if not paths:
        raise MissingInputError(f"{root} has neither Annotations/<id>.xml nor {'/<id>.png nor '.join(MASK_FOLDERS)}"
                                "/<id>.png of its photographs: put them there, or write metadata/image_labels.csv "
                                "yourself (columns image, labels)")
    from_xml = sum(path.suffix == ".xml" for path in paths.values())
    log.info("%d photographs: labels of %d from Annotations, of %d from masks, %d have neither", len(photos), from_xml,
             len(paths) - from_xml, len(photos) - len(paths))
    labels = map_parallel(partial(_read_label, names=tuple(names)), list(paths.values()), num_workers=num_workers,
                          what="labels")
    return dict(zip(paths, labels, strict=True))


def train_aug_ids(root: Path) -> list[str] | None:
    """Sorted ids of the augmented masks outside val (and test): 10,582 in VOC 2012. None where there are none.

    Without a val list nothing is returned: training on what is evaluated later would go unnoticed.
    """
    masks = file_ids(root / "SegmentationClassAug", (".png",))
    held_out = [path for name in ("val", "test") if (path := root / LISTS / f"{name}.txt").is_file()]
    if not masks:
        log.info("no train_aug list: %s has no masks (they come from SBD, not with VOC)", root / "SegmentationClassAug")
        return None
    if not (root / LISTS / "val.txt").is_file():
        log.info("no train_aug list: there is no %s to keep out of it", root / LISTS / "val.txt")
        return None
    outside = {check_id(line, path) for path in held_out
               for line in read_lines(path, "list", "restore it from VOC's ImageSets/Segmentation")}
    return [image_id for image_id in masks if image_id not in outside]


def prepare_voc(root: Path, *, class_names: Path | None = None, overwrite: bool = False,
                num_workers: int = 0) -> Summary:
    """Write image-level labels, class names and train_aug of a data set in VOC layout.

    `class_names` is the file of the data set's own classes; without one `root/metadata/*/labels.txt` serves, else
    VOC's 20 are written to `metadata/voc12/labels.txt`. Files that are there are kept unless `overwrite`.
    """
    name_file = class_names or find_name_file(root)
    names = read_class_names(name_file) if name_file else VOC_CLASSES
    name_file = name_file or root / "metadata" / "voc12" / "labels.txt"
    check_names(names, name_file)
    labels = store_labels(name_file.parent / "image_labels.csv", root, names,
                          lambda: image_labels(root, names, num_workers=num_workers), overwrite=overwrite)
    if not name_file.exists():
        write_class_names(name_file, names)
    taken = find_name_file(root)
    if taken is None or taken.resolve() != name_file.resolve():
        log.info("commands take %s unless you name %s with --class_names", taken or "VOC's 20 class names", name_file)
    lists = {}
    path = root / LISTS / "train_aug.txt"
    ids = train_aug_ids(root)
    if ids and wants(path, overwrite=overwrite):
        write_lines(path, ids)
        lists[str(path)] = len(ids)
    return Summary.of(labels, names, lists)
