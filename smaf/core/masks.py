"""Reading masks; what is read of which file stands in :mod:`smaf.core.images`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from smaf.core.image_files import MAX_PIXELS, ImageFile, loading, open_image
from smaf.core.png import read_plain_png

_NUMBERS = "save it as a palette or 8-bit greyscale PNG whose values are class numbers"
_VOC_255 = (224, 224, 192)  # VOC's colour of what is ignored


def read_mask(path: Path, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a mask as (H, W) uint8: the numbers that are in the file.

    `size` is the photograph's (width, height); another size is an :class:`InputError`, and so is a
    file that is damaged, of a lossy format, or in colours.
    """
    values = _plain_mask(path, size)
    if values is not None:
        return values
    file = open_image(path, "mask", whole=True)
    file.check_one_frame()
    file.check_size(size)
    if not file.lossless:
        raise file.refuse(
            f"is a {file.kind} file, which does not keep class numbers exactly", _NUMBERS
        )
    if file.white_is_zero:
        raise file.refuse("is a TIFF where white is 0, so its numbers are upside down", _NUMBERS)
    with loading(path, file.what):
        return _numbers(file)


def _plain_mask(path: Path, size: tuple[int, int] | None) -> np.ndarray | None:
    """The numbers of a plain PNG that nothing speaks against; None: it is to be looked at again."""
    with loading(path, "mask"):
        plain = read_plain_png(path, most=MAX_PIXELS)
    if plain is None or size not in (None, plain.values.shape[::-1]):
        return None
    return None if _moved_255(plain.palette, plain.values) is not None else plain.values


def _numbers(file: ImageFile) -> np.ndarray:
    image = file.image
    if file.deep:
        return _whole_numbers(file)
    if image.mode == "1":
        return np.array(image, dtype=np.uint8)
    if image.mode == "L":
        return np.array(image) // np.uint8(
            255 // (2**file.bits - 1)
        )  # Pillow spreads 2 and 4 bits over 0..255
    if image.mode == "P":
        values = np.array(image)
        _check_palette_unsorted(file, values)
        return values
    return _one_channel(file)


def _whole_numbers(file: ImageFile) -> np.ndarray:
    """The values of a deep image, where all are whole and none is beyond 255."""
    values = np.asarray(file.image)
    low, high = values.min(initial=0), values.max(initial=0)
    if not (low >= 0 and high <= 255 and np.array_equal(values, np.rint(values))):
        raise file.refuse(
            f"is a {file.image.mode} image with values from {low:g} to {high:g}, expected whole "
            "numbers 0..255",
            _NUMBERS,
        )
    return values.astype(np.uint8)


def _check_palette_unsorted(file: ImageFile, values: np.ndarray) -> None:
    """Raise :class:`InputError` where an optimiser sorted the palette by colour.

    With VOC's colour of 255 elsewhere the numbers are no classes any more.
    """
    palette = np.array(file.image.getpalette("RGB") or []).reshape(-1, 3)
    moved = _moved_255(palette, values)
    if moved is not None:
        raise file.refuse(
            f"has VOC's colour of 255 (ignored) as number {moved}: a tool has sorted its "
            "palette, so that its numbers are no classes",
            "take the mask as it was before",
        )


def _moved_255(palette: np.ndarray, values: np.ndarray) -> int | None:
    """The number below 255 that has VOC's colour of 255 in a palette (n, 3), where it is used."""
    moved = [int(n) for n in np.flatnonzero((palette == _VOC_255).all(axis=1)) if n != 255]
    return moved[0] if moved and (values == moved[0]).any() else None


def _one_channel(file: ImageFile) -> np.ndarray:
    """The numbers of an image of several channels, where they are told in one way."""
    image = file.image
    values = np.array(image)
    if image.mode in {"LA", "PA", "La", "RGBA"} and values[..., -1].min(initial=255) < 255:
        raise file.refuse(
            f"is a {image.mode} image with transparent pixels, which are no class", _NUMBERS
        )
    if image.mode in {"LA", "PA", "La"}:
        return np.ascontiguousarray(values[..., 0])
    if image.mode in {"RGB", "RGBA"} and file.bits == 8:
        channel = np.ascontiguousarray(values[..., 0])
        if (
            channel.any()
            and (channel == values[..., 1]).all()
            and (channel == values[..., 2]).all()
        ):
            return channel
    raise file.refuse(f"is a {image.mode} image, whose colours are no class numbers", _NUMBERS)


def why_no_class(seen: np.ndarray) -> str | None:
    """Say what is wrong with masks that show no class, and the fix.

    `seen` (256,) bool tells which values occur. None where one of them is a class.

    Example:
        >>> why_no_class(np.bincount([0, 255], minlength=256) > 0)
        'have no value but 0 and 255 (ignored), as masks of one class are often written: write 1 for
        the class'
    """
    if seen[1:255].any():
        return None
    if not seen[0]:
        return "are all ignored (255): keep more classes (--classes), or name another list"
    if not seen[255]:
        return "are all background (0): name another list, or the right masks"
    return (
        "have no value but 0 and 255 (ignored), as masks of one class are often written: write "
        "1 for the class"
    )
