"""The demo's mug: what tells it apart is the handle, its plainer part the wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smaf.data.demo.brush import Brush
from smaf.data.demo.fields import Field, hsv, mix, step


@dataclass(frozen=True)
class _Mug:
    """The measures of a mug in object units, and its glaze, (3,) RGB.

    Half widths at the rim and at the foot, half the height, half the height of the rim's ellipse.
    """

    wide: float
    foot: float
    tall: float
    lip: float
    glaze: np.ndarray


def _paint_handle(brush: Brush, mug: _Mug, *, reach: float) -> None:
    """A ring that reaches `reach` object units beyond the wall, its left part hidden by it."""
    ring = brush.ellipse(mug.wide - 0.04, 0.02, reach, 0.68 * mug.tall) * (
        1 - brush.ellipse(mug.wide - 0.04, 0.02, reach - 0.15, 0.68 * mug.tall - 0.16)
    )
    colour = mug.glaze * (1 + 0.03 * brush.noise(0.05))[..., None]
    brush.paint(ring * (brush.x > 0.3), colour, bulge=0.13, gloss=0.5)


def _print(rng: np.random.Generator, level: Field, across: Field) -> Field:
    """Return (h, w) in [0, 1], stripes, dots or waves in a band round the mug.

    `level` is the height on the wall (-1 to 1), `across` the angle round it.
    """
    kind, low, high = rng.integers(3), rng.uniform(-0.45, -0.2), rng.uniform(0.3, 0.55)
    band = step(level, low, 0.015) * step(-level, -high, 0.015)
    if kind == 0:
        band *= 1 - step(np.cos(level * 26), 0.2, 0.15)
    elif kind == 1:
        band *= step(np.cos(across * 9) * np.cos(level * 13), 0.25, 0.08)
    else:
        band *= step(np.cos(across * 5 + 7 * level) + 0.5 * np.cos(across * 11), 0.2, 0.08)
    return band


def _paint_wall(brush: Brush, mug: _Mug, *, ink: np.ndarray, rng: np.random.Generator) -> None:
    """The cylinder with a band printed in `ink` and a window that mirrors in it."""
    radius = np.interp(brush.y, (-mug.tall, mug.tall), (mug.wide, mug.foot)).astype(np.float32)
    height = np.sqrt(np.clip(radius**2 - brush.x**2, 0.004, None))
    bottom = mug.tall + 0.9 * mug.lip * np.sqrt(np.clip(1 - (brush.x / mug.foot) ** 2, 0, 1))
    inside = np.minimum.reduce([radius - np.abs(brush.x), brush.y + mug.tall, bottom - brush.y])
    wall = np.clip(0.5 + inside * brush.scale, 0, 1)
    across = np.arcsin(np.clip(brush.x / radius, -1, 1))
    sag = mug.lip * np.sqrt(np.clip(1 - (brush.x / radius) ** 2, 0, 1))
    level = (brush.y - sag) / mug.tall
    band = _print(rng, level, across)
    colour = mix(mug.glaze, ink, band) * (1 + 0.03 * brush.noise(0.06))[..., None]
    window = np.exp(-(((across + 0.65) / 0.12) ** 2)) * step(-np.abs(level), -0.75, 0.08)
    colour = mix(colour, (1, 1, 1), 0.35 * window)
    brush.paint(wall, colour, height=height, gloss=0.3, evidence=0.78)


def _paint_opening(brush: Brush, mug: _Mug) -> None:
    """The rim, the inner wall and what is in the mug."""
    rim = brush.ellipse(0, -mug.tall, mug.wide, mug.lip)
    brush.paint(rim, mug.glaze * 1.05, bulge=0.04, gloss=0.3, evidence=0.8, contact=0.1)
    inner = brush.ellipse(0, -mug.tall + 0.005, mug.wide - 0.05, mug.lip - 0.03)
    shade = mug.glaze[None, None] * (0.5 + 0.25 * brush.x / mug.wide)[..., None]
    brush.paint(inner, shade, bulge=0.02, gloss=0, evidence=0.7)
    drink = inner * brush.ellipse(0, -mug.tall + 0.06, mug.wide - 0.08, mug.lip - 0.03)
    brush.paint(drink, hsv(0.07, 0.75, 0.25), bulge=0.01, evidence=0.7, contact=0)


def paint_mug(brush: Brush, rng: np.random.Generator) -> None:
    """A handle beside a plain cylinder with a printed band, seen from a little above."""
    hue, wide = rng.random(), rng.uniform(0.5, 0.6)
    tall, lip = rng.uniform(0.58, 0.72), rng.uniform(0.1, 0.16)
    glaze = hsv(hue, rng.uniform(0.05, 0.8) * (rng.random() < 0.6), rng.uniform(0.75, 0.96))
    ink = hsv(hue + rng.uniform(0.3, 0.6), 0.8, rng.uniform(0.35, 0.8))
    mug = _Mug(wide, wide * rng.uniform(0.82, 0.98), tall, lip, glaze)
    _paint_handle(brush, mug, reach=rng.uniform(0.36, 0.44))
    _paint_wall(brush, mug, ink=ink, rng=rng)
    _paint_opening(brush, mug)
