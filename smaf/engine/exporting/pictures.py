"""The pictures of an export: photographs, upright, and their masks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError
from smaf.core.files import atomic_path, link_or_copy
from smaf.core.image_files import stand_of
from smaf.core.images import read_image
from smaf.data.formats.format import Picture
from smaf.engine.exporting.run_masks import RunMasks

_JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Making:
    """Makes the pictures of an export, and counts what it wrote.

    Args:
        source: the masks.
        val: the ids that belong to list val.
        link: photographs are second names of the same files, where the disk can do that.
        ignored: collects the ids with pixels of 255.
        copied: collects the bytes of each photograph that takes room on the disk.
    """

    source: RunMasks
    val: frozenset[str]
    link: bool
    ignored: set[str] = field(default_factory=set)
    copied: dict[str, int] = field(default_factory=dict)

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
        put = partial(self._put, image_id, path, stand.turn is not None)
        return Picture(image_id, f"{image_id}{suffix}", stand.size, split, mask, put)

    def _put(self, image_id: str, path: Path, turned: bool, target: Path) -> None:
        """Write a photograph: a copy, a second name, or, where EXIF turns it, upright."""
        if turned:
            kind = "JPEG" if target.suffix.lower() in _JPEG else "PNG"
            with atomic_path(target) as temporary:
                read_image(path).save(temporary, format=kind, quality=95)
        elif self.link:
            link_or_copy(path, target)
        else:
            with atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)
        if not target.samefile(path):
            self.copied[image_id] = target.stat().st_size
