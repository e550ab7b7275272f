"""`smaf export`: the masks of a run, in the format of an annotation tool."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tqdm import tqdm

from smaf.core.errors import InputError, printable
from smaf.core.options import NOT_NEGATIVE, Options, option
from smaf.data.formats import FORMATS
from smaf.data.formats.format import Export
from smaf.engine.exporting.choosing import chosen, val_ids
from smaf.engine.exporting.folders import new_folder, write_mark
from smaf.engine.exporting.pictures import Making
from smaf.engine.exporting.run_masks import RunMasks
from smaf.engine.pipeline.report import QUALITY


@dataclass(frozen=True)
class ExportPlan(Options):
    """Which masks are exported, and how."""

    GROUP: ClassVar[str] = "export"

    data_root: str | None = option(None, "data set, where the run's record does not name it")
    masks: str | None = option(None, "folder of masks <id>.png in the place of the run's own")
    list_name: str | None = option(None, "list to export; default: every mask", name="list")
    only: str | None = option(
        None,
        "uncertain:50 exports the 50 photographs whose masks are likely the worst, by the run's "
        f"{QUALITY}, without those that have a corrected mask",
    )
    polygons: bool = option(False, "coco: polygons instead of run lengths; holes are cut open")
    tolerance: float = option(
        0.0,
        "pixels by which an outline may be off, so that polygons have fewer points; 0: exact",
        within=NOT_NEGATIVE,
    )
    split: bool = option(False, "an object for each connected part, not one for each class")
    url: str | None = option(
        None,
        "label-studio: address before photographs' names; default: files below its document root",
    )
    link_photos: bool = option(
        False,
        "photographs as second names of the same files (hard links), which take no room: a tool "
        "that writes into one changes your own photograph",
    )
    overwrite: bool = option(
        False, "replace an earlier export in --out, where nothing has changed or all was imported"
    )

    def uncertain(self) -> int | None:
        """How many of the most uncertain photographs are exported; None: all."""
        if self.only is None:
            return None
        found = re.fullmatch(r"uncertain:(\d{1,9})", self.only)
        if found is None or not int(found[1]):
            raise InputError(f"--only {self.only}: expected uncertain:50, or another number")
        return int(found[1])


def export_masks(run: Path, form: str, out: Path, *, plan: ExportPlan) -> str:
    """Write the masks of a run to the new folder `out`; return what was written, in lines.

    `form` is a name of :data:`~smaf.data.formats.FORMATS`. Of a photograph that has a corrected
    mask that one is written, so that the old one does not come back. Photographs that EXIF turns
    are written upright, as masks are: tools do not agree on whether they turn them. Those that are
    gone are left out, with a warning. Raises :class:`InputError`, and leaves nothing behind, where
    a mask or all photographs are missing, for a mask of another size, for options that the format
    does not take, and where `out` holds corrections that nobody imported.
    """
    _check_options(plan, form)
    source = RunMasks.of(run, plan.data_root, masks=Path(plan.masks) if plan.masks else None)
    ids = chosen(source, run, list_name=plan.list_name, uncertain=plan.uncertain())
    making = Making(source, val_ids(source), plan.link_photos)
    with (
        new_folder(out, overwrite=plan.overwrite) as folder,
        tqdm(desc=form, total=len(ids)) as bar,
    ):
        pictures = [making.picture(image_id, bar) for image_id in ids]
        export = Export(
            folder,
            source.classes,
            pictures,
            polygons=plan.polygons,
            tolerance=plan.tolerance,
            split=plan.split,
            url=plan.url,
        )
        FORMATS[form].write(export)
        write_mark(folder, {"format": form, "run": str(run), "photographs": len(ids)})
    return "\n".join(_told(making, run, form, out, ids))


def _told(making: Making, run: Path, form: str, out: Path, ids: Sequence[str]) -> Iterator[str]:
    """What was written, in lines."""
    yield f"exported {len(ids)} masks of {printable(run)} to {printable(out)}, as {form}"
    corrected = sum(image_id in making.source.corrected for image_id in ids)
    if corrected:
        yield f"{corrected} of them are corrected masks of the data set"
    if making.copied:
        megabytes = sum(making.copied.values()) / 1e6
        yield f"{len(making.copied)} photographs were copied, {megabytes:,.1f} MB" + (
            "" if making.link else " (--link_photos takes no room)"
        )
    if making.ignored and not FORMATS[form].ignores:
        yield (
            f"{len(making.ignored)} photographs have ignored pixels (255), which {form} cannot "
            f"say: there they are background; `smaf import --run {printable(run)}` keeps them "
            "ignored"
        )


def _check_options(plan: ExportPlan, form: str) -> None:
    """Raise :class:`InputError` for an option that means nothing in a format."""
    takes = FORMATS[form].takes
    polygons = plan.polygons or (form == "yolo-seg" and "polygons" in takes)
    asked = {"polygons": plan.polygons, "split": plan.split, "url": plan.url is not None}
    for name, value in asked.items():
        if value and name not in takes:
            able = ", ".join(one.name for one in FORMATS.values() if name in one.takes)
            raise InputError(f"--{name} means nothing in {form}: leave it out, or take {able}")
    if plan.tolerance and not polygons:
        raise InputError(f"--tolerance is of polygons, {form} is exact: leave it out")
