"""`smaf init` as a function: a folder of photographs and labels in, a data set out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smaf.core.errors import InputError, printable
from smaf.data.init.faults import Faults
from smaf.data.init.gathering import Source, gather, stop_at_faults
from smaf.data.init.placing import check_place, new_folder
from smaf.data.init.plan import InitPlan
from smaf.data.init.sources import label_files
from smaf.data.init.summary import Summary
from smaf.data.init.writing import write_data
from smaf.data.prepare.preparing import LISTS


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
        used = gather(source, place, plan, faults)
        stop_at_faults(plan, faults)
        with new_folder(place) as temporary:
            return write_data(temporary, place, source, plan, used, faults)
    except InputError as error:
        error.faults = faults  # type: ignore[attr-defined]
        raise


def _source(
    folder: Path, labels: str | Path | Sequence[str | Path] | None, plan: InitPlan
) -> Source:
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
    return Source(folder, label_files(folder, named), masks)


def _check_apart(source: Source, out: Path) -> None:
    """Raise :class:`InputError` where the data set would lie around what it is made of."""
    place = Path(os.path.realpath(out))
    for path in (source.folder, *source.labels, *([source.masks] if source.masks else [])):
        real = Path(os.path.realpath(path))
        if place in (real, *real.parents) and (real == place or place.exists()):
            raise InputError(
                f"--out {printable(out)} holds {printable(path)}, which it is made of: name a new "
                "folder beside it"
            )
