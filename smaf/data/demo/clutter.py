"""Clutter of the demo's scenes: what a detector may take for an object, though it is background."""

from __future__ import annotations

import numpy as np

from smaf.data.demo.brush import Brush
from smaf.data.demo.fields import hsv, mix, pick, step


def _paint_stone(brush: Brush, rng: np.random.Generator) -> None:
    turns = np.arange(9) * 2 * np.pi / 9
    points = [
        (float(r * np.cos(t)), float(0.75 * r * np.sin(t)))
        for t, r in zip(turns, rng.uniform(0.7, 1.0, 9), strict=True)
    ]
    grey = hsv(rng.uniform(0.05, 0.6), 0.1, rng.uniform(0.35, 0.7))
    colour = grey * (1 + 0.2 * brush.noise(0.3, 4))[..., None]
    relief = 0.05 * brush.noise(0.3)
    brush.paint(brush.outline(points), colour, bulge=0.6, gloss=0.05, relief=relief)


def _paint_leaf(brush: Brush, rng: np.random.Generator) -> None:
    leaf = brush.outline([(-1, 0), (-0.5, -0.36), (0.1, -0.4), (1, 0), (0.1, 0.4), (-0.5, 0.36)])
    middle = step(-np.abs(brush.y), -0.03, 0.02)
    vein = step(np.cos(20 * (brush.x - np.abs(brush.y))), 0.9, 0.08) + middle
    green = hsv(pick(rng, [0.08, 0.12, 0.25, 0.3]), 0.6, rng.uniform(0.4, 0.7))
    brush.paint(leaf, mix(green, green * 0.7, vein), bulge=0.2, gloss=0.1, relief=-0.02 * vein)


def _paint_ball(brush: Brush, rng: np.random.Generator) -> None:
    colour = hsv(rng.random(), 0.5, rng.uniform(0.4, 0.8))
    colour = colour * (1 + 0.05 * brush.noise(0.2))[..., None]
    brush.paint(brush.ellipse(0, 0, 0.8), colour, bulge=0.9, gloss=0.3)


def paint_clutter(brush: Brush, rng: np.random.Generator) -> None:
    """Paint a stone, a leaf or a ball, each as likely as the others."""
    (_paint_stone, _paint_leaf, _paint_ball)[rng.integers(3)](brush, rng)
