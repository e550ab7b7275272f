"""Polygons and boxes of annotation tools, drawn to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from smaf.data.formats.outlines import Points, polygons
from smaf.data.prepare.coco_masks import decode_region, encode_region


def draw_polygons(lines: Sequence[Sequence[float]], shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of the union of polygons x1, y1, x2, y2, … in pixels, as COCO's code draws them.

    Raises ValueError for what is no polygon about the picture, and where none covers a pixel.
    """
    region = decode_region(encode_region([list(line) for line in lines], shape))
    if not region.any():
        raise ValueError("its polygon covers no pixel")
    return region


def flat(points: Any) -> list[float]:
    """Numbers x1, y1, x2, y2, … of a list of points [x, y]; ValueError for what is none."""
    try:
        numbers = [float(value) for point in points for value in point]
        fit = all(len(point) == 2 for point in points)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("its points are no list of x, y") from error
    if not fit or not np.isfinite(numbers).all():
        raise ValueError("its points are no list of x, y")
    return numbers


def inside(numbers: Sequence[float], size: tuple[int, int]) -> list[float]:
    """Numbers x1, y1, … moved to the border of a picture (width, height) where they are beyond.

    Tools let a pointer go a little beyond it.
    """
    return [min(max(value, 0.0), float(size[n % 2])) for n, value in enumerate(numbers)]


def outline(region: np.ndarray, *, tolerance: float = 0.0) -> list[list[tuple[float, float]]]:
    """Polygons around a region, without holes: see :func:`smaf.data.formats.outlines.polygons`.

    With a tolerance in pixels there are fewer points, see :func:`simplified`.
    """
    found = []
    for points in polygons(region):
        exact = [(float(x), float(y)) for x, y in points]
        fewer = simplified(points, tolerance) if tolerance else exact
        found.append(fewer if len(fewer) > 2 else exact)
    return found


def simplified(points: Points, tolerance: float) -> list[tuple[float, float]]:
    """Leave out points of a closed line that lie at most `tolerance` from the line without them.

    Douglas and Peucker's way, from the first point and the one farthest from it.

    Example:
        >>> simplified([(0, 0), (4, 0), (4, 1), (8, 1), (8, 9), (0, 9)], 1.0)
        [(0.0, 0.0), (8.0, 1.0), (8.0, 9.0), (0.0, 9.0)]
    """
    line = np.asarray([*points, points[0]], dtype=np.float64)
    last = len(points)
    far = int(((line - line[0]) ** 2).sum(axis=1).argmax())
    kept = np.zeros(last + 1, dtype=bool)
    kept[[0, far, last]] = True
    todo = [(0, far), (far, last)]
    while todo:
        start, end = todo.pop()
        if end - start < 2:
            continue
        along, away = line[end] - line[start], line[start + 1 : end] - line[start]
        length = float(np.hypot(*along))
        distance = (
            np.abs(along[0] * away[:, 1] - along[1] * away[:, 0]) / length
            if length
            else np.hypot(away[:, 0], away[:, 1])
        )
        place = int(distance.argmax())
        if distance[place] > tolerance:
            middle = start + 1 + place
            kept[middle] = True
            todo += [(start, middle), (middle, end)]
    return [(x, y) for x, y in line[:-1][kept[:-1]].tolist()]
