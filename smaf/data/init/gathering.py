"""What a folder of photographs and its labels give, read and checked: the data set to be."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smaf.core.classes import ClassMap
from smaf.core.errors import InputError, printable
from smaf.data.init.faults import FEW, Faults
from smaf.data.init.jsonl_source import mask_files
from smaf.data.init.labelled import Labelled
from smaf.data.init.masks import check_masks, find_masks
from smaf.data.init.photographs import check_photographs, find_photographs, without_duplicates
from smaf.data.init.plan import InitPlan
from smaf.data.init.sources import read_labels


@dataclass(frozen=True)
class Source:
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
class Used:
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


def gather(source: Source, out: Path, plan: InitPlan, faults: Faults) -> Used:
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
    return Used(sizes, classes, labelled, mask_folder if masks else None, masks, left_out)


def _require(
    left: Sequence[str] | Mapping[str, Any], source: Source, faults: Faults, what: str
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
    keep, keep_file = kept or (None, "")
    classes = ClassMap.of(labelled.names, keep, keep_file=keep_file)
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


def stop_at_faults(plan: InitPlan, faults: Faults) -> None:
    """With `strict`, raise :class:`InputError` where there are faults."""
    if plan.strict and faults.found:
        kind, count, example, _, fix = faults.table()[0]
        raise InputError(f"--strict: {len(faults.found)} faults: {count} {kind}, {example}: {fix}")
