"""The demo's butterfly: what tells it apart are the fore wings, its plainer part the hind wings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smaf.data.demo.brush import Brush
from smaf.data.demo.fields import Field, blur, hsv, mix, pick, step

_HIND = (
    (0.03, -0.05),
    (0.5, 0.0),
    (0.8, 0.2),
    (0.74, 0.52),
    (0.44, 0.78),
    (0.22, 0.6),
    (0.06, 0.3),
)
_FORE = (
    (0.03, -0.2),
    (0.3, -0.6),
    (0.72, -0.86),
    (1.0, -0.82),
    (0.95, -0.5),
    (0.78, -0.12),
    (0.5, 0.1),
    (0.05, 0.06),
)


@dataclass(frozen=True)
class _Pattern:
    """What all wings of a butterfly share.

    `spread` and `fold` are by side; the fields (h, w) are of shimmer, veins and spots.
    """

    dark: np.ndarray
    spread: float
    fold: dict[int, float]
    shimmer: Field
    vein: Field
    spot: Field


def _draw_pattern(brush: Brush, rng: np.random.Generator, *, dark: np.ndarray) -> _Pattern:
    spread = rng.uniform(0.85, 1.05)
    veins, spots = int(rng.integers(9, 13)), int(rng.integers(24, 32))
    fold = {1: 1.0, -1: rng.uniform(0.75, 1.0)}
    shimmer = brush.noise(0.12)
    angle, radius = np.arctan2(brush.y + 0.02, np.abs(brush.x) + 1e-3), np.hypot(brush.x, brush.y)
    vein = step(np.cos(angle * 2 * veins), 0.93, 0.05) * step(radius, 0.12, 0.05)
    return _Pattern(dark, spread, fold, shimmer, vein, step(np.cos(angle * spots), 0.55, 0.2))


def _paint_wings(
    brush: Brush,
    pattern: _Pattern,
    *,
    points: tuple[tuple[float, float], ...],
    dusted: np.ndarray,
    rim: float,
    evidence: float,
) -> None:
    """A wing on each side within `points`: `dusted` (h, w, 3) with a dark, dotted rim."""
    for side in (-1, 1):
        mask = brush.outline(
            [(side * pattern.fold[side] * px, pattern.spread * py) for px, py in points]
        )
        depth = blur(mask, rim * brush.scale)
        edge = 1 - step(depth, 0.82, 0.06)
        dots = edge * pattern.spot * step(depth, 0.66, 0.05)
        colour = mix(dusted, pattern.dark, edge)
        brush.paint(
            mask,
            mix(colour, (0.97, 0.95, 0.9), dots),
            bulge=0.12,
            gloss=0.05,
            relief=0.006 * pattern.shimmer,
            evidence=evidence,
        )


def _paint_feelers(brush: Brush, dark: np.ndarray) -> None:
    for side in (-1, 1):
        thread = brush.line([(0, -0.25), (side * 0.12, -0.5), (side * 0.26, -0.68)], 0.022)
        brush.paint(thread, dark, bulge=0.02, evidence=0.4, contact=0)
        knob = brush.ellipse(side * 0.26, -0.68, 0.028)
        brush.paint(knob, dark, bulge=0.02, evidence=0.4, contact=0)


def _paint_body(brush: Brush, dark: np.ndarray) -> None:
    fur = mix(dark * 2, dark, brush.noise(0.05) + 0.5)
    rings = 0.01 * np.cos(brush.y * 60)
    brush.paint(brush.ellipse(0, 0.16, 0.06, 0.36), fur, bulge=0.07, relief=rings)
    chest, hair = brush.ellipse(0, -0.18, 0.085, 0.15), 0.012 * brush.noise(0.03)
    brush.paint(chest, dark * 2.2, bulge=0.08, relief=hair)
    brush.paint(brush.ellipse(0, -0.32, 0.065), dark * 1.5, bulge=0.06)


def paint_butterfly(brush: Brush, rng: np.random.Generator) -> None:
    """Patterned fore wings with a dark rim, paler hind wings, a thin body with feelers."""
    hue = pick(rng, [0.06, 0.08, 0.1, 0.14, 0.58])
    main = hsv(hue + rng.uniform(-0.012, 0.012), rng.uniform(0.85, 1), rng.uniform(0.85, 1))
    dark = hsv(hue, 0.4, 0.09)
    pattern = _draw_pattern(brush, rng, dark=dark)
    light = (1 + 0.12 * pattern.shimmer)[..., None]
    cell = 0.25 * np.exp(-((np.abs(brush.x) - 0.4) ** 2 + (brush.y + 0.33) ** 2) / 0.24**2)
    hind = mix((0.75 * main + 0.25) * light, dark, pattern.vein)
    fore = mix(main * light, dark, np.maximum(pattern.vein, cell))
    _paint_wings(brush, pattern, points=_HIND, dusted=hind, rim=0.06, evidence=0.72)
    _paint_wings(brush, pattern, points=_FORE, dusted=fore, rim=0.1, evidence=1.0)
    _paint_feelers(brush, dark)
    _paint_body(brush, dark)
