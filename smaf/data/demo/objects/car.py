"""The demo's car, from the side: what tells it apart are the wheels, its plainer part the body."""

from __future__ import annotations

import numpy as np

from smaf.data.demo.brush import Brush
from smaf.data.demo.fields import Field, hsv, mix, pick, step

_UNDER = ((-0.9, 0.1), (0, 0.05), (0.9, 0.1), (0.86, 0.3), (0, 0.32), (-0.86, 0.3))
_BELT = -0.13  # the height at which the windows begin
_AXLE = 0.28  # the height of the wheels' centres


def _body_points(roof: float, tail: float) -> list[tuple[float, float]]:
    """Return the outline of the body, clockwise from the front bumper.

    `roof` is its highest point, `tail` where the rear window ends.
    """
    return [
        (-0.99, 0.14),
        (-0.96, 0.0),
        (-0.8, -0.08),
        (-0.56, -0.14),
        (-0.4, -0.3),
        (-0.22, roof + 0.03),
        (0.08, roof),
        (0.36, roof + 0.05),
        (tail - 0.1, -0.22),
        (tail + 0.06, -0.12),
        (0.95, -0.08),
        (1.0, 0.1),
        (0.96, 0.25),
        (0.5, 0.28),
        (-0.5, 0.28),
        (-0.95, 0.25),
    ]


def _paint_body(brush: Brush, paint: np.ndarray, *, roof: float, tail: float) -> Field:
    """Paint the body and the shade below it; return the ripple (h, w) of what mirrors in it."""
    brush.paint(brush.outline(_UNDER), (0.05, 0.05, 0.055), bulge=0.05, gloss=0, evidence=0.5)
    body = brush.outline(_body_points(roof, tail))
    ripple = 0.02 * brush.noise(0.5, 2)
    horizon = step(brush.y + ripple, 0.05, 0.02) - 0.5 * step(brush.y + ripple, 0.2, 0.05)
    colour = mix(paint * 1.05, paint * 0.72, horizon) * (1 + 0.04 * brush.noise(0.03))[..., None]
    glint = 0.35 * np.exp(-(((brush.y + 0.09 + ripple) / 0.035) ** 2))
    colour = mix(colour, np.array([0.85, 0.92, 1.0]), glint)
    brush.paint(body, colour, bulge=0.22, gloss=0.5, evidence=0.8)
    return ripple


def _paint_windows(brush: Brush, ripple: Field, *, roof: float, tail: float) -> None:
    height = step(brush.y + 0.25 * brush.x + ripple, roof + 0.16, 0.12)
    sky = mix((0.62, 0.72, 0.8), (0.06, 0.08, 0.1), height)
    for points in (
        [(-0.44, _BELT), (-0.24, roof + 0.1), (-0.02, roof + 0.06), (-0.02, _BELT)],
        [(0.04, _BELT), (0.04, roof + 0.06), (0.32, roof + 0.1), (tail - 0.17, _BELT)],
    ):
        sides = zip(points, points[1:] + points[:1], strict=True)
        rounded = [
            (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t)
            for a, b in sides
            for t in (0.06, 0.35, 0.65, 0.94)
        ]
        brush.paint(brush.outline(rounded), sky, bulge=0.03, gloss=0.2, evidence=0.6, contact=0.5)


def _paint_fittings(brush: Brush, paint: np.ndarray, *, roof: float) -> None:
    """Paint seams of doors, handles, lamps and a bumper."""
    for seam in (
        [(0.01, roof + 0.06), (0.01, 0.22)],
        [(-0.45, _BELT + 0.02), (-0.4, 0.2)],
        [(0.42, _BELT), (0.36, 0.1)],
        [(-0.33, 0.24), (0.36, 0.24)],
    ):
        mask = brush.line(seam, 0.012)
        brush.paint(mask, paint * 0.35, bulge=0.01, gloss=0, contact=0.1, evidence=0.75)
    for handle in (-0.08, 0.3):
        mask = brush.ellipse(handle, -0.06, 0.055, 0.016)
        brush.paint(mask, (0.75, 0.75, 0.78), bulge=0.02, gloss=0.4, evidence=0.75)
    brush.paint(brush.ellipse(-0.9, 0.01, 0.075, 0.05), (0.95, 0.94, 0.85), bulge=0.05, gloss=0.6)
    brush.paint(brush.ellipse(0.95, 0.0, 0.04, 0.06), (0.75, 0.06, 0.05), bulge=0.04, gloss=0.4)
    brush.paint(brush.line([(-0.99, 0.2), (-0.82, 0.2)], 0.04), (0.2, 0.2, 0.21), bulge=0.02)


def _paint_wheel(brush: Brush, cx: float, *, wheel: float, rubber: Field) -> None:
    """A dark tyre of radius `wheel` at x = `cx` in its arch, with a bright rim of five spokes."""
    arch = brush.ellipse(cx, 0.25, wheel + 0.04)
    brush.paint(arch, (0.03, 0.03, 0.035), bulge=0.02, gloss=0, contact=0)
    tyre = brush.ellipse(cx, _AXLE, wheel)
    brush.paint(tyre, (0.1, 0.1, 0.105), bulge=0.06, gloss=0.1, relief=rubber)
    radius = np.hypot(brush.x - cx, brush.y - _AXLE)
    angle = np.arctan2(brush.y - _AXLE, brush.x - cx)
    spoke = np.maximum(
        step(np.cos(5 * angle + cx), 0.1, 0.3), step(np.abs(radius / wheel - 0.32), 0.27, 0.03)
    )
    spoke = np.maximum(spoke, step(-radius / wheel, -0.17, 0.02))
    brush.paint(
        brush.ellipse(cx, _AXLE, 0.66 * wheel),
        mix((0.1, 0.1, 0.11), (0.8, 0.81, 0.84), spoke),
        bulge=0.05,
        gloss=0.5,
        relief=0.02 * spoke,
        contact=0.2,
    )


def paint_car(brush: Brush, rng: np.random.Generator) -> None:
    """A car from the side: dark wheels with bright rims under a plain glossy body with windows."""
    hue = pick(rng, [0.0, 0.02, 0.12, 0.35, 0.55, 0.6, 0.63])
    paint = hsv(hue, rng.uniform(0.6, 0.95), rng.uniform(0.55, 0.95))
    if rng.random() < 0.25:
        paint = hsv(0.6, 0.06, rng.uniform(0.55, 0.92))
    roof, tail = rng.uniform(-0.52, -0.42), rng.uniform(0.5, 0.86)
    front, rear = rng.uniform(-0.6, -0.55), 0.58
    wheel = rng.uniform(0.185, 0.215)
    ripple = _paint_body(brush, paint, roof=roof, tail=tail)
    _paint_windows(brush, ripple, roof=roof, tail=tail)
    _paint_fittings(brush, paint, roof=roof)
    rubber = 0.01 * brush.noise(0.03, 1)
    for cx in (front, rear):
        _paint_wheel(brush, cx, wheel=wheel, rubber=rubber)
