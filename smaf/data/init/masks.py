"""True masks of a new data set, never trained on: found, checked, pointed to or painted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smaf.core.classes import IGNORE, ClassMap
from smaf.core.errors import InputError, MissingInputError, printable
from smaf.core.files import output_folder
from smaf.core.images import MASK_SUFFIXES, read_mask, write_mask
from smaf.core.parallel import map_parallel
from smaf.core.photo_folders import photo_folders
from smaf.data.init.faults import Faults
from smaf.data.init.labelled import Labelled, Outline
from smaf.data.init.matching import FileIndex
from smaf.data.prepare.coco_masks import paint_mask

MASKS = "SegmentationClassAug"


def find_masks(folder: Path, photographs: Sequence[str], faults: Faults) -> dict[str, str]:
    """Return photograph → mask below `folder`: with the same path up to the suffix, or its end.

    Masks that no photograph has, and those that several might mean, are faults. Raises
    :class:`InputError` where the folder is missing, or has no mask of any photograph.
    """
    if not folder.is_dir():
        raise MissingInputError(f"--masks {printable(folder)} does not exist: name their folder")
    files = [
        (below / name).relative_to(folder).as_posix()
        for below, names in photo_folders(folder)
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in MASK_SUFFIXES
    ]
    index, found = FileIndex(photographs), dict[str, str]()
    for file in sorted(files):
        meant = index.find(file)
        if len(meant) == 1 and meant[0] not in found:
            found[meant[0]] = file
        elif len(meant) == 1:
            faults.add("mask without photograph", file, f"{meant[0]} has {found[meant[0]]}")
        else:
            about = f"may be of {' or '.join(meant[:3])}" if meant else "no photograph of its name"
            faults.add("mask without photograph", file, about)
    if not found:
        raise InputError(
            f"--masks {printable(folder)} has no mask ({', '.join(MASK_SUFFIXES)}) with the path "
            "or name of a photograph: give masks their photographs' names"
        )
    return found


class MaskCheck(NamedTuple):
    """A mask file, the size its photograph has, and the numbers of its classes."""

    path: Path
    size: tuple[int, int]
    num_classes: int
    shown: frozenset[int]  # mask values of the photograph's labels


class Found(NamedTuple):
    """The kind of fault that a mask has (or an empty text), and more about it.

    `against`: it shows classes that its labels do not.
    """

    fault: str = ""
    about: str = ""
    against: bool = False


def check_mask(task: MaskCheck) -> Found:
    """Read a mask and compare it with its photograph's size and labels."""
    try:
        mask = read_mask(task.path)
    except InputError as error:
        return Found("unreadable mask", str(error).split(f"{task.path} ")[-1])
    if mask.shape[::-1] != task.size:
        size = "{}×{}, its photograph {}×{}".format(*mask.shape[::-1], *task.size)
        return Found("mask of another size", size)
    values = {int(v) for v in np.flatnonzero(np.bincount(mask.ravel(), minlength=256))}
    if outside := sorted(v for v in values if task.num_classes < v < IGNORE):
        return Found(
            "unreadable mask",
            f"has the values {outside[:3]}, but there are {task.num_classes} classes",
            against=True,
        )
    if beyond := sorted(values - task.shown - {0, IGNORE}):
        about = f"shows the classes {beyond[:3]}, which its labels do not"
        return Found("mask against labels", about, against=True)
    return Found()


def check_masks(
    folder: Path,
    masks: Mapping[str, str],
    sizes: Mapping[str, tuple[int, int]],
    labelled: Labelled,
    faults: Faults,
    *,
    num_workers: int,
) -> dict[str, str]:
    """Return those of `masks` that can be used.

    Raises :class:`InputError` where most masks show other classes than the labels, which tells that
    their values have another order than `labelled.names`.
    """
    files = [file for file in masks if file in sizes]
    value = {name: number for number, name in enumerate(labelled.names, start=1)}
    tasks = [
        MaskCheck(
            folder / masks[file],
            sizes[file],
            len(labelled.names),
            frozenset(value[name] for name in labelled.shown[file]),
        )
        for file in files
    ]
    results = map_parallel(check_mask, tasks, num_workers=num_workers, what="masks")
    for file, found in zip(files, results, strict=True):
        if found.fault:
            faults.add(found.fault, masks[file], found.about)
    against = sum(found.against for found in results)
    if 2 * against > len(files):
        raise InputError(
            f"{against} of {len(files)} masks in {printable(folder)}, {printable(masks[files[0]])} "
            "for one, show other classes than their labels: their values 1, 2, … are taken for "
            f"{', '.join(labelled.names[:3])}, …; name the right order with --class_names FILE"
        )
    kept = {"", "mask against labels"}
    return {f: masks[f] for f, found in zip(files, results, strict=True) if found.fault in kept}


def _write_mapped(task: tuple[Path, Path], *, classes: ClassMap) -> None:
    source, target = task
    write_mask(target, classes.map_mask(read_mask(source), source))


def write_mapped(
    folder: Path,
    masks: Mapping[str, str],
    ids: Mapping[str, str],
    classes: ClassMap,
    out: Path,
    *,
    num_workers: int,
) -> None:
    """Write masks with the values of the kept classes to `out`; pixels of others become 255."""
    output_folder(out)
    tasks = [(folder / name, out / f"{ids[file]}.png") for file, name in masks.items()]
    function = partial(_write_mapped, classes=classes)
    map_parallel(function, tasks, num_workers=num_workers, what="masks of the kept classes")


class Painting(NamedTuple):
    """A mask to paint: where to, and its outline."""

    path: Path
    outline: Outline


def paint(task: Painting, *, classes: ClassMap) -> str:
    """Paint and write a mask; return what is wrong with its outline, or an empty text."""
    try:
        mask = paint_mask(task.outline.regions, task.outline.shape)
    except ValueError as error:
        return f"a region cannot be drawn, {error}"
    write_mask(task.path, classes.map_mask(mask, task.outline.source))
    return ""


def paint_masks(
    outlines: Mapping[str, Outline],
    sizes: Mapping[str, tuple[int, int]],
    ids: Mapping[str, str],
    classes: ClassMap,
    out: Path,
    faults: Faults,
    *,
    num_workers: int,
) -> int:
    """Paint the masks of the photographs in `sizes` to `out`; return how many.

    An outline in an image of another size than its photograph, or that cannot be drawn, is a fault.
    """
    tasks = []
    for file, outline in outlines.items():
        if file not in sizes:
            continue
        if outline.shape[::-1] != sizes[file]:
            size = "annotated as {}×{}, it is {}×{}".format(*outline.shape[::-1], *sizes[file])
            faults.add("mask of another size", file, size)
        else:
            tasks.append((file, Painting(out / f"{ids[file]}.png", outline)))
    if tasks:
        output_folder(out)
    wrong = map_parallel(
        partial(paint, classes=classes),
        [task for _, task in tasks],
        num_workers=num_workers,
        what="true masks",
        quiet=not tasks,
    )
    for (file, _), about in zip(tasks, wrong, strict=True):
        if about:
            faults.add("unreadable mask", file, about)
    return wrong.count("")
