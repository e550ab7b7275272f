"""`smaf init` as a function: a folder of photographs and labels in, a data set out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.classes import ClassMap
from smaf.core.errors import InputError, printable
from smaf.core.labels import write_image_labels
from smaf.data.init.faults import FEW, Faults
from smaf.data.init.ids import make_ids
from smaf.data.init.jsonl_source import mask_files
from smaf.data.init.labelled import Labelled
from smaf.data.init.masks import MASKS, check_masks, find_masks, paint_masks, write_mapped
from smaf.data.init.photographs import check_photographs, find_photographs, without_duplicates
from smaf.data.init.plan import InitPlan
from smaf.data.init.sources import label_files, read_labels
from smaf.data.init.split import split_ids
from smaf.data.init.summary import Summary
from smaf.data.init.writing import MADE, check_place, new_folder
from smaf.data.pointers import folder_name, write_files, write_pointers
from smaf.data.prepare.preparing import LISTS, write_class_names, write_lines


@dataclass(frozen=True)
class _Source:
    """What was named: the folder, the label files (none: class folders), the masks' folder."""

    folder: Path
    labels: list[Path]
    masks: Path | None

    def call(self, plan: InitPlan) -> dict[str, Any]:
        """What decides the data set, as `dataset.json` records it."""
        return {
            "folder": os.path.abspath(self.folder),
            "labels": [os.path.abspath(path) for path in self.labels],
            **plan.decisive(),
        }


@dataclass(frozen=True)
class _Set:
    """The photographs that are used: file → size, kept classes, names shown, masks (files).

    `left_out` photographs were found and are not used.
    """

    sizes: dict[str, tuple[int, int]]
    classes: ClassMap
    labelled: Labelled
    mask_folder: Path | None
    masks: dict[str, str]
    left_out: int

    def shown(self, file: str) -> frozenset[int]:
        """The indices of the kept classes that a photograph shows."""
        names = self.labelled.shown[file]
        return frozenset(c for c, name in enumerate(self.classes.names) if name in names)


def init_data(
    folder: str | Path,
    labels: str | Path | Sequence[str | Path] | None,
    out: str | Path,
    *,
    plan: InitPlan | None = None,
    **options: Any,
) -> Summary:
    """Make a data set in `out` of the photographs in `folder`, which stay where they are.

    Args:
        folder: photographs at any depth.
        labels: a table, `metadata.jsonl`, COCO's JSON (or several of the latter two), or the word
            "folders" for one folder a class; None: what lies in `folder`.
        out: the new data set: a new or empty folder, or one that the same call has made, which is
            then brought up to date; with `overwrite` by another call.
        plan: the options; `options` are fields of it in their stead.

    Photographs and rows with faults are left out where :data:`~smaf.data.init.faults.KINDS` says
    so. Raises :class:`InputError`, and leaves nothing behind, where nothing usable is left, and
    with `strict` at any fault; the error has the table as its attribute `faults`.
    """
    plan = (plan or InitPlan()).changed(**options)
    source, place = _source(Path(folder), labels, plan), Path(out)
    _check_apart(source, place)
    check_place(place, source.call(plan), overwrite=plan.overwrite)
    faults = Faults()
    try:
        used = _used(source, place, plan, faults)
        _stop_at_faults(plan, faults)
        with new_folder(place) as temporary:
            return _write(temporary, place, source, plan, used, faults)
    except InputError as error:
        error.faults = faults  # type: ignore[attr-defined]
        raise


def _source(
    folder: Path, labels: str | Path | Sequence[str | Path] | None, plan: InitPlan
) -> _Source:
    if not folder.is_dir():
        raise InputError(
            f"folder of photographs {printable(folder)} does not exist, or is no folder: name the "
            "folder that holds them"
        )
    if (folder / "JPEGImages").is_dir() and (folder / LISTS).is_dir():
        raise InputError(
            f"{printable(folder)} is a data set in VOC layout already: use it as it is (`smaf "
            "prepare` makes labels), or name the folder JPEGImages in it"
        )
    named = [labels] if isinstance(labels, str | Path) else labels
    masks = Path(plan.masks) if plan.masks else None
    return _Source(folder, label_files(folder, named), masks)


def _check_apart(source: _Source, out: Path) -> None:
    """Raise :class:`InputError` where the data set would lie around what it is made of."""
    place = Path(os.path.realpath(out))
    for path in (source.folder, *source.labels, *([source.masks] if source.masks else [])):
        real = Path(os.path.realpath(path))
        if place in (real, *real.parents) and (real == place or place.exists()):
            raise InputError(
                f"--out {printable(out)} holds {printable(path)}, which it is made of: name a new "
                "folder beside it"
            )


def _used(source: _Source, out: Path, plan: InitPlan, faults: Faults) -> _Set:
    """Read and check all that was named."""
    kept, names, folder = plan.kept(), plan.names(), source.folder
    without = [out, *([source.masks] if source.masks else []), *mask_files(folder, source.labels)]
    photographs = find_photographs(folder, faults, without=without)
    labelled = read_labels(folder, source.labels, photographs, faults, names=names)
    conflicting = {fault.what for fault in faults.of("conflicting rows")}
    for file in photographs:
        if file not in labelled.shown and printable(file) not in conflicting:
            faults.add("unlabelled", file)
    given = [file for file in photographs if file in labelled.shown]
    _require(given, source, faults, "has a label")
    workers = plan.num_workers
    checked = check_photographs(folder, given, faults, min_side=plan.min_side, num_workers=workers)
    checked = without_duplicates(folder, checked, labelled.shown, faults, num_workers=workers)
    _require(checked, source, faults, "can be used")
    sizes = {file: found.size for file, found in checked.items()}
    classes = _classes(labelled, sizes, faults, kept=kept, fixed=bool(kept or names))
    mask_folder, masks = source.masks or folder, labelled.masks
    if source.masks:
        masks = find_masks(source.masks, photographs, faults)
    if masks:
        masks = check_masks(mask_folder, masks, sizes, labelled, faults, num_workers=workers)
    total = len(photographs) + faults.count("file name", "unknown format")
    left_out = total - len(sizes)
    return _Set(sizes, classes, labelled, mask_folder if masks else None, masks, left_out)


def _require(
    left: Sequence[str] | Mapping[str, Any], source: _Source, faults: Faults, what: str
) -> None:
    if left:
        return
    labels = source.labels[0] if source.labels else source.folder
    # photographs without a row may be so since the rows' names are wrong: that says more
    worst = max(faults.table(), key=lambda row: (row[0] != "unlabelled", row[1]), default=None)
    about = f"; the most are {worst[0]}, {worst[2]}: {worst[4]}" if worst else ""
    raise InputError(
        f"no photograph of {printable(source.folder)} {what} (labels: {printable(labels)}){about}"
    )


def _classes(
    labelled: Labelled,
    sizes: Mapping[str, Any],
    faults: Faults,
    *,
    kept: tuple[tuple[str, ...], str] | None,
    fixed: bool,
) -> ClassMap:
    """The classes of the data set, with the faults that they have.

    Those without a photograph are dropped, unless the classes are `fixed` by the user.
    """
    classes = ClassMap.of(
        labelled.names, kept[0] if kept else None, keep_file=kept[1] if kept else ""
    )
    times = {name: sum(name in labelled.shown[file] for file in sizes) for name in classes.names}
    for name, count in times.items():
        if count == 0 and not fixed:
            faults.add("class without photograph", name)
        elif count < FEW:
            faults.add("few photographs", name, f"{count} photograph{'' if count == 1 else 's'}")
        if count == len(sizes):
            faults.add("on every photograph", name, f"all {count}")
    left = classes.names if fixed else tuple(n for n, count in times.items() if count)
    if not any(times.values()):
        raise InputError(
            f"no photograph shows any of the classes {', '.join(classes.names[:5])}: all of the "
            f"{len(sizes)} show none; label some, or keep others (--classes)"
        )
    return ClassMap(labelled.names, left)


def _write(
    temporary: Path, out: Path, source: _Source, plan: InitPlan, used: _Set, faults: Faults
) -> Summary:
    """Write the data set to `temporary`, as it will lie in `out`."""
    ids = make_ids(used.sizes)
    shown = {ids[file]: used.shown(file) for file in used.sizes}
    painted, pointed = _write_masks(temporary, used, ids, plan, faults)
    _stop_at_faults(plan, faults)
    lists = _lists(used, ids, shown, plan)
    for name, members in lists.items():
        write_lines(temporary / LISTS / f"{name}.txt", members)
    names = used.classes.names
    write_class_names(temporary / "metadata" / "classes" / "labels.txt", names)
    write_image_labels(temporary / "labels.csv", _vectors(shown, len(names)), names)
    rows = sorted((ids[file], file, pointed.get(file, "")) for file in used.sizes)
    write_files(temporary, rows, masks=bool(pointed))
    mask_folder = folder_name(used.mask_folder, out) if pointed and used.mask_folder else None
    photo_folder, made = folder_name(source.folder, out), {MADE: source.call(plan)}
    write_pointers(temporary, photo_folder, mask_folder, **made)
    faults.write(temporary)
    masks = painted or len(pointed)
    return Summary.of(out, names, lists, shown, faults, left_out=used.left_out, masks=masks)


def _vectors(shown: Mapping[str, frozenset[int]], num_classes: int) -> dict[str, np.ndarray]:
    """Id → (C,) float32 of 0 and 1."""
    table = np.zeros((len(shown), num_classes), dtype=np.float32)
    for vector, indices in zip(table, shown.values(), strict=True):
        vector[list(indices)] = 1.0
    return dict(zip(shown, table, strict=True))


def _stop_at_faults(plan: InitPlan, faults: Faults) -> None:
    if plan.strict and faults.found:
        kind, count, example, _, fix = faults.table()[0]
        raise InputError(f"--strict: {len(faults.found)} faults: {count} {kind}, {example}: {fix}")


def _write_masks(
    temporary: Path, used: _Set, ids: Mapping[str, str], plan: InitPlan, faults: Faults
) -> tuple[int, dict[str, str]]:
    """Write the masks that need it; return how many, and photograph → mask of those that do not."""
    place = temporary / MASKS
    if used.masks and used.mask_folder:
        if used.classes.names == used.classes.source:
            return 0, used.masks
        write_mapped(used.mask_folder, used.masks, ids, used.classes, place)
        return len(used.masks), {}
    outlines = used.labelled.outlines
    painted = paint_masks(
        outlines, used.sizes, ids, used.classes, place, faults, num_workers=plan.num_workers
    )
    return painted, {}


def _lists(
    used: _Set, ids: Mapping[str, str], shown: Mapping[str, frozenset[int]], plan: InitPlan
) -> dict[str, list[str]]:
    """List name → sorted ids: `all`, and the source's lists, or a split by labels."""
    told = {
        name: sorted(ids[file] for file in files if file in ids)
        for name, files in used.labelled.lists.items()
    }
    told = {name: members for name, members in told.items() if members}
    lists = {"all": sorted(ids.values())}
    if "train" in told and "val" in told:
        listed = {i for members in told.values() for i in members}
        told["train"] = sorted([*told["train"], *(i for i in lists["all"] if i not in listed)])
        return {**lists, **told}
    held = {i for name, members in told.items() if name == "test" for i in members}
    rest = {i: found for i, found in shown.items() if i not in held}
    train, val = split_ids(rest, share=plan.val_share, seed=plan.seed)
    lists |= {"train": train, **({"val": val} if val else {})}
    return {**lists, **({"test": sorted(held)} if held else {})}
