"""The brush that the demo's scenes are painted with: shaded parts on a patch of pixels."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from smaf.data.demo.fields import Colour, Field, Points, blur, closed_curve, noise


class Brush:
    """A square patch of pixels with an object's coordinates, and the light that falls on it.

    `x`, `y` (h, w) are the object's coordinates of each pixel; `rgb` (h, w, 3), `alpha` (h, w) and
    `evidence` (h, w), how strongly a saliency detector answers to the part, all in [0, 1], are what
    has been painted.
    """

    def __init__(
        self,
        scale: float,
        rng: np.random.Generator,
        *,
        light: tuple[float, float, float],
        angle: float = 0.0,
        mirror: bool = False,
        reach: float = 1.3,
    ) -> None:
        half = math.ceil(scale * reach)
        self.scale, self.rng, self.light, self.half = scale, rng, light, half
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        self._to_pixel = scale * turn @ np.diag([-1.0 if mirror else 1.0, 1.0])
        inverse = np.linalg.inv(self._to_pixel).astype(np.float32)
        py, px = np.mgrid[-half:half, -half:half].astype(np.float32) + 0.5
        self.shape = (2 * half, 2 * half)
        self.x, self.y = (
            inverse[0, 0] * px + inverse[0, 1] * py,
            inverse[1, 0] * px + inverse[1, 1] * py,
        )
        self.rgb = np.zeros((*self.shape, 3), dtype=np.float32)
        self.alpha, self.evidence = (
            np.zeros(self.shape, np.float32),
            np.zeros(self.shape, np.float32),
        )

    def _pixels(self, points: Points | np.ndarray) -> list[tuple[float, float]]:
        xy = np.asarray(points, dtype=np.float64) @ self._to_pixel.T + self.half
        return [(float(x), float(y)) for x, y in xy]

    def outline(self, points: Points) -> Field:
        """(h, w) 0/1: inside the smooth closed curve through `points`."""
        canvas = Image.new("L", self.shape)
        ImageDraw.Draw(canvas).polygon(self._pixels(closed_curve(points)), fill=255)
        return np.asarray(canvas, dtype=np.float32) / 255

    def line(self, points: Points, width: float) -> Field:
        """(h, w) 0/1: within a polyline of this width (object units)."""
        canvas = Image.new("L", self.shape)
        ImageDraw.Draw(canvas).line(
            self._pixels(points), fill=255, width=max(1, round(width * self.scale)), joint="curve"
        )
        return np.asarray(canvas, dtype=np.float32) / 255

    def ellipse(self, cx: float, cy: float, rx: float, ry: float | None = None) -> Field:
        """Return (h, w) in [0, 1], 1 within an ellipse, whose edge is one pixel soft.

        Where `ry` is None it is a circle.
        """
        ry = rx if ry is None else ry
        (px, py), reach = self._pixels([(cx, cy)])[0], max(rx, ry) * self.scale + 2
        box = (
            slice(max(0, int(py - reach)), max(0, int(py + reach) + 1)),
            slice(max(0, int(px - reach)), max(0, int(px + reach) + 1)),
        )
        radius = np.sqrt(((self.x[box] - cx) / rx) ** 2 + ((self.y[box] - cy) / ry) ** 2)
        mask = np.zeros(self.shape, dtype=np.float32)
        mask[box] = np.clip(0.5 - (radius - 1) * (min(rx, ry) * self.scale), 0, 1)
        return mask

    def noise(self, cell: float, octaves: int = 3) -> Field:
        """Value noise (h, w) whose coarsest grid is `cell` object units."""
        return noise(self.shape, self.rng, cell * self.scale, octaves)

    def _lit(self, height: Field) -> tuple[Field, Field]:
        """The shade and the highlight (h, w) of a surface of this height in object units."""
        gy, gx = np.gradient(height * self.scale)
        norm = 1 / np.sqrt(1 + gx * gx + gy * gy)
        lx, ly, lz = self.light
        diffuse = np.clip((lz - gx * lx - gy * ly) * norm, 0, None)
        length = math.hypot(lx, ly, lz + 1)
        shine = np.clip((lz + 1 - gx * lx - gy * ly) * norm / length, 0, 1)
        for _ in range(5):  # the 32nd power: a highlight as of glaze or varnish
            shine = shine * shine
        return 0.42 + 0.72 * diffuse, shine

    def paint(
        self,
        mask: Field,
        colour: Colour,
        *,
        bulge: float = 0.25,
        gloss: float = 0.15,
        relief: Field | None = None,
        height: Field | None = None,
        evidence: float = 1.0,
        contact: float = 0.3,
    ) -> None:
        """Lay a shaded part over what is there.

        The part bulges towards the viewer over `bulge` object units from its edge, or has the given
        `height` (h, w); `relief` (h, w) is added to it (both in object units). `contact` darkens
        what lies beneath, near its edge.
        """
        box = _box(mask, margin=math.ceil(0.1 * self.scale) + 2)  # as far as `contact` reaches
        if box is None:
            return
        mask = mask[box]
        if height is None:
            inside = np.clip((blur(mask, 0.5 * bulge * self.scale) - 0.3) / 0.7, 0, 1)
            height = np.sqrt(inside + 0.02) * (bulge * 0.7)
        else:
            height = height[box]
        shade, shine = self._lit(height if relief is None else height + relief[box])
        shine = gloss * shine
        colour = np.asarray(colour, dtype=np.float32)
        tint = colour[box] if colour.ndim == 3 else colour
        keep = (1 - mask) * (1 - contact * blur(mask, 0.04 * self.scale)) if contact else 1 - mask
        for c in range(3):  # numpy is slow on a last axis of three
            self.rgb[box][..., c] *= keep
            self.rgb[box][..., c] += mask * (tint[..., c] * shade + shine)
        self.alpha[box] = np.maximum(self.alpha[box], mask)
        self.evidence[box] += mask * (evidence - self.evidence[box])


def _box(mask: Field, *, margin: int) -> tuple[slice, slice] | None:
    """Return the rows and columns of a mask's bounding box, widened by `margin` pixels.

    None where the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return (
        slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
        slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
    )
