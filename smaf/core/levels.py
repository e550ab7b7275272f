"""Greyscale of more than 8 bits, brought to 0..255 by the range of its values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.image_files import ImageFile

log = logging.getLogger("smaf")

_DARK = 4095  # 16 bits without a larger value: 12 bits that nobody scaled, or nearly black
_ROWS = 256
_FIX = "save it with 8 bits, 0..255"


def eight_bits(file: ImageFile) -> Image.Image:
    """A greyscale image of 12, 16 or 32 bits or of floating point as 8 bits; others as they are.

    Whole numbers up to 255 stay; larger ones are of 65,535 (of 4,095 in a 12-bit TIFF). Floating
    point is of 1, or of 255. Raises :class:`InputError` for other ranges, and for 16-bit colours of
    which Pillow keeps nothing.
    """
    if not file.deep:
        _check_colours_above_255(file)
        return file.image
    ends = np.array([(rows.min(), rows.max()) for rows in _strips(file.image)])
    low, high = float(ends.min()), float(ends.max())  # NaN where there is one
    if file.image.mode == "F":
        return _by_strips(file.image, _of_floats(file, low, high))
    if low < 0 or high > 65535:
        raise file.refuse(
            f"has values from {low:.0f} to {high:.0f}, expected 0..255 or 0..65535", _FIX
        )
    if file.bits == 12:
        top = 4095
    else:
        top = 65535 if high > 255 else 255
        if 255 < high <= _DARK:
            _tell_dark(file.what, file.path.parent)
    table = np.rint(np.arange(top + 1) * (255 / top)).astype(np.uint8)
    return _by_strips(file.image, lambda rows: table[rows])


def _of_floats(file: ImageFile, low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return how to scale floating point.

    A little beyond the ends is what resizing does; what lies between is ambiguous.
    """
    unit = low >= -1e-3 and high <= 1 + 1e-3
    if not unit and not (low >= -0.5 and 16 <= high <= 255.5):  # NaN fits neither
        raise file.refuse(
            f"has floating-point values from {low:g} to {high:g}, expected 0..1 or 0..255", _FIX
        )
    factor = np.float32(255 if unit else 1)
    return lambda rows: np.clip(np.rint(rows * factor), 0, 255)


def _strips(image: Image.Image) -> Iterator[np.ndarray]:
    """The image's values, some rows at a time, so that large photographs stay within memory."""
    for top in range(0, image.height, _ROWS):
        yield np.asarray(image.crop((0, top, image.width, min(top + _ROWS, image.height))))


def _by_strips(image: Image.Image, convert: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    out = np.empty((image.height, image.width), dtype=np.uint8)
    for number, rows in enumerate(_strips(image)):
        out[number * _ROWS : (number + 1) * _ROWS] = convert(rows)
    return Image.fromarray(out)


def _check_colours_above_255(file: ImageFile) -> None:
    """Raise :class:`InputError` where no colour of 16 bits is above 255.

    Pillow keeps the upper 8 bits of each colour, so that nothing of it is left.
    """
    if file.bits != 16:
        return
    extrema = file.image.getextrema()
    colours = [high for _, high in extrema][: 3 if file.image.mode == "RGBA" else None]  # type: ignore[misc]
    if not any(colours):
        raise file.refuse("has 16 bits a channel and no colour above 255, or is black", _FIX)
    if max(colours) <= _DARK >> 8:
        _tell_dark(file.what, file.path.parent)


@cache
def _tell_dark(what: str, folder: Path) -> None:
    log.warning(
        "warning: a %s in %s has 16 bits and no value above %d: it is read as nearly black, 65535 "
        "being white; scale 12-bit files to 16 bits; said once",
        what,
        folder,
        _DARK,
    )
