"""Masks in a data set's values, made of what an annotation tool's file says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError
from smaf.core.image_files import Stand, stand_of
from smaf.core.images import read_mask
from smaf.core.names import class_index, find_class, is_background, name_key
from smaf.data.formats.format import Annotated, Format, Layer
from smaf.data.layout import DataRoot
from smaf.engine.exporting.import_plan import ImportPlan
from smaf.engine.exporting.run_masks import RunMasks

_IGNORED = {"ignore", "ignored", "void"}  # labels of what is 255, as name_key has them


@dataclass(frozen=True)
class Read:
    """A mask in the data set's values, and whether objects of several classes overlap in it."""

    mask: np.ndarray
    overlap: bool


@dataclass(frozen=True)
class Reading:
    """Makes masks of what a file says."""

    data: DataRoot
    form: Format
    plan: ImportPlan
    run: RunMasks | None

    def mask(self, image_id: str, one: Annotated) -> Read | None:
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
        return Read(mask, overlap)

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
