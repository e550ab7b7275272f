"""Reading photographs; what is read of which file stands in :mod:`smaf.core.images`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.image_files import ImageFile, Needed, loading, open_image
from smaf.core.levels import eight_bits


def read_image(path: Path, *, needed: Needed | None = None) -> Image.Image:
    """Read a photograph as 8-bit RGB, upright; what is transparent becomes white.

    `needed` is a function that is called with the photograph's (width, height) and gives the size
    that it will be brought to. A JPEG of four times that size or more is unpacked at a half, a
    quarter or an eighth, never below twice that size: a photograph of 12 million pixels takes a
    fifth of the time. What is made of it by resizing then differs, on photographs of PASCAL VOC, by
    1.3 (half) or 1.7 grey levels (quarter) in the mean; nearer to the size it would be 3 to 5.

    Raises :class:`InputError` where the file is missing, empty, damaged, too large or no image, or
    where its numbers can be meant in more than one way.
    """
    file = open_image(path, "photograph", needed=needed)
    with loading(path, file.what):
        image = _on_white(file)
        return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(file: ImageFile) -> Image.Image:
    """The photograph, 8 bits a channel, laid on white where it is transparent."""
    image, key = eight_bits(file), file.image.info.get("transparency")
    if file.deep:
        if isinstance(key, int):
            image.paste(255, mask=Image.fromarray(np.asarray(file.image) == key))
        return image
    if key is None and image.mode not in {"RGBA", "LA", "PA", "La", "RGBa"}:
        return image
    white = on_white(_with_alpha(file))
    if white is None:
        raise file.refuse("is transparent everywhere", "save it without transparency")
    return white


def on_white(rgba: Image.Image) -> Image.Image | None:
    """Lay an RGBA picture on white: RGB; None where it is transparent everywhere.

    Example:
        >>> on_white(Image.new("RGBA", (1, 1), (255, 0, 0, 51))).getpixel((0, 0))
        (255, 204, 204)
    """
    if rgba.getchannel("A").getbbox() is None:
        return None
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba)
    return white


def _with_alpha(file: ImageFile) -> Image.Image:
    """Return the image as RGBA.

    A transparent colour that is told in the file's bits is brought to Pillow's 0..255 first.
    """
    image, key = file.image, file.image.info.get("transparency")
    if isinstance(key, int) and image.mode in {"1", "L"} and file.bits < 8:
        image.info["transparency"] = key * 255 // (2**file.bits - 1)
    elif isinstance(key, tuple) and file.bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if image.mode == "RGBA":  # no copy of a large one
        return image
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
