"""COCO's polygons and run lengths painted to class masks, through pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_api

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError
from smaf.core.images import write_mask
from smaf.core.run_lengths import DIGITS, filling_runs, region_of_runs, run_lengths

FIX = "take the file from COCO's annotations_trainval2014.zip again, or mend what wrote it"


class Region(NamedTuple):
    """One annotation: a class 0..C-1, whether it is a crowd, and its outline as COCO writes it.

    `segmentation` is a list of polygons, a dict of run lengths, or None where the file does not say
    which pixels the object covers.
    """

    class_index: int
    crowd: bool
    segmentation: Any


class MaskTask(NamedTuple):
    """A mask to paint: its path, its shape (H, W), its regions, the annotation file for errors."""

    path: Path
    shape: tuple[int, int]
    regions: list[Region]
    source: Path


_MAX_OUTLINE = 5_000_000  # pixels: pycocotools takes 100 bytes for each


def _spans_area(polygon: Any) -> bool:
    """Whether a polygon has three points that are not on one line.

    What is no polygon counts as one here: painting it raises the error that says what is wrong.
    """
    if polygon == []:
        return False
    try:
        (x0, y0), (dx, dy) = polygon[:2], (0, 0)
        for x, y in zip(polygon[2::2], polygon[3::2], strict=False):
            if dx * (y - y0) != dy * (x - x0):
                return True
            dx, dy = (dx, dy) if dx or dy else (x - x0, y - y0)
    except (TypeError, ValueError, OverflowError):
        return True
    return False


def has_outline(segmentation: Any) -> bool:
    """Whether `segmentation` has runs or a polygon that cover at least one pixel."""
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if (
            isinstance(counts, str) and len(counts) <= DIGITS
        ):  # longer ones are more than one number
            with suppress(ValueError):
                counts = run_lengths(counts)
        return not isinstance(counts, list) or any(counts[1::2])
    return isinstance(segmentation, list) and any(_spans_area(polygon) for polygon in segmentation)


def _encode_runs(segmentation: dict[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    height, width = shape
    counts = filling_runs(segmentation, shape)
    return mask_api.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _require_polygon(polygon: Any, shape: tuple[int, int]) -> None:
    """ValueError for what is no list x1, y1, x2, y2, … about the image, or is too long."""
    height, width = shape
    fit = (
        isinstance(polygon, list)
        and len(polygon) % 2 == 0
        and all(type(value) in (int, float) for value in polygon)
        and all(-width <= x <= 2 * width for x in polygon[::2])
        and all(-height <= y <= 2 * height for y in polygon[1::2])
    )
    if not fit:
        raise ValueError(f"its polygon is not a list of x, y within an image of {width}×{height}")
    points = np.array([*polygon, *polygon[:2]], dtype=np.float64).reshape(-1, 2)
    edges = np.abs(np.diff(points, axis=0))
    if edges.max(axis=1, initial=0).sum() > _MAX_OUTLINE:
        raise ValueError(
            f"its polygon is longer than {_MAX_OUTLINE} pixels, which none is in an image"
        )


def encode_region(segmentation: Any, shape: tuple[int, int]) -> dict[str, Any]:
    """Return pycocotools' run-length code of a region in an image of `shape` (H, W).

    `segmentation` is a list of polygons [x1, y1, x2, y2, …] in pixels, whose union is taken, or a
    dict of run lengths down the columns (`counts`, plain or compressed). All is checked before:
    given NaN pycocotools takes all the memory, given runs that do not fill the image it returns
    whatever the memory holds. Raises ValueError.
    """
    if isinstance(segmentation, dict):
        return _encode_runs(segmentation, shape)
    polygons = []
    for polygon in segmentation:
        _require_polygon(polygon, shape)
        # a point or a line covers no pixel, and pycocotools takes four numbers for a box
        if len(polygon) >= 6:
            polygons += mask_api.frPyObjects([polygon], *shape)
    if not polygons:
        return mask_api.encode(np.zeros(shape, dtype=np.uint8, order="F"))
    return mask_api.merge(polygons)


def decode_region(code: dict[str, Any]) -> np.ndarray:
    """(H, W) bool of pycocotools' run-length code.

    Its own decoder takes arrays in a way that NumPy is about to give up.
    """
    height, width = code["size"]
    return region_of_runs(run_lengths(code["counts"].decode("ascii")), (height, width))


def paint_mask(regions: Sequence[Region], shape: tuple[int, int]) -> np.ndarray:
    """Paint regions to an (H, W) uint8 mask of class index + 1, with 0 for background.

    Where objects overlap the smaller one wins (of equals the later one). A crowd is 255, ignored,
    where no object covers it: its outline is too coarse to serve as truth.
    """
    codes = [(region, encode_region(region.segmentation, shape)) for region in regions]
    mask = np.zeros(shape, dtype=np.uint8, order="F")  # as pycocotools decodes
    for region, code in sorted(
        codes, key=lambda pair: (not pair[0].crowd, -int(mask_api.area(pair[1])))
    ):
        mask[decode_region(code)] = IGNORE if region.crowd else region.class_index + 1
    return np.ascontiguousarray(mask)


def write_task(task: MaskTask) -> None:
    """Paint a mask and write it; :class:`InputError` where a region cannot be drawn."""
    try:
        mask = paint_mask(task.regions, task.shape)
    except ValueError as error:
        raise InputError(
            f"annotation file {task.source}, image {task.path.stem}: a region cannot be drawn, "
            f"{error}: {FIX}"
        ) from error
    write_mask(task.path, mask)
