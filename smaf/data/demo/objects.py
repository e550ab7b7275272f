"""The five objects of the demo data set: painted, shaded parts in an object's own coordinates.

An object lies within about [-1, 1]² (x right, y down). Each has a part that tells it apart (the
fish's head, the mug's handle, the car's wheels, …) and a larger, plainer body, as the classes of
real data sets do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from smaf.data.demo.brush import Brush, Field, blur, hsv, mix, noise, pick, step


def paint_butterfly(brush: Brush, rng: np.random.Generator) -> None:
    """Patterned fore wings with a dark rim, paler hind wings, a thin body with feelers."""
    hue = pick(rng, [0.06, 0.08, 0.1, 0.14, 0.58])
    main, dark = (
        hsv(hue + rng.uniform(-0.012, 0.012), rng.uniform(0.85, 1), rng.uniform(0.85, 1)),
        hsv(hue, 0.4, 0.09),
    )
    pale = 0.75 * main + 0.25
    spread, veins, spots = (
        rng.uniform(0.85, 1.05),
        int(rng.integers(9, 13)),
        int(rng.integers(24, 32)),
    )
    fold = {1: 1.0, -1: rng.uniform(0.75, 1.0)}
    hind = [
        (0.03, -0.05),
        (0.5, 0.0),
        (0.8, 0.2),
        (0.74, 0.52),
        (0.44, 0.78),
        (0.22, 0.6),
        (0.06, 0.3),
    ]
    fore = [
        (0.03, -0.2),
        (0.3, -0.6),
        (0.72, -0.86),
        (1.0, -0.82),
        (0.95, -0.5),
        (0.78, -0.12),
        (0.5, 0.1),
        (0.05, 0.06),
    ]
    shimmer = brush.noise(0.12)
    angle, radius = np.arctan2(brush.y + 0.02, np.abs(brush.x) + 1e-3), np.hypot(brush.x, brush.y)
    vein = step(np.cos(angle * 2 * veins), 0.93, 0.05) * step(radius, 0.12, 0.05)
    cell = 0.25 * np.exp(-((np.abs(brush.x) - 0.4) ** 2 + (brush.y + 0.33) ** 2) / 0.24**2)
    spot = step(np.cos(angle * spots), 0.55, 0.2)
    for points, base, rim, evidence in ((hind, pale, 0.06, 0.72), (fore, main, 0.1, 1.0)):
        dusted = mix(
            base * (1 + 0.12 * shimmer)[..., None],
            dark,
            np.maximum(vein, cell if base is main else 0),
        )
        for side in (-1, 1):
            mask = brush.outline([(side * fold[side] * px, spread * py) for px, py in points])
            depth = blur(mask, rim * brush.scale)
            edge = 1 - step(depth, 0.82, 0.06)
            dots = edge * spot * step(depth, 0.66, 0.05)
            colour = mix(dusted, dark, edge)
            brush.paint(
                mask,
                mix(colour, (0.97, 0.95, 0.9), dots),
                bulge=0.12,
                gloss=0.05,
                relief=0.006 * shimmer,
                evidence=evidence,
            )
    for side in (-1, 1):
        brush.paint(
            brush.line([(0, -0.25), (side * 0.12, -0.5), (side * 0.26, -0.68)], 0.022),
            dark,
            bulge=0.02,
            evidence=0.4,
            contact=0,
        )
        brush.paint(
            brush.ellipse(side * 0.26, -0.68, 0.028), dark, bulge=0.02, evidence=0.4, contact=0
        )
    fur = mix(dark * 2, dark, brush.noise(0.05) + 0.5)
    brush.paint(
        brush.ellipse(0, 0.16, 0.06, 0.36), fur, bulge=0.07, relief=0.01 * np.cos(brush.y * 60)
    )
    brush.paint(
        brush.ellipse(0, -0.18, 0.085, 0.15),
        dark * 2.2,
        bulge=0.08,
        relief=0.012 * brush.noise(0.03),
    )
    brush.paint(brush.ellipse(0, -0.32, 0.065), dark * 1.5, bulge=0.06)


def paint_car(brush: Brush, rng: np.random.Generator) -> None:
    """A car from the side: dark wheels with bright rims under a plain glossy body with windows."""
    paint = hsv(
        pick(rng, [0.0, 0.02, 0.12, 0.35, 0.55, 0.6, 0.63]),
        rng.uniform(0.6, 0.95),
        rng.uniform(0.55, 0.95),
    )
    if rng.random() < 0.25:
        paint = hsv(0.6, 0.06, rng.uniform(0.55, 0.92))
    roof, tail, front, rear = (
        rng.uniform(-0.52, -0.42),
        rng.uniform(0.5, 0.86),
        rng.uniform(-0.6, -0.55),
        0.58,
    )
    wheel = rng.uniform(0.185, 0.215)
    under = brush.outline(
        [(-0.9, 0.1), (0, 0.05), (0.9, 0.1), (0.86, 0.3), (0, 0.32), (-0.86, 0.3)]
    )
    brush.paint(under, (0.05, 0.05, 0.055), bulge=0.05, gloss=0, evidence=0.5)
    body = brush.outline(
        [
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
    )
    ripple = 0.02 * brush.noise(0.5, 2)
    horizon = step(brush.y + ripple, 0.05, 0.02) - 0.5 * step(brush.y + ripple, 0.2, 0.05)
    colour = mix(paint * 1.05, paint * 0.72, horizon) * (1 + 0.04 * brush.noise(0.03))[..., None]
    colour = mix(
        colour,
        np.array([0.85, 0.92, 1.0]),
        0.35 * np.exp(-(((brush.y + 0.09 + ripple) / 0.035) ** 2)),
    )
    brush.paint(body, colour, bulge=0.22, gloss=0.5, evidence=0.8)
    belt = -0.13
    sky = mix(
        (0.62, 0.72, 0.8),
        (0.06, 0.08, 0.1),
        step(brush.y + 0.25 * brush.x + ripple, roof + 0.16, 0.12),
    )
    for points in (
        [(-0.44, belt), (-0.24, roof + 0.1), (-0.02, roof + 0.06), (-0.02, belt)],
        [(0.04, belt), (0.04, roof + 0.06), (0.32, roof + 0.1), (tail - 0.17, belt)],
    ):
        sides = zip(points, points[1:] + points[:1], strict=True)
        rounded = [
            (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t)
            for a, b in sides
            for t in (0.06, 0.35, 0.65, 0.94)
        ]
        brush.paint(brush.outline(rounded), sky, bulge=0.03, gloss=0.2, evidence=0.6, contact=0.5)
    for seam in (
        [(0.01, roof + 0.06), (0.01, 0.22)],
        [(-0.45, belt + 0.02), (-0.4, 0.2)],
        [(0.42, belt), (0.36, 0.1)],
        [(-0.33, 0.24), (0.36, 0.24)],
    ):
        brush.paint(
            brush.line(seam, 0.012), paint * 0.35, bulge=0.01, gloss=0, contact=0.1, evidence=0.75
        )
    for handle in (-0.08, 0.3):
        brush.paint(
            brush.ellipse(handle, -0.06, 0.055, 0.016),
            (0.75, 0.75, 0.78),
            bulge=0.02,
            gloss=0.4,
            evidence=0.75,
        )
    brush.paint(brush.ellipse(-0.9, 0.01, 0.075, 0.05), (0.95, 0.94, 0.85), bulge=0.05, gloss=0.6)
    brush.paint(brush.ellipse(0.95, 0.0, 0.04, 0.06), (0.75, 0.06, 0.05), bulge=0.04, gloss=0.4)
    brush.paint(brush.line([(-0.99, 0.2), (-0.82, 0.2)], 0.04), (0.2, 0.2, 0.21), bulge=0.02)
    rubber = 0.01 * brush.noise(0.03, 1)
    for cx in (front, rear):
        brush.paint(
            brush.ellipse(cx, 0.25, wheel + 0.04),
            (0.03, 0.03, 0.035),
            bulge=0.02,
            gloss=0,
            contact=0,
        )
        brush.paint(
            brush.ellipse(cx, 0.28, wheel), (0.1, 0.1, 0.105), bulge=0.06, gloss=0.1, relief=rubber
        )
        radius, angle = (
            np.hypot(brush.x - cx, brush.y - 0.28),
            np.arctan2(brush.y - 0.28, brush.x - cx),
        )
        spoke = np.maximum(
            step(np.cos(5 * angle + cx), 0.1, 0.3), step(np.abs(radius / wheel - 0.32), 0.27, 0.03)
        )
        spoke = np.maximum(spoke, step(-radius / wheel, -0.17, 0.02))
        brush.paint(
            brush.ellipse(cx, 0.28, 0.66 * wheel),
            mix((0.1, 0.1, 0.11), (0.8, 0.81, 0.84), spoke),
            bulge=0.05,
            gloss=0.5,
            relief=0.02 * spoke,
            contact=0.2,
        )


def paint_fish(brush: Brush, rng: np.random.Generator) -> None:
    """A round head with an eye and a gill cover, a scaled body, fins with rays and a forked
    tail."""
    hue, tall, tail = (
        rng.choice([0.02, 0.045, 0.06, 0.1, 0.13]),
        rng.uniform(0.85, 1.15),
        rng.uniform(0.85, 1.1),
    )
    main = hsv(hue + rng.uniform(-0.01, 0.01), rng.uniform(0.85, 0.98), rng.uniform(0.88, 1))
    banded = rng.random() < 0.4
    fin = 0.85 * main + 0.1
    rays = 0.5 + 0.5 * np.cos(55 * np.arctan2(brush.y, brush.x - 0.2))
    fin_colour = mix(fin, main * 0.72, rays)
    for points, evidence in (
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
    ):
        brush.paint(
            brush.outline(points),
            fin_colour,
            bulge=0.06,
            relief=0.008 * rays,
            gloss=0.1,
            evidence=evidence,
        )
    body = brush.outline(
        [
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
    )
    size = 0.085
    row = np.floor(brush.y / (0.5 * size))
    scales = np.maximum.reduce([_scale_edge(brush, size, row + shift) for shift in (0.0, 1.0)])
    scales *= step(brush.x, -0.42, 0.06)
    belly = step(brush.y + 0.05 * brush.noise(0.3), 0.16 * tall, 0.16)
    colour = mix(
        mix(main, main * 0.62, step(-brush.y, 0.14 * tall, 0.16)), 0.45 * main + 0.5, 0.8 * belly
    )
    colour = colour * (1 + 0.07 * brush.noise(0.06))[..., None]
    colour = mix(colour, main * 0.5, 0.6 * scales)
    if banded:
        wave = brush.x + 0.25 * brush.y**2
        for centre, width in ((-0.36, 0.075), (0.14, 0.085), (0.5, 0.05)):
            colour = mix(
                colour, (0.08, 0.06, 0.05), step(-np.abs(wave - centre), -width - 0.03, 0.01)
            )
            colour = mix(colour, (0.96, 0.95, 0.92), step(-np.abs(wave - centre), -width, 0.01))
    brush.paint(body, colour, bulge=0.3, gloss=0.3, relief=-0.012 * scales, evidence=0.8)
    head = body * step(-(brush.x + 0.5 - 0.35 * brush.y**2), 0, 0.008)
    brush.evidence = np.maximum(brush.evidence, head)
    gill = brush.line([(-0.46, -0.24), (-0.4, -0.1), (-0.39, 0.06), (-0.46, 0.22)], 0.025)
    brush.paint(gill, main * 0.45, bulge=0.02, gloss=0)
    brush.paint(
        brush.line([(-0.97, 0.05), (-0.88, 0.08), (-0.83, 0.06)], 0.022),
        main * 0.35,
        bulge=0.02,
        gloss=0,
    )
    breast_fin = brush.outline(
        [(-0.36, 0.06), (-0.2, 0.02), (-0.02, 0.16), (-0.06, 0.26), (-0.22, 0.22)]
    )
    brush.paint(
        breast_fin, fin_colour * 0.95, bulge=0.06, relief=0.008 * rays, contact=0.4, evidence=0.8
    )
    eye = rng.uniform(0.075, 0.1)
    brush.paint(brush.ellipse(-0.7, -0.08, eye), (0.93, 0.9, 0.78), bulge=0.05, gloss=0.3)
    brush.paint(
        brush.ellipse(-0.71, -0.08, 0.58 * eye),
        (0.03, 0.03, 0.04),
        bulge=0.05,
        gloss=0.3,
        contact=0,
    )
    brush.paint(brush.ellipse(-0.73, -0.11, 0.18 * eye), (1, 1, 1), bulge=0.01, contact=0)


def _scale_edge(brush: Brush, size: float, row: Field) -> Field:
    """(h, w): the rims of fish scales that sit in rows half a scale high, every other row moved by
    half a scale."""
    cx = (np.floor(brush.x / size - 0.5 * (row % 2)) + 0.5 + 0.5 * (row % 2)) * size
    radius = np.hypot(brush.x - cx, brush.y - row * 0.5 * size) / (0.56 * size)
    return np.exp(-(((radius - 0.9) / 0.13) ** 2)) * (brush.x > cx - 0.2 * size)


def paint_mug(brush: Brush, rng: np.random.Generator) -> None:
    """A handle beside a plain cylinder with a printed band, seen from a little above."""
    hue, wide, tall, lip = (
        rng.random(),
        rng.uniform(0.5, 0.6),
        rng.uniform(0.58, 0.72),
        rng.uniform(0.1, 0.16),
    )
    glaze = hsv(hue, rng.uniform(0.05, 0.8) * (rng.random() < 0.6), rng.uniform(0.75, 0.96))
    print_colour = hsv(hue + rng.uniform(0.3, 0.6), 0.8, rng.uniform(0.35, 0.8))
    foot = wide * rng.uniform(0.82, 0.98)
    reach = rng.uniform(0.36, 0.44)
    ring = brush.ellipse(wide - 0.04, 0.02, reach, 0.68 * tall) * (
        1 - brush.ellipse(wide - 0.04, 0.02, reach - 0.15, 0.68 * tall - 0.16)
    )
    brush.paint(
        ring * (brush.x > 0.3),
        glaze * (1 + 0.03 * brush.noise(0.05))[..., None],
        bulge=0.13,
        gloss=0.5,
    )
    radius = np.interp(brush.y, (-tall, tall), (wide, foot)).astype(np.float32)
    height = np.sqrt(np.clip(radius**2 - brush.x**2, 0.004, None))
    bottom = tall + 0.9 * lip * np.sqrt(np.clip(1 - (brush.x / foot) ** 2, 0, 1))
    inside = np.minimum.reduce([radius - np.abs(brush.x), brush.y + tall, bottom - brush.y])
    wall = np.clip(0.5 + inside * brush.scale, 0, 1)
    across = np.arcsin(np.clip(brush.x / radius, -1, 1))
    level = (brush.y - lip * np.sqrt(np.clip(1 - (brush.x / radius) ** 2, 0, 1))) / tall
    kind, low, high = rng.integers(3), rng.uniform(-0.45, -0.2), rng.uniform(0.3, 0.55)
    band = step(level, low, 0.015) * step(-level, -high, 0.015)
    if kind == 0:
        band *= 1 - step(np.cos(level * 26), 0.2, 0.15)
    elif kind == 1:
        band *= step(np.cos(across * 9) * np.cos(level * 13), 0.25, 0.08)
    else:
        band *= step(np.cos(across * 5 + 7 * level) + 0.5 * np.cos(across * 11), 0.2, 0.08)
    colour = mix(glaze, print_colour, band) * (1 + 0.03 * brush.noise(0.06))[..., None]
    window = np.exp(-(((across + 0.65) / 0.12) ** 2)) * step(-np.abs(level), -0.75, 0.08)
    brush.paint(
        wall, mix(colour, (1, 1, 1), 0.35 * window), height=height, gloss=0.3, evidence=0.78
    )
    brush.paint(
        brush.ellipse(0, -tall, wide, lip),
        glaze * 1.05,
        bulge=0.04,
        gloss=0.3,
        evidence=0.8,
        contact=0.1,
    )
    inner = brush.ellipse(0, -tall + 0.005, wide - 0.05, lip - 0.03)
    brush.paint(
        inner,
        glaze[None, None] * (0.5 + 0.25 * brush.x / wide)[..., None],
        bulge=0.02,
        gloss=0,
        evidence=0.7,
    )
    brush.paint(
        inner * brush.ellipse(0, -tall + 0.06, wide - 0.08, lip - 0.03),
        hsv(0.07, 0.75, 0.25),
        bulge=0.01,
        evidence=0.7,
        contact=0,
    )


def paint_mushroom(brush: Brush, rng: np.random.Generator) -> None:
    """A spotted cap over gills, on a plain pale stem with a ring."""
    cap = hsv(pick(rng, [0.0, 0.01, 0.03, 0.06]), rng.uniform(0.8, 0.95), rng.uniform(0.55, 0.9))
    wide, high = rng.uniform(0.78, 0.95), rng.uniform(0.7, 0.9)
    thick, lean = rng.uniform(0.17, 0.25), rng.uniform(-0.12, 0.12)
    pale = hsv(0.11, rng.uniform(0.08, 0.2), rng.uniform(0.85, 0.95))
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
    pleats = np.cos(brush.x * 60)
    brush.paint(
        skirt,
        pale * 0.97,
        bulge=0.05,
        gloss=0.05,
        relief=0.004 * pleats,
        contact=0.5,
        evidence=0.75,
    )
    gills = 0.5 + 0.5 * np.cos(70 * np.arctan2(brush.x, brush.y + 0.5))
    brush.paint(
        brush.ellipse(0, 0.03, 0.93 * wide, 0.16),
        mix(pale * 0.85, pale * 0.5, gills),
        bulge=0.04,
        gloss=0,
        contact=0.6,
        evidence=0.75,
    )
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
    wart = 0.015 * brush.noise(0.06)
    spots: list[tuple[float, float]] = []
    for u, v in rng.uniform((-0.95, -0.97), (0.95, -0.02), (60, 2)).tolist():
        slant = 1 - u * u - 0.8 * v * v  # the dome turns away from the viewer towards its rim
        if slant < 0.06 or any(math.hypot(u - a, v - b) < 0.25 for a, b in spots):
            continue
        spots.append((u, v))
        size = rng.uniform(0.06, 0.11) * (0.5 + 0.5 * math.sqrt(slant))
        brush.paint(
            brush.ellipse(u * wide, v * high, size * (1 - 0.55 * u * u), size * (1 - 0.5 * v * v))
            * dome,
            (0.95, 0.92, 0.84),
            bulge=0.05,
            gloss=0.05,
            relief=wart,
            contact=0.25,
        )


@dataclass(frozen=True)
class ObjectKind:
    """How an object is painted, its usual area in object units², and the radius that holds it
    however it is turned."""

    paint: Callable[[Brush, np.random.Generator], None]
    area: float
    reach: float


OBJECTS = {
    "butterfly": ObjectKind(paint_butterfly, 2.0, 1.36),
    "car": ObjectKind(paint_car, 1.3, 1.07),
    "fish": ObjectKind(paint_fish, 1.5, 1.23),
    "mug": ObjectKind(paint_mug, 1.7, 1.06),
    "mushroom": ObjectKind(paint_mushroom, 1.7, 1.06),
}
