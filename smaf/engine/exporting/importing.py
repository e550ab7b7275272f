"""`smaf import`: what an annotation tool made of the masks becomes a data set's corrected masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image
from tqdm import tqdm

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError
from smaf.core.image_files import Stand, stand_of
from smaf.core.images import MASK_SUFFIXES, find_images, read_mask, write_mask
from smaf.core.names import class_index, find_class, is_background, name_key
from smaf.core.options import Options, option
from smaf.data.formats import FORMATS, format_of
from smaf.data.formats.format import Annotated, Format, Layer
from smaf.data.formats.photographs import Photographs, listed_ids, unknown
from smaf.data.formats.place import Place
from smaf.data.layout import DataRoot
from smaf.engine.exporting.run_masks import RunMasks

log = logging.getLogger("smaf")
_IGNORED = {"ignore", "ignored", "void"}  # labels of what is 255, as name_key has them


@dataclass(frozen=True)
class ImportPlan(Options):
    """What is taken of a file, and what it is compared with."""

    GROUP: ClassVar[str] = "import"

    format: str | None = option(
        None, "its format; default: seen by itself", name="from", choices=tuple(FORMATS)
    )
    list_name: str | None = option(
        None, "list that the photographs are on; default: all lists", name="list"
    )
    empty: str = option(
        "auto",
        "a photograph without any object: background, or left out (skip); auto: background where "
        "the format says that somebody looked at it",
        choices=("auto", "background", "skip"),
    )
    run: str | None = option(
        None,
        "run, or folder of predictions, that was exported: corrected masks are compared with its "
        "masks, and pixels that it ignores (255) stay so where no object covers them",
    )
    only_changed: bool = option(
        False, "write only the masks that differ from those of --run", name="changed"
    )


@dataclass
class Imported:
    """What was imported, for the summary.

    `differing` are the pixels of each photograph that differ from what was there; `compared` says
    what that is. Counts of photographs: `skipped` without any object, `overlapping` with objects of
    several classes in one place, `unchanged` not written.
    """

    source: str
    folder: Path
    compared: str
    differing: dict[str, int] = field(default_factory=dict)
    pixels: int = 0
    skipped: int = 0
    overlapping: int = 0
    unchanged: int = 0

    def __str__(self) -> str:
        """A line for what was written, one for what differs, and one for each thing to know."""
        changed = [count for count in self.differing.values() if count]
        lines = [f"imported {len(self.differing)} masks from {self.source} into {self.folder}"]
        if self.pixels:
            lines.append(
                f"{len(changed)} of them differ from {self.compared}, by {sum(changed):,} pixels "
                f"({100 * sum(changed) / self.pixels:.2f} % of those that were compared)"
            )
        if self.unchanged:
            lines.append(f"{self.unchanged} are as they were and were not written (--changed)")
        if self.skipped:
            lines.append(
                f"{self.skipped} photographs without an object were left out (--empty background "
                "takes them as background)"
            )
        if self.overlapping:
            lines.append(
                f"{self.overlapping} photographs have objects of several classes in one place: "
                "the later or higher one was taken"
            )
        return "\n".join(lines)


def import_masks(data: DataRoot, source: Path, plan: ImportPlan) -> Imported:
    """Write the masks that an annotation tool's file or folder holds to `CorrectedMasks/`.

    Their values are those of the data set's classes, 0 background, 255 ignored. All is read and
    checked before the first mask is written. Raises :class:`InputError` for photographs and classes
    that the data set does not have, for pictures of another size, and for damaged files.
    """
    if plan.only_changed and plan.run is None:
        raise InputError("--changed: name the run whose masks were exported with --run")
    place = Place.at(source)
    form = format_of(place) if plan.format is None else FORMATS[plan.format]
    found = _matched(data, form.read(place), plan.list_name, f"{form.name} {place}")
    run = None if plan.run is None else RunMasks.of(Path(plan.run), data)
    compared = "what was there" if plan.run is None else f"the masks of {plan.run}"
    reading = _Reading(data, form, plan, run)
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
    return done


def _write_one(image_id: str, read: _Read | None, reading: _Reading, done: Imported) -> None:
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


@dataclass(frozen=True)
class _Read:
    """A mask in the data set's values, and whether objects of several classes overlap in it."""

    mask: np.ndarray
    overlap: bool


@dataclass(frozen=True)
class _Reading:
    """Makes masks of what a file says."""

    data: DataRoot
    form: Format
    plan: ImportPlan
    run: RunMasks | None

    def mask(self, image_id: str, one: Annotated) -> _Read | None:
        """The mask of a photograph; None where nobody has looked at it, as far as is known."""
        stand = stand_of(self.data.photo_path(image_id), "photograph")
        size = _drawn_size(one, stand)
        mask, overlap, empty = np.zeros(size[::-1], dtype=np.uint8), False, True
        try:
            for layer in one.layers(size[::-1]):
                value = self._value(layer, one.where)
                under = mask[layer.pixels]
                overlap |= bool(((under != 0) & (under != value)).any())
                mask[layer.pixels] = value
                empty = False
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{one.where}: {error}: mend it in the tool") from error
        if empty and not self._is_background(one):
            return None
        if size != stand.size and stand.turn is not None:
            mask = np.asarray(Image.fromarray(mask).transpose(stand.turn))
        if self.run is not None and not self.form.ignores:
            ignored = self.run.ignored(image_id, size=stand.size)
            mask[ignored & (mask == 0)] = IGNORE
        return _Read(mask, overlap)

    def before(self, image_id: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """What a mask (H, W) is compared with: that of the run, or the one that is there already.

        None: there is none. Raises :class:`InputError` for one of another size, and for a damaged
        one.
        """
        size = (shape[1], shape[0])
        if self.run is not None:
            return self.run.source_mask(image_id, size=size)
        path = self.data.corrected_folder / f"{image_id}.png"
        return read_mask(path, size=size) if path.is_file() else None

    def _is_background(self, one: Annotated) -> bool:
        return self.plan.empty == "background" or (self.plan.empty == "auto" and one.looked_at)

    def _value(self, layer: Layer, where: str) -> int:
        """The value of a layer in the data set's masks."""
        label, names = layer.label, self.data.classes.source
        if label is None:
            return IGNORE
        if isinstance(label, int):
            if label > len(names):
                raise InputError(
                    f"{where}: it has the value {label}, but the data set has {len(names)} classes"
                )
            return label
        known = find_class(label, names)
        if known is None and is_background(label):
            return 0
        if known is None and name_key(label) in _IGNORED:
            return IGNORE
        return class_index(label, names, where) + 1


def _drawn_size(one: Annotated, stand: Stand) -> tuple[int, int]:
    """The (width, height) that a file's objects are drawn in.

    That of the photograph, upright, or as it lies in its file, where the tool has not turned it.
    """
    lying = stand.size[::-1]
    if one.size in (None, stand.size):
        return stand.size
    if one.size == lying and stand.turn is not None:
        return lying
    raise InputError(
        "{}: it is of a picture of {}×{} pixels, the photograph is {}×{}: annotate the photograph "
        "at its own size".format(one.where, *(one.size or ()), *stand.size)
    )
