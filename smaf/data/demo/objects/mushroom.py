"""The demo's mushroom: what tells it apart is the spotted cap, its plainer part the stem."""

from __future__ import annotations

import math

import numpy as np

from smaf.data.demo.brush import Brush
from smaf.data.demo.fields import Field, hsv, mix, noise, pick, step


def _paint_stem(
    brush: Brush, pale: np.ndarray, *, thick: float, lean: float, rng: np.random.Generator
) -> None:
    """A fibrous stem `thick` wide, leaning by `lean`, that darkens towards the ground."""
    stem = brush.outline(
        [
            (-thick, -0.1),
            (thick, -0.1),
            (thick + lean * 0.5, 0.5),
            (1.35 * thick + lean, 0.85),
            (lean, 0.97),
            (-1.35 * thick + lean, 0.85),
            (-thick + lean * 0.5, 0.5),
        ]
    )
    fibres = noise(brush.shape, rng, (0.25 * brush.scale, 0.03 * brush.scale))
    colour = mix(pale * 0.8, pale, fibres + 0.6)
    colour = mix(colour, hsv(0.08, 0.45, 0.45), step(brush.y + 0.1 * fibres, 0.88, 0.14))
    brush.paint(stem, colour, bulge=0.2, gloss=0.05, relief=0.02 * fibres, evidence=0.7)


def _paint_ring(brush: Brush, pale: np.ndarray, *, thick: float) -> None:
    skirt = brush.outline(
        [
            (-thick, 0.22),
            (thick, 0.22),
            (thick * 1.35, 0.36),
            (thick * 0.6, 0.4),
            (-thick * 0.6, 0.4),
            (-thick * 1.35, 0.36),
        ]
    )
    brush.paint(
        skirt,
        pale * 0.97,
        bulge=0.05,
        gloss=0.05,
        relief=0.004 * np.cos(brush.x * 60),  # pleats
        contact=0.5,
        evidence=0.75,
    )


def _paint_gills(brush: Brush, pale: np.ndarray, *, wide: float) -> None:
    gills = 0.5 + 0.5 * np.cos(70 * np.arctan2(brush.x, brush.y + 0.5))
    colour = mix(pale * 0.85, pale * 0.5, gills)
    under = brush.ellipse(0, 0.03, 0.93 * wide, 0.16)
    brush.paint(under, colour, bulge=0.04, gloss=0, contact=0.6, evidence=0.75)


def _paint_cap(brush: Brush, cap: np.ndarray, *, wide: float, high: float) -> Field:
    """Paint the cap, `high` above the gills; return its mask (h, w)."""
    dome = brush.outline(
        [
            (-wide, 0.06),
            (-0.97 * wide, -0.2),
            (-0.76 * wide, -0.6 * high),
            (-0.4 * wide, -0.9 * high),
            (0, -high),
            (0.4 * wide, -0.9 * high),
            (0.76 * wide, -0.6 * high),
            (0.97 * wide, -0.2),
            (wide, 0.06),
            (0.6 * wide, 0.03),
            (0, 0.0),
            (-0.6 * wide, 0.03),
        ]
    )
    colour = cap * (1 + 0.1 * brush.noise(0.3) - 0.2 * step(brush.y, -0.05, 0.15))[..., None]
    brush.paint(dome, colour, bulge=0.55, gloss=0.45, relief=0.006 * brush.noise(0.08), contact=0.5)
    return dome


def _paint_warts(
    brush: Brush, dome: Field, *, wide: float, high: float, rng: np.random.Generator
) -> None:
    """Pale spots all over the cap `dome` (h, w), none near another, foreshortened at its rim."""
    wart = 0.015 * brush.noise(0.06)
    spots: list[tuple[float, float]] = []
    for u, v in rng.uniform((-0.95, -0.97), (0.95, -0.02), (60, 2)).tolist():
        slant = 1 - u * u - 0.8 * v * v  # the dome turns away from the viewer towards its rim
        if slant < 0.06 or any(math.hypot(u - a, v - b) < 0.25 for a, b in spots):
            continue
        spots.append((u, v))
        size = rng.uniform(0.06, 0.11) * (0.5 + 0.5 * math.sqrt(slant))
        spot = brush.ellipse(
            u * wide, v * high, size * (1 - 0.55 * u * u), size * (1 - 0.5 * v * v)
        )
        brush.paint(
            spot * dome, (0.95, 0.92, 0.84), bulge=0.05, gloss=0.05, relief=wart, contact=0.25
        )


def paint_mushroom(brush: Brush, rng: np.random.Generator) -> None:
    """A spotted cap over gills, on a plain pale stem with a ring."""
    cap = hsv(pick(rng, [0.0, 0.01, 0.03, 0.06]), rng.uniform(0.8, 0.95), rng.uniform(0.55, 0.9))
    wide, high = rng.uniform(0.78, 0.95), rng.uniform(0.7, 0.9)
    thick, lean = rng.uniform(0.17, 0.25), rng.uniform(-0.12, 0.12)
    pale = hsv(0.11, rng.uniform(0.08, 0.2), rng.uniform(0.85, 0.95))
    _paint_stem(brush, pale, thick=thick, lean=lean, rng=rng)
    _paint_ring(brush, pale, thick=thick)
    _paint_gills(brush, pale, wide=wide)
    dome = _paint_cap(brush, cap, wide=wide, high=high)
    _paint_warts(brush, dome, wide=wide, high=high, rng=rng)
