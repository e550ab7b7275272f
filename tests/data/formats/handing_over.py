"""Masks handed to a format and read back, without a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smaf.core.classes import IGNORE
from smaf.core.names import is_background
from smaf.data.formats import FORMATS, format_of
from smaf.data.formats.format import Annotated, Export, Picture
from smaf.data.formats.place import Place

CLASSES = ("cat", "dog", "traffic light")


def picture(image_id: str, mask: np.ndarray, split: str = "train") -> Picture:
    """A picture whose photograph is grey."""
    size = (mask.shape[1], mask.shape[0])
    return Picture(
        image_id,
        f"{image_id}.jpg",
        size,
        split,
        lambda: mask,
        lambda path: Image.new("RGB", size, "grey").save(path),
    )


def write(form: str, folder: Path, masks: Mapping[str, np.ndarray], **options: Any) -> Path:
    """Write masks by id in a format; ids that begin with val are of that list."""
    folder.mkdir()
    classes: Sequence[str] = options.pop("classes", CLASSES)
    pictures = [
        picture(i, mask, "val" if i.startswith("val") else "train") for i, mask in masks.items()
    ]
    FORMATS[form].write(Export(folder, tuple(classes), pictures, **options))
    return folder


def draw(one: Annotated, shape: tuple[int, int], classes: Sequence[str] = CLASSES) -> np.ndarray:
    """The mask (H, W) of what a file says of a photograph."""
    mask = np.zeros(shape, dtype=np.uint8)
    for label, pixels in one.layers(shape):
        if label is None:
            mask[pixels] = IGNORE
        elif isinstance(label, int):
            mask[pixels] = label
        else:
            mask[pixels] = 0 if is_background(label) else classes.index(label) + 1
    return mask


def read(place: Path, form: str | None = None) -> dict[str, Annotated]:
    """Stem → what the file says; the format is seen by itself."""
    at = Place.at(place)
    found = format_of(at)
    assert form is None or found.name == form
    return {Path(one.name).name.removesuffix(".jpg"): one for one in found.read(at)}


def noise(rng: np.random.Generator, shape: tuple[int, int], *, share: float = 0.5) -> np.ndarray:
    """A mask of single pixels, holes and parts of three classes."""
    mask = rng.integers(1, 4, shape).astype(np.uint8)
    mask[rng.random(shape) > share] = 0
    return mask


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of two regions; 1 where both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0
