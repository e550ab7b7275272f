"""The overlay of a predicted mask: class colours over the photograph, their names below it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.files import write_bytes
from smaf.engine.predicting.result_files import OVERLAY_COMMENT
from smaf.report.legend import add_legend
from smaf.report.pictures import overlay_mask

MAX_OVERLAY = 4096  # pixels of an overlay's longer side, without its legend


def draw_overlay(
    photo: Image.Image,
    mask: np.ndarray,
    names: Sequence[str],
    *,
    legend: bool = True,
    max_side: int = MAX_OVERLAY,
) -> Image.Image:
    """The mask's colours over the photograph, and with `legend` the names of its classes below.

    Args:
        photo: RGB, W×H; one longer than `max_side` pixels is made smaller, and the mask with it.
        mask: (H, W) uint8, 0 background, class index + 1.
        names: of all classes, without background.
    """
    values = np.unique(mask).tolist()
    if max(photo.size) > max_side:
        factor = max_side / max(photo.size)
        size = max(1, round(photo.width * factor)), max(1, round(photo.height * factor))
        photo = photo.resize(size, Image.Resampling.BICUBIC)
        mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    picture = Image.fromarray(overlay_mask(photo, mask))
    if not legend:
        return picture
    return add_legend(picture, {v: names[v - 1] for v in values if 0 < v <= len(names)})


def write_overlay(path: Path, picture: Image.Image) -> None:
    """Write an overlay as JPEG, with the comment by which it is known again."""
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=92, comment=OVERLAY_COMMENT)
    write_bytes(path, stream.getvalue())
