"""This module draws pictures of masks, CAMs and targets.

Arrays go in, (H, W, 3) uint8 RGB comes out. Mask value c + 1 is class c.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from smaf.core.classes import IGNORE
from smaf.core.images import voc_palette

IGNORE_COLOUR = (224, 224, 224)
_CONTOUR_COLOUR = (255, 255, 255)
_BAND = 1_000_000  # pixels that are worked on at once


def mask_colours() -> np.ndarray:
    """(256, 3) uint8 RGB: VOC's colour of each mask value, white-grey for 255 (ignored)."""
    colours = voc_palette().copy()
    colours[IGNORE] = IGNORE_COLOUR
    return colours


def colour_mask(mask: np.ndarray) -> np.ndarray:
    """(H, W) uint8 mask values → (H, W, 3) uint8 in VOC's colours, 255 white-grey."""
    _check_mask(mask)
    return mask_colours()[mask]


def _check_mask(mask: np.ndarray) -> None:
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise ValueError(f"expected a mask (H, W) of uint8, got {mask.shape} of {mask.dtype}")


def _photo_of(image: Image.Image, size: tuple[int, ...], what: str) -> np.ndarray:
    """The photograph as (H, W, 3) uint8, checked to be as large as what is laid over it."""
    if (image.height, image.width) != size:
        raise ValueError(
            f"{what} is {size} (H, W), its photograph {(image.height, image.width)}: resize one of "
            "them"
        )
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _blend(under: np.ndarray, over: np.ndarray, alpha: float) -> np.ndarray:
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"expected alpha in 0..1, got {alpha}")
    return np.rint((1.0 - alpha) * under.astype(np.float32) + alpha * over).astype(np.uint8)


def _contour(mask: np.ndarray) -> np.ndarray:
    """Return the contour of the foreground regions, (H, W) bool.

    It is the foreground pixels that have another value above, below, left or right of them, within
    the picture.
    """
    padded = np.pad(mask, 1, mode="edge")
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (mask != 0) & (mask != IGNORE) & np.any([mask != side for side in around], axis=0)


def overlay_mask(image: Image.Image, mask: np.ndarray, *, alpha: float = 0.6) -> np.ndarray:
    """Lay the class colours of `mask` (H, W) uint8 over the photograph: (H, W, 3) uint8.

    `alpha` is the share of the class colour. Each region has a white contour one pixel wide on its
    inside; background pixels stay as they are.
    """
    _check_mask(mask)
    picture = _photo_of(image, mask.shape, "mask")
    rows = max(1, _BAND // max(1, mask.shape[1]))
    for top in range(0, len(mask), rows):  # in bands: a photograph may have 100 million pixels
        near = mask[max(0, top - 1) : top + rows + 1]
        contour = _contour(near)[min(top, 1) :][:rows]
        photo, values = picture[top : top + rows], mask[top : top + rows]
        band = np.where((values == 0)[..., None], photo, _blend(photo, colour_mask(values), alpha))
        band[contour] = _CONTOUR_COLOUR
        picture[top : top + rows] = band
    return picture


def overlay_cam(
    image: Image.Image, cams: Mapping[int, np.ndarray], *, alpha: float = 0.5
) -> np.ndarray:
    """Lay the CAMs over the photograph as one heat map.

    The heat is the maximum of the (H, W) maps in 0..1, from blue at 0 to red at 1 ("turbo"). `cams`
    is keyed by class; without any class the map is 0 everywhere. Values outside 0..1 are clipped.
    """
    heat = (
        np.max(list(cams.values()), axis=0)
        if cams
        else np.zeros((image.height, image.width), dtype=np.float32)
    )
    photo = _photo_of(image, heat.shape, "CAM")
    import matplotlib  # half a second that masks alone do not need

    colours = np.asarray(matplotlib.colormaps["turbo"](np.clip(heat, 0.0, 1.0), bytes=True))[
        ..., :3
    ]
    return _blend(photo, colours, alpha)


def target_picture(target: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draw a reactivated target (C+1, H, W) ≥ 0 at `size` (width, height).

    The target's last channel is background. The colour is the winning channel's (background black),
    paled towards white by the ratio of the runner-up to the winner: full colour where nothing
    competes, white where two channels tie.
    """
    if target.ndim != 3 or target.shape[0] < 2:
        raise ValueError(
            f"expected a target (C+1, H, W) with at least 2 channels, got {target.shape}"
        )
    background = target.shape[0] - 1
    winner = target.argmax(axis=0)
    second, first = np.partition(target.astype(np.float32), background - 1, axis=0)[-2:]
    ratio = np.divide(second, first, out=np.ones_like(first), where=first > 0)[
        ..., None
    ]  # all zero: nothing won
    values = np.where(winner == background, 0, winner + 1).astype(np.uint8)
    picture = np.rint((1.0 - ratio) * colour_mask(values) + ratio * 255.0).astype(np.uint8)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))
