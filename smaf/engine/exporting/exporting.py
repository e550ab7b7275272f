"""`smaf export`: the masks of a run, in the format of an annotation tool."""

from __future__ import annotations

import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError, MissingInputError, printable
from smaf.core.files import atomic_path, link_or_copy, output_folder, plain_name, write_json
from smaf.core.image_files import stand_of
from smaf.core.images import read_image
from smaf.core.options import NOT_NEGATIVE, Options, option
from smaf.data.formats import FORMATS
from smaf.data.formats.format import Export, Picture
from smaf.engine.exporting.run_masks import RunMasks
from smaf.engine.pipeline.report import QUALITY
from smaf.engine.reporting.quality import read_quality

log = logging.getLogger("smaf")
MARK = ".smaf_export.json"  # says that a folder is an export, which another one may replace
_VAL = "val"
_JPEG = (".jpg", ".jpeg")


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
    copy_photos: bool = option(
        False, "copy photographs, also where a second name of the same file would do"
    )
    overwrite: bool = option(False, "replace an earlier export in --out")

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
    are written upright, as masks are: tools do not agree on whether they turn them. Raises
    :class:`InputError`, and leaves nothing behind, where a photograph or mask is missing or of
    another size, and for options that the format does not take.
    """
    _check_options(plan, form)
    source = RunMasks.of(run, plan.data_root, masks=Path(plan.masks) if plan.masks else None)
    ids = _chosen(source, run, plan)
    making = _Making(source, _val_ids(source), plan.copy_photos, set())
    with (
        _new_folder(out, overwrite=plan.overwrite) as folder,
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
        write_json(folder / MARK, {"format": form, "run": str(run), "photographs": len(ids)})
    corrected = sum(image_id in source.corrected for image_id in ids)
    return _told(len(ids), run, form, out, corrected=corrected, ignored=len(making.ignored))


def _told(number: int, run: Path, form: str, out: Path, *, corrected: int, ignored: int) -> str:
    lines = [f"exported {number} masks of {printable(run)} to {printable(out)}, as {form}"]
    if corrected:
        lines.append(f"{corrected} of them are corrected masks of the data set")
    if ignored and not FORMATS[form].ignores:
        lines.append(
            f"{ignored} photographs have ignored pixels (255), which {form} cannot say: there they "
            f"are background; `smaf import --run {printable(run)}` keeps them ignored"
        )
    return "\n".join(lines)


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


def _chosen(source: RunMasks, run: Path, plan: ExportPlan) -> list[str]:
    """The ids to export, in the order of the list, or the most uncertain first."""
    ids = list(source.masks)
    if plan.list_name is not None:
        if source.data is None:
            raise InputError("--list: predictions belong to no data set: name it with --data_root")
        ids = source.data.ids(plan.list_name)
        missing = [image_id for image_id in ids if image_id not in source.masks]
        if missing:
            raise InputError(
                f"list {plan.list_name} has {missing[0]} and {len(missing) - 1} more that "
                f"{printable(source.folder)} has no mask of: name another list or run"
            )
    number = plan.uncertain()
    if number is None:
        return ids
    left = [image_id for image_id in ids if image_id not in source.corrected]
    if not left:
        raise InputError(f"--only uncertain: all {len(ids)} photographs have a corrected mask")
    if source.quality is not None:
        return _lowest(left, source.quality, "the record of predictions")[:number]
    return _lowest(left, _quality(run / QUALITY), printable(run / QUALITY))[:number]


def _lowest(ids: Sequence[str], known: Mapping[str, float], where: str) -> list[str]:
    """Those of `ids` whose quality is known, the lowest first."""
    found = [image_id for image_id in ids if plain_name(image_id) in known]
    if not found:
        raise InputError(f"{where} has no quality of any mask that is exported")
    return sorted(found, key=lambda image_id: known[plain_name(image_id)])


def _quality(path: Path) -> dict[str, float]:
    """Id in composed Unicode → quality, of a run's table."""
    if not path.is_file():
        raise MissingInputError(
            f"--only uncertain: {printable(path)} does not exist: `smaf report` estimates the "
            "quality of a run's masks and writes it"
        )
    return {plain_name(image_id): value for image_id, value in read_quality(path).items()}


def _val_ids(source: RunMasks) -> frozenset[str]:
    data = source.data
    if data is None or not data.list_path(_VAL).is_file():
        return frozenset()
    return frozenset(data.ids(_VAL))


@dataclass(frozen=True)
class _Making:
    """Makes the pictures of an export; `ignored` collects the ids with pixels of 255."""

    source: RunMasks
    val: frozenset[str]
    copy: bool
    ignored: set[str]

    def picture(self, image_id: str, bar: Any) -> Picture:
        """A photograph and its mask; neither is read yet but for the photograph's head."""
        path = self.source.photograph(image_id)
        stand = stand_of(path, "photograph")
        suffix = path.suffix
        if stand.turn is not None and suffix.lower() not in _JPEG:
            suffix = ".png"

        def mask() -> np.ndarray:
            values = self.source.newest(image_id)
            if values.shape[::-1] != stand.size:
                raise InputError(
                    "mask {} is {}×{} pixels, its photograph {} {}×{}: make the masks again".format(
                        self.source.masks[image_id], *values.shape[::-1], path, *stand.size
                    )
                )
            if (values == IGNORE).any():
                self.ignored.add(image_id)
            bar.update()
            return values

        split = "val" if image_id in self.val else "train"
        put = partial(_put, path, stand.turn is not None, self.copy)
        return Picture(image_id, f"{image_id}{suffix}", stand.size, split, mask, put)


def _put(path: Path, turned: bool, copy: bool, target: Path) -> None:
    """Write a photograph: a second name of its file, a copy, or, where EXIF turns it, upright."""
    if turned:
        kind = "JPEG" if target.suffix.lower() in _JPEG else "PNG"
        with atomic_path(target) as temporary:
            read_image(path).save(temporary, format=kind, quality=95)
    elif copy:
        with atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)
    else:
        link_or_copy(path, target)


@contextmanager
def _new_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give an empty folder beside `out`, which becomes `out` after the block."""
    shown, out = printable(out), Path(os.path.realpath(out))
    here = Path.cwd().resolve()
    if out in (here, *here.parents):
        raise InputError(f"--out {shown} is the folder that this runs in: name a new one")
    if out.exists() and not (out.is_dir() and not os.listdir(out)):
        if not (out / MARK).is_file():
            raise InputError(f"--out {shown} holds other files than an export: name a new folder")
        if not overwrite:
            raise InputError(
                f"--out {shown} holds an export: name a new folder, or replace it with --overwrite"
            )
    output_folder(out.parent)
    temporary = out.with_name(f".smaf-{uuid.uuid4().hex[:8]}.part")
    temporary.mkdir()
    try:
        yield temporary
        if out.exists():
            shutil.rmtree(out)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
