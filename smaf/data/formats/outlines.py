"""Regions of a mask: their connected parts, and polygons around them that have no holes.

Pixels are connected by their sides. A polygon's points lie on the corners of pixels, so that the
pixel in column x and row y covers the square from (x, y) to (x + 1, y + 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

Points = list[tuple[int, int]]


class Part(NamedTuple):
    """A piece of a region: `pixels` (h, w) bool, whose first one lies at column x, row y."""

    x: int
    y: int
    pixels: np.ndarray


def connected_parts(region: np.ndarray, *, x: int = 0, y: int = 0) -> list[Part]:
    """Split a region (H, W) bool into its parts that are connected by pixels' sides.

    `x` and `y` are added to the parts' places. They come in the order of their first pixels.

    Example:
        >>> [(p.x, p.y, p.pixels.shape) for p in connected_parts(np.eye(2, dtype=bool))]
        [(0, 0, (1, 1)), (1, 1, (1, 1))]
    """
    rows, starts, ends = _runs(region)
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    for above, below in _touching(rows, starts, ends):
        one, two = root(above), root(below)
        parent[max(one, two)] = min(one, two)
    members: dict[int, list[int]] = {}
    for run in range(len(rows)):
        members.setdefault(root(run), []).append(run)
    return [_part(rows[runs], starts[runs], ends[runs], x, y) for runs in members.values()]


def _runs(region: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first column and column behind the last one of each run of pixels in a row."""
    height, width = region.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = region
    rows, columns = np.nonzero(np.diff(padded, axis=1))
    return rows[::2], columns[::2], columns[1::2]


def _touching(rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of runs of which one lies just above the other and shares a column with it."""
    row, start, end = rows.tolist(), starts.tolist(), ends.tolist()
    above = 0
    for below in range(len(row)):
        while above < below and (
            row[above] < row[below] - 1
            or (row[above] == row[below] - 1 and end[above] <= start[below])
        ):
            above += 1
        other = above
        while other < below and row[other] == row[below] - 1 and start[other] < end[below]:
            yield other, below
            other += 1


def _part(rows: np.ndarray, starts: np.ndarray, ends: np.ndarray, x: int, y: int) -> Part:
    top, left = int(rows.min()), int(starts.min())
    pixels = np.zeros((int(rows.max()) - top + 1, int(ends.max()) - left), dtype=bool)
    for row, start, end in zip((rows - top).tolist(), starts.tolist(), ends.tolist(), strict=True):
        pixels[row, start - left : end - left] = True
    return Part(x + left, y + top, pixels)


def polygons(region: np.ndarray) -> list[Points]:
    """Polygons whose union is exactly a region (H, W) bool, and none of which has a hole.

    Each connected part gives one; one with holes is cut along straight lines through them, in two
    pieces or more which share nothing. Points go round clockwise, as one sees the picture; a
    polygon may meet itself in a point.

    Example:
        >>> polygons(np.ones((2, 3), dtype=bool))
        [[(0, 0), (3, 0), (3, 2), (0, 2)]]
    """
    found = []
    for whole in connected_parts(region):
        pieces = [whole]
        while pieces:
            piece = pieces.pop()
            outer, *holes = sorted(_outlines(piece.pixels), key=_area, reverse=True)
            if holes:
                pieces += _cut(piece, holes)
            else:
                found.append([(piece.x + x, piece.y + y) for x, y in outer])
    return found


def _area(points: Points) -> int:
    """Twice the area, negative where the points go round against the clock: a hole's."""
    behind = [*points[1:], points[0]]
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, behind, strict=True))


def _cut(piece: Part, holes: Sequence[Points]) -> list[Part]:
    """Cut a piece in two through the hole nearest to its middle, where the cut is the shorter."""
    height, width = piece.pixels.shape
    middles = []
    for hole in holes:
        xs, ys = [x for x, _ in hole], [y for _, y in hole]
        middles.append(((min(xs) + max(xs)) // 2, (min(ys) + max(ys)) // 2))
    x, y = min(middles, key=lambda m: (2 * m[0] - width) ** 2 + (2 * m[1] - height) ** 2)
    pixels = piece.pixels
    down = int((pixels[:, x - 1] & pixels[:, x]).sum())
    across = int((pixels[y - 1] & pixels[y]).sum())
    if down <= across:
        halves = [(0, 0, pixels[:, :x]), (x, 0, pixels[:, x:])]
    else:
        halves = [(0, 0, pixels[:y]), (0, y, pixels[y:])]
    return [
        part
        for left, top, half in halves
        for part in connected_parts(half, x=piece.x + left, y=piece.y + top)
    ]


def _outlines(pixels: np.ndarray) -> list[Points]:
    """The closed lines between a region's pixels and others, each as its corners.

    The region lies to the right of the way round. Where two of its pixels touch in a corner alone
    the line turns right, so that they stay apart.
    """
    codes, following = _edges(pixels)
    width = pixels.shape[1] + 1
    lines, left = [], set(range(len(codes)))
    code, after = codes.tolist(), following.tolist()
    for first in range(len(code)):
        if first not in left:
            continue
        line, edge = [], first
        while edge in left:
            left.discard(edge)
            ahead = after[edge]
            if code[ahead] % 4 != code[edge] % 4:
                y, x = divmod(code[ahead] // 4, width)
                line.append((x, y))
            edge = ahead
        start = min(range(len(line)), key=lambda n: (line[n][1], line[n][0]))
        lines.append(line[start:] + line[:start])
    return lines


def _edges(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted codes of a region's edges, and the place of the edge that follows each.

    A code is four times the number of the corner that the edge starts from (row by row), plus its
    direction: 0 east, 1 south, 2 west, 3 north.
    """
    height, width = pixels.shape
    inside = np.zeros((height + 2, width + 2), dtype=bool)
    inside[1:-1, 1:-1] = pixels
    here, columns = inside[1:-1, 1:-1], width + 1
    open_sides = (inside[:-2, 1:-1], inside[1:-1, 2:], inside[2:, 1:-1], inside[1:-1, :-2])
    begins = ((0, 0), (0, 1), (1, 1), (1, 0))  # row and column of the corner, from the pixel's
    found = []
    for direction, (beyond, (down, right)) in enumerate(zip(open_sides, begins, strict=True)):
        y, x = np.nonzero(here & ~beyond)
        found.append(4 * ((y + down) * columns + x + right) + direction)
    codes = np.sort(np.concatenate(found))
    ends = codes // 4 + np.array([1, columns, -1, -columns])[codes % 4]
    following = np.full(len(codes), -1)
    for turn in (3, 0, 1):  # left, straight on, right: the last one that is there wins
        wanted = 4 * ends + (codes + turn) % 4
        place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        following = np.where(codes[place] == wanted, place, following)
    return codes, following
