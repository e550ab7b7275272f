"""Small pictures for the page's gallery, as data URIs: a photograph, masks, maps, targets.

Each is a few kilobytes, so that 2,000 photographs fit into one page. Masks and maps are palette
PNGs with transparent places: the browser lays them over the photograph.
"""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np
from PIL import Image, features

from smaf.report.pictures import mask_colours

SIDE = 288  # pixels of a photograph's longer side, and of its masks
MAP_SIDE = 96  # of maps, which are smooth: the browser enlarges them
_LEVELS = 24  # of a map
_CLEAR, _FULL = 0.05, 0.5  # values of a map up to which it is transparent, and from which it is not


def fitted(size: tuple[int, int], side: int = SIDE) -> tuple[int, int]:
    """(W, H) with a longer side of at most `side`.

    Example:
        >>> fitted((500, 375)), fitted((100, 20))
        ((288, 216), (100, 20))
    """
    factor = min(1.0, side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def data_uri(kind: str, data: bytes) -> str:
    """The bytes of a picture as a `data:` address; `kind` is webp, jpeg or png."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def photo_uri(photo: Image.Image) -> str:
    """An RGB photograph, made as small as :data:`SIDE`; WebP, or JPEG where Pillow has no WebP."""
    small = photo.resize(fitted(photo.size), Image.Resampling.LANCZOS, reducing_gap=2.0)
    kind = "webp" if features.check("webp") else "jpeg"
    stream = io.BytesIO()
    options = {"method": 2} if kind == "webp" else {"optimize": True}
    small.save(stream, format=kind.upper(), quality=62, **options)
    return data_uri(kind, stream.getvalue())


def mask_uri(mask: np.ndarray) -> str:
    """A mask (H, W) uint8 in the classes' colours, background transparent, 255 in grey."""
    small = Image.fromarray(mask).resize(fitted(mask.shape[::-1]), Image.Resampling.NEAREST)
    values, places = np.unique(np.asarray(small), return_inverse=True)
    palette = np.concatenate([mask_colours()[:1], mask_colours()[values]])  # background is first
    return _palette_uri(places.reshape(small.size[::-1]) + 1, palette, _alpha_of(values))


def _alpha_of(values: np.ndarray) -> bytes:
    return bytes([0, *(0 if value == 0 else 255 for value in values)])


def map_uri(values: np.ndarray) -> str:
    """A map (H, W) in 0..1 in the colours of "turbo", transparent where it is near 0."""
    size = fitted(values.shape[::-1], MAP_SIDE)
    plane = Image.fromarray(np.asarray(values, dtype=np.float32))
    small = np.asarray(plane.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
    levels = np.rint(np.clip(small, 0.0, 1.0) * (_LEVELS - 1)).astype(np.uint8)
    return _palette_uri(levels, *_heat())


@cache
def _heat() -> tuple[np.ndarray, bytes]:
    """The levels' colours, (levels, 3) uint8, and their alpha."""
    import matplotlib  # half a second that masks alone do not need

    shares = np.linspace(0.0, 1.0, _LEVELS)
    colours = np.asarray(matplotlib.colormaps["turbo"](shares, bytes=True))[:, :3]
    alpha = np.clip((shares - _CLEAR) / (_FULL - _CLEAR), 0.0, 1.0)
    return colours, np.rint(255 * alpha).astype(np.uint8).tobytes()


def grey_uri(image: Image.Image) -> str:
    """A greyscale picture, such as a saliency map, as a small PNG of 16 levels."""
    small = image.convert("L").resize(fitted(image.size, MAP_SIDE), Image.Resampling.BILINEAR)
    levels = np.asarray(small) // 16
    palette = np.repeat(np.arange(16, dtype=np.uint8)[:, None] * 17, 3, axis=1)
    return _palette_uri(levels, palette, bytes([255] * 16))


def picture_uri(picture: np.ndarray) -> str:
    """A small picture (H, W, 3) uint8 of flat colours, such as a target, in 32 colours."""
    stream = io.BytesIO()
    Image.fromarray(picture).quantize(32).save(stream, format="PNG", optimize=True)
    return data_uri("png", stream.getvalue())


def _palette_uri(indices: np.ndarray, palette: np.ndarray, alpha: bytes) -> str:
    image = Image.fromarray(np.ascontiguousarray(indices, dtype=np.uint8))
    image.putpalette(palette.astype(np.uint8).ravel().tolist())
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=False, transparency=alpha)
    return data_uri("png", stream.getvalue())
