"""The demo's fish: what tells it apart is the head, its plainer part the scaled body."""

from __future__ import annotations

import numpy as np

from smaf.data.demo.brush import Brush
from smaf.data.demo.fields import Field, hsv, mix, step

_SCALE = 0.085  # the length of a scale
_BREAST_FIN = ((-0.36, 0.06), (-0.2, 0.02), (-0.02, 0.16), (-0.06, 0.26), (-0.22, 0.22))


def _fin_points(tall: float, tail: float) -> list[tuple[list[tuple[float, float]], float]]:
    """Outline and evidence of the tail, the back fin and two belly fins."""
    return [
        (
            [
                (0.5, -0.05),
                (0.7, -0.24),
                (0.98, -0.52 * tail),
                (1.06, -0.44),
                (0.86, -0.02),
                (1.06, 0.42),
                (0.98, 0.5 * tail),
                (0.7, 0.24),
                (0.5, 0.05),
            ],
            0.6,
        ),
        (
            [
                (-0.34, -0.3),
                (-0.18, -0.64 * tall),
                (0.14, -0.6 * tall),
                (0.42, -0.4 * tall),
                (0.44, -0.2),
                (0.1, -0.2),
            ],
            0.65,
        ),
        ([(0.06, 0.25), (0.2, 0.58 * tall), (0.38, 0.5 * tall), (0.46, 0.14), (0.2, 0.18)], 0.6),
        ([(-0.35, 0.3), (-0.22, 0.6 * tall), (-0.06, 0.58 * tall), (-0.05, 0.3)], 0.65),
    ]


def _body_points(tall: float) -> list[tuple[float, float]]:
    return [
        (-0.98, 0.02),
        (-0.86, -0.17),
        (-0.6, -0.33 * tall),
        (-0.2, -0.43 * tall),
        (0.2, -0.31 * tall),
        (0.46, -0.13),
        (0.6, -0.1),
        (0.6, 0.1),
        (0.46, 0.13),
        (0.2, 0.31 * tall),
        (-0.2, 0.42 * tall),
        (-0.6, 0.32 * tall),
        (-0.88, 0.16),
    ]


def _scale_edge(brush: Brush, row: Field) -> Field:
    """Return (h, w), the rims of fish scales that sit in rows half a scale high.

    Every other row is moved by half a scale.
    """
    cx = (np.floor(brush.x / _SCALE - 0.5 * (row % 2)) + 0.5 + 0.5 * (row % 2)) * _SCALE
    radius = np.hypot(brush.x - cx, brush.y - row * 0.5 * _SCALE) / (0.56 * _SCALE)
    return np.exp(-(((radius - 0.9) / 0.13) ** 2)) * (brush.x > cx - 0.2 * _SCALE)


def _bands(brush: Brush, colour: np.ndarray) -> np.ndarray:
    """(h, w, 3): `colour` with three white bands, their rims black."""
    wave = brush.x + 0.25 * brush.y**2
    for centre, width in ((-0.36, 0.075), (0.14, 0.085), (0.5, 0.05)):
        away = -np.abs(wave - centre)
        colour = mix(colour, (0.08, 0.06, 0.05), step(away, -width - 0.03, 0.01))
        colour = mix(colour, (0.96, 0.95, 0.92), step(away, -width, 0.01))
    return colour


def _paint_body(brush: Brush, main: np.ndarray, *, tall: float, banded: bool) -> Field:
    """Paint the scaled body; return its mask (h, w)."""
    body = brush.outline(_body_points(tall))
    row = np.floor(brush.y / (0.5 * _SCALE))
    scales = np.maximum.reduce([_scale_edge(brush, row + shift) for shift in (0.0, 1.0)])
    scales *= step(brush.x, -0.42, 0.06)
    belly = step(brush.y + 0.05 * brush.noise(0.3), 0.16 * tall, 0.16)
    back = mix(main, main * 0.62, step(-brush.y, 0.14 * tall, 0.16))
    colour = mix(back, 0.45 * main + 0.5, 0.8 * belly)
    colour = colour * (1 + 0.07 * brush.noise(0.06))[..., None]
    colour = mix(colour, main * 0.5, 0.6 * scales)
    if banded:
        colour = _bands(brush, colour)
    brush.paint(body, colour, bulge=0.3, gloss=0.3, relief=-0.012 * scales, evidence=0.8)
    return body


def _paint_head(brush: Brush, main: np.ndarray, *, body: Field) -> None:
    """Paint the head as the part that a detector answers to most, with a gill cover and a mouth."""
    head = body * step(-(brush.x + 0.5 - 0.35 * brush.y**2), 0, 0.008)
    brush.evidence = np.maximum(brush.evidence, head)
    gill = brush.line([(-0.46, -0.24), (-0.4, -0.1), (-0.39, 0.06), (-0.46, 0.22)], 0.025)
    brush.paint(gill, main * 0.45, bulge=0.02, gloss=0)
    mouth = brush.line([(-0.97, 0.05), (-0.88, 0.08), (-0.83, 0.06)], 0.022)
    brush.paint(mouth, main * 0.35, bulge=0.02, gloss=0)


def _paint_eye(brush: Brush, radius: float) -> None:
    brush.paint(brush.ellipse(-0.7, -0.08, radius), (0.93, 0.9, 0.78), bulge=0.05, gloss=0.3)
    pupil = brush.ellipse(-0.71, -0.08, 0.58 * radius)
    brush.paint(pupil, (0.03, 0.03, 0.04), bulge=0.05, gloss=0.3, contact=0)
    brush.paint(brush.ellipse(-0.73, -0.11, 0.18 * radius), (1, 1, 1), bulge=0.01, contact=0)


def paint_fish(brush: Brush, rng: np.random.Generator) -> None:
    """A round head with an eye and a gill cover, a scaled body, fins with rays, a forked tail."""
    hue = rng.choice([0.02, 0.045, 0.06, 0.1, 0.13])
    tall, tail = rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.1)
    main = hsv(hue + rng.uniform(-0.01, 0.01), rng.uniform(0.85, 0.98), rng.uniform(0.88, 1))
    banded = rng.random() < 0.4
    rays = 0.5 + 0.5 * np.cos(55 * np.arctan2(brush.y, brush.x - 0.2))
    fin, ridges = mix(0.85 * main + 0.1, main * 0.72, rays), 0.008 * rays
    for points, evidence in _fin_points(tall, tail):
        mask = brush.outline(points)
        brush.paint(mask, fin, bulge=0.06, relief=ridges, gloss=0.1, evidence=evidence)
    body = _paint_body(brush, main, tall=tall, banded=banded)
    _paint_head(brush, main, body=body)
    breast = brush.outline(_BREAST_FIN)
    brush.paint(breast, fin * 0.95, bulge=0.06, relief=ridges, contact=0.4, evidence=0.8)
    _paint_eye(brush, rng.uniform(0.075, 0.1))
