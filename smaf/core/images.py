"""The one reader and writer of photographs, masks and saliency maps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from smaf.core.errors import InputError
from smaf.core.files import require_file, write_bytes

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp", ".tif", ".tiff", ".webp")
Image.MAX_IMAGE_PIXELS = 200_000_000  # Pillow warns above this and refuses twice as many


@cache
def voc_palette() -> np.ndarray:
    """(256, 3) uint8 RGB: PASCAL VOC's colour map, the bits of the index spread over the channels."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    for index in range(256):
        rest = index
        for bit in range(7, -1, -1):
            for channel in range(3):
                palette[index, channel] |= ((rest >> channel) & 1) << bit
            rest >>= 3
    palette.setflags(write=False)
    return palette


def _open(path: Path, what: str) -> Image.Image:
    require_file(path, what, "put it there or take its id off the list")
    try:
        image = Image.open(path)
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "it is empty" if path.stat().st_size == 0 else str(error)
        raise InputError(f"{what} {path} cannot be read ({reason}): replace the file") from error
    return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring Pillow's 16- and 32-bit greyscale modes to 8 bits; others pass."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image).astype(np.float64)
    if image.mode != "F" or values.max(initial=0) > 255:
        values = values / 257.0  # 65535 becomes 255
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def read_image(path: Path) -> Image.Image:
    """Read a photograph as 8-bit RGB, upright.

    Greyscale, palette, CMYK, 16-bit and EXIF-rotated files are converted; what is transparent becomes white.
    Raises :class:`InputError` where the file is missing, empty, truncated or no image.
    """
    image = _eight_bit(_open(path, "photograph"))
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"photograph {path} cannot be read ({error}): replace the file") from error


def _check_size(size: tuple[int, int], expected: tuple[int, int] | None, what: str, path: Path) -> None:
    if expected is not None and size != expected:
        raise InputError(f"{what} {path} is {size[0]}×{size[1]} pixels, its photograph is "
                         f"{expected[0]}×{expected[1]}: make them the same size")


def read_mask(path: Path, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a mask PNG (palette or 8-bit greyscale) as (H, W) uint8 values.

    `size` is the photograph's (width, height); another size is an :class:`InputError`, and so is a colour image.
    """
    image = _open(path, "mask")
    if image.mode == "1":
        image = image.convert("L").point(lambda value: value // 255)
    if image.mode not in {"P", "L"}:
        raise InputError(f"mask {path} is a {image.mode} image: masks are palette or 8-bit greyscale PNGs whose "
                         "values are class numbers")
    _check_size(image.size, size, "mask", path)
    return np.array(image, dtype=np.uint8)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write (H, W) uint8 class values as a palette PNG in VOC's colours, whole or not at all."""
    values = np.ascontiguousarray(mask, dtype=np.uint8)
    image = Image.frombytes("P", (values.shape[1], values.shape[0]), values.tobytes())
    image.putpalette(voc_palette().ravel().tolist())
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    write_bytes(path, stream.getvalue())


def read_saliency(path: Path, *, size: tuple[int, int] | None = None) -> Image.Image:
    """Read a saliency map as an 8-bit greyscale image, 255 most salient.

    `size` is the photograph's (width, height); another size is an :class:`InputError`.
    """
    image = _eight_bit(_open(path, "saliency map")).convert("L")
    _check_size(image.size, size, "saliency map", path)
    return image


def find_image(folders: Sequence[Path], image_id: str) -> Path:
    """Return the photograph `<id>.<suffix>` from the first of `folders` that has one."""
    for folder in folders:
        for suffix in IMAGE_SUFFIXES:
            path = folder / f"{image_id}{suffix}"
            if path.is_file():
                return path
    return folders[0] / f"{image_id}.jpg"
