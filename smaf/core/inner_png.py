"""PNG pictures within other files: in archives, or as text in JSON."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from PIL import Image

from smaf.core.image_files import MAX_PIXELS
from smaf.core.png import SIGNATURE


def open_png(data: bytes) -> Image.Image:
    """Return the picture in the bytes of a PNG, loaded, as the file has it.

    Raises ValueError, which says what is wrong: it is no PNG, damaged, or of more than
    :data:`~smaf.core.images.MAX_PIXELS` pixels.
    """
    if not data.startswith(SIGNATURE):
        raise ValueError("it is no PNG")
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG",))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"it has {image.width}×{image.height} pixels, more than are read")
        image.load()
    except ValueError:
        raise
    except Exception as error:  # Pillow's readers raise nearly every kind on damaged files
        raise ValueError(f"it cannot be read ({str(error)[:80]})") from error
    return image


def binary_text(region: np.ndarray) -> str:
    """Return a region (H, W) bool as base64 text of an 8-bit PNG of 0 and 1."""
    stream = io.BytesIO()
    Image.fromarray(region.astype(np.uint8)).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def binary_of(text: str) -> np.ndarray:
    """Return the region (H, W) bool in base64 text of a PNG: what is not black.

    Raises ValueError as :func:`open_png` does.

    Example:
        >>> binary_of(binary_text(np.array([[True, False]])))
        array([[ True, False]])
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("it is not base64") from error
    image = open_png(data)
    return np.asarray(image if image.mode == "L" else image.convert("L")) > 0
