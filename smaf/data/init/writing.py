"""The files of a new data set: lists, labels, class names, masks, pointers, the table of faults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from smaf.core.labels import write_image_labels
from smaf.data.init.faults import Faults
from smaf.data.init.gathering import Source, Used, stop_at_faults
from smaf.data.init.ids import make_ids
from smaf.data.init.masks import MASKS, paint_masks, write_mapped
from smaf.data.init.placing import MADE
from smaf.data.init.plan import InitPlan
from smaf.data.init.split import split_ids
from smaf.data.init.summary import Summary
from smaf.data.pointers import folder_name, write_files, write_pointers
from smaf.data.prepare.preparing import LISTS, write_class_names, write_lines


def write_data(
    temporary: Path, out: Path, source: Source, plan: InitPlan, used: Used, faults: Faults
) -> Summary:
    """Write the data set to `temporary`, as it will lie in `out`."""
    ids = make_ids(used.sizes)
    shown = {ids[file]: used.shown(file) for file in used.sizes}
    painted, pointed = _write_masks(temporary, used, ids, plan, faults)
    stop_at_faults(plan, faults)
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


def _write_masks(
    temporary: Path, used: Used, ids: Mapping[str, str], plan: InitPlan, faults: Faults
) -> tuple[int, dict[str, str]]:
    """Write the masks that need it; return how many, and photograph → mask of those that do not."""
    place, classes, workers = temporary / MASKS, used.classes, plan.num_workers
    if used.masks and used.mask_folder:
        if classes.names == classes.source:
            return 0, used.masks
        write_mapped(used.mask_folder, used.masks, ids, classes, place, num_workers=workers)
        return len(used.masks), {}
    outlines = used.labelled.outlines
    painted = paint_masks(outlines, used.sizes, ids, classes, place, faults, num_workers=workers)
    return painted, {}


def _lists(
    used: Used, ids: Mapping[str, str], shown: Mapping[str, frozenset[int]], plan: InitPlan
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


def _vectors(shown: Mapping[str, frozenset[int]], num_classes: int) -> dict[str, np.ndarray]:
    """Id → (C,) float32 of 0 and 1."""
    table = np.zeros((len(shown), num_classes), dtype=np.float32)
    for vector, indices in zip(table, shown.values(), strict=True):
        vector[list(indices)] = 1.0
    return dict(zip(shown, table, strict=True))
