"""Pictures of a prediction: its mask, with the classes' names, and its maps over the photograph."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.files import write_bytes
from smaf.engine.predicting.predictor import Prediction
from smaf.engine.predicting.result_files import OVERLAY_COMMENT
from smaf.report.legend import add_legend
from smaf.report.pictures import overlay_cam, overlay_mask

MAX_OVERLAY = 4096  # pixels of an overlay's longer side, without its legend
MAX_CAM = 2048  # of that of a class's map


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
        photo = _at_most(photo, max_side)
        mask = np.asarray(Image.fromarray(mask).resize(photo.size, Image.Resampling.NEAREST))
    picture = Image.fromarray(overlay_mask(photo, mask))
    if not legend:
        return picture
    return add_legend(picture, {v: names[v - 1] for v in values if 0 < v <= len(names)})


def _at_most(photo: Image.Image, side: int) -> Image.Image:
    """The photograph with a longer side of at most `side` pixels."""
    factor = side / max(photo.size)
    if factor >= 1:
        return photo
    size = max(1, round(photo.width * factor)), max(1, round(photo.height * factor))
    return photo.resize(size, Image.Resampling.BICUBIC)


def draw_cams(photo: Image.Image, prediction: Prediction) -> Iterator[tuple[int, Image.Image]]:
    """Class index and its map as a heat map over the photograph, of the classes taken, in turn.

    A photograph longer than :data:`MAX_CAM` pixels is made smaller.
    """
    small = _at_most(photo, MAX_CAM)
    for place, c in enumerate(prediction.scores):
        kept = replace(prediction.sized, maps=prediction.sized.maps[place : place + 1])
        one = replace(prediction, scores={c: prediction.scores[c]}, sized=kept.at(small.size))
        yield c, Image.fromarray(overlay_cam(small, one.maps()))


def write_overlay(path: Path, picture: Image.Image) -> None:
    """Write an overlay as JPEG, with the comment by which it is known again."""
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=92, comment=OVERLAY_COMMENT)
    write_bytes(path, stream.getvalue())
