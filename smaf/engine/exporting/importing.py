"""`smaf import`: what an annotation tool made of the masks becomes a data set's corrected masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError
from smaf.core.images import MASK_SUFFIXES, find_images, write_mask
from smaf.data.formats import FORMATS, format_of
from smaf.data.formats.format import Annotated
from smaf.data.formats.photographs import Photographs, listed_ids, unknown
from smaf.data.formats.place import Place
from smaf.data.layout import DataRoot
from smaf.engine.exporting.folders import Importing
from smaf.engine.exporting.import_plan import Imported, ImportPlan
from smaf.engine.exporting.reading import Read, Reading
from smaf.engine.exporting.run_masks import RunMasks


def import_masks(data: DataRoot, source: Path, plan: ImportPlan) -> Imported:
    """Write the masks that an annotation tool's file or folder holds to `CorrectedMasks/`.

    Their values are those of the data set's classes, 0 background, 255 ignored. All is read and
    checked before the first mask is written. Raises :class:`InputError` for photographs and classes
    that the data set does not have, for pictures of another size, and for damaged files.
    """
    if plan.only_changed and plan.run is None:
        raise InputError("--changed: name the run whose masks were exported with --run")
    place = Place.at(source)
    noted = Importing(source)
    form = format_of(place) if plan.format is None else FORMATS[plan.format]
    found = _matched(data, form.read(place), plan.list_name, f"{form.name} {place}")
    run = None if plan.run is None else RunMasks.of(Path(plan.run), data)
    compared = "what was there" if plan.run is None else f"the masks of {plan.run}"
    reading = Reading(data, form, plan, run)
    done = Imported(f"{form.name} {place}", data.corrected_folder, compared)
    for image_id, path in find_images(
        [data.corrected_folder], found, suffixes=MASK_SUFFIXES
    ).items():
        if path.suffix != ".png":
            raise InputError(f"{path} would be beside {image_id}.png: move it away")
    for image_id, one in tqdm(found.items(), desc="checking"):
        read = reading.mask(image_id, one)
        if read is not None:
            reading.before(image_id, read.mask.shape)
    for image_id, one in tqdm(found.items(), desc="writing"):
        _write_one(image_id, reading.mask(image_id, one), reading, done)
    noted.done()
    return done


def _write_one(image_id: str, read: Read | None, reading: Reading, done: Imported) -> None:
    """Write a mask where it counts, and note what is to be told of it."""
    if read is None:
        done.skipped += 1
        return
    before = reading.before(image_id, read.mask.shape)
    differing = 0
    if before is not None:
        known = before != IGNORE if reading.run is not None else np.ones(before.shape, dtype=bool)
        differing = int((before != read.mask)[known].sum())
        done.pixels += int(known.sum())
    if reading.plan.only_changed and not differing:
        done.unchanged += 1
        return
    write_mask(done.folder / f"{image_id}.png", read.mask)
    done.differing[image_id] = differing
    done.overlapping += read.overlap


def _matched(
    data: DataRoot, found: Sequence[Annotated], list_name: str | None, what: str
) -> dict[str, Annotated]:
    """Id → what the file says of it."""
    photographs = Photographs(data, listed_ids(data, list_name))
    ids = [photographs.find(one.name) for one in found]
    missing = [one.name for one, image_id in zip(found, ids, strict=True) if image_id is None]
    if missing:
        raise unknown(missing, data, what)
    matched: dict[str, Annotated] = {}
    for one, image_id in zip(found, ids, strict=True):
        other = matched.setdefault(str(image_id), one)
        if other is not one:
            raise InputError(
                f"{one.where} and {other.where} are both of photograph {image_id}: keep one of them"
            )
    return matched
