"""The grounds of the demo's scenes: procedural textures of (h, w, 3) RGB in [0, 1]."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from smaf.data.demo.fields import Field, blur, hsv, mix, noise, pick, step


def _blades(
    shape: tuple[int, int], rng: np.random.Generator, count: int, *, length: float, leaf: float
) -> np.ndarray:
    """(count, 6, 2): corners (x, y) of grass blades, or of leaves where `leaf` is not 0."""
    h, w = shape
    foot = rng.uniform((0, 0), (w, 1.1 * h), (count, 2))
    size = length * rng.uniform(0.5, 1.2, (count, 1))
    turn = rng.uniform(0, 2 * np.pi, count) if leaf else rng.normal(-np.pi / 2, 0.3, count)
    along = size * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    side = np.stack([-along[:, 1], along[:, 0]], axis=1) * (
        0.5 * (leaf or 0.05) * rng.uniform(0.5, 1, (count, 1))
    )
    return np.stack(
        [
            foot,
            foot + 0.3 * along + side,
            foot + 0.65 * along + 0.8 * side,
            foot + along,
            foot + 0.65 * along - 0.8 * side,
            foot + 0.3 * along - side,
        ],
        axis=1,
    )


def _strokes(
    shape: tuple[int, int],
    rng: np.random.Generator,
    count: int,
    *,
    length: float,
    hue: float,
    values: tuple[float, float],
    leaf: float = 0.0,
) -> np.ndarray:
    """Return (h, w, 3) of `count` grass blades, or of leaves where `leaf` is given.

    They are `length` pixels long; `leaf` is a leaf's width over its length. They lie back to front
    and grow lighter from the first of `values` to the sum of both.
    """
    h, w = shape
    canvas = Image.fromarray(np.uint8(np.broadcast_to(hsv(hue, 0.6, values[0]) * 255, (h, w, 3))))
    draw = ImageDraw.Draw(canvas)
    points = _blades(shape, rng, count, length=length, leaf=leaf)
    bright = (values[0] + values[1] * np.arange(count) / count) * rng.uniform(0.75, 1.2, count)
    tints = hue + rng.normal(0, 0.02, count)
    for corners, tint, value in zip(
        points.reshape(count, 12).tolist(), tints.tolist(), bright.tolist(), strict=True
    ):
        r, g, b = (int(255 * v) for v in hsv(tint, 0.6, value).tolist())
        draw.polygon(corners, fill=(r, g, b))
        if leaf:
            draw.line(
                corners[:2] + corners[6:8], fill=(int(0.72 * r), int(0.72 * g), int(0.72 * b))
            )
    return np.asarray(canvas, dtype=np.float32) / 255


def _flowers(shape: tuple[int, int], rng: np.random.Generator, unit: float) -> tuple[Field, Field]:
    """Up to thirty flowers: (h, w) cover of their petals and of their hearts."""
    layers = [Image.new("L", (shape[1], shape[0])) for _ in range(2)]
    petals, hearts = (ImageDraw.Draw(layer) for layer in layers)
    for x, y in rng.uniform((0, 0), (shape[1], shape[0]), (rng.integers(0, 30), 2)).tolist():
        r = unit * rng.uniform(1.2, 2.6)
        for turn in range(5):
            a, b = x + r * math.cos(1.2566 * turn), y + r * math.sin(1.2566 * turn)
            petals.ellipse((a - 0.7 * r, b - 0.7 * r, a + 0.7 * r, b + 0.7 * r), fill=255)
        hearts.ellipse((x - 0.6 * r, y - 0.6 * r, x + 0.6 * r, y + 0.6 * r), fill=255)
    petal, heart = (np.asarray(layer, dtype=np.float32) / 255 for layer in layers)
    return petal, heart


def _meadow(shape: tuple[int, int], rng: np.random.Generator, unit: float) -> np.ndarray:
    grass = _strokes(
        shape, rng, 1400, length=34 * unit, hue=rng.uniform(0.2, 0.3), values=(0.26, 0.42)
    )
    grass = grass * (1 + 0.25 * noise(shape, rng, 60 * unit))[..., None]
    petal, heart = _flowers(shape, rng, unit)
    colour = hsv(pick(rng, [0.13, 0.8, 0.0]), pick(rng, [0.05, 0.6]), 0.93)
    return mix(mix(grass, colour, petal), (0.8, 0.6, 0.1), heart)


def _litter(shape: tuple[int, int], rng: np.random.Generator, unit: float) -> np.ndarray:
    leaves = _strokes(
        shape, rng, 700, length=26 * unit, hue=rng.uniform(0.05, 0.09), values=(0.2, 0.4), leaf=0.7
    )
    moss = step(noise(shape, rng, 70 * unit), 0.25, 0.15) * (
        0.6 + 0.4 * noise(shape, rng, 3 * unit)
    )
    colour = mix(leaves, hsv(0.27, 0.6, 0.4), 0.8 * moss)
    return colour * (1 + 0.2 * noise(shape, rng, 20 * unit))[..., None]


def _water(shape: tuple[int, int], rng: np.random.Generator, unit: float) -> np.ndarray:
    hue = rng.uniform(0.46, 0.58)
    swell = noise(shape, rng, (22 * unit, 60 * unit), 4)
    ridge = 1 - np.abs(noise(shape, rng, (16 * unit, 34 * unit), 2) + 0.4 * swell) * 3.2
    caustic = np.clip(ridge, 0, 1) ** 3
    depth = np.linspace(1.15, 0.8, shape[0], dtype=np.float32)[:, None]
    colour = mix(hsv(hue, 0.75, 0.34), hsv(hue - 0.03, 0.5, 0.62), 0.5 + 0.5 * swell)
    return mix(colour, hsv(hue - 0.05, 0.15, 0.95), 0.55 * caustic) * depth[..., None]


def _planks(shape: tuple[int, int], rng: np.random.Generator, unit: float) -> np.ndarray:
    h = shape[0]
    width, hue, value = rng.uniform(26, 46) * unit, rng.uniform(0.06, 0.1), rng.uniform(0.4, 0.7)
    y = np.arange(h, dtype=np.float32)[:, None] + 1.5 * unit * noise(shape, rng, (h, 60 * unit), 1)
    board = np.floor(y / width).astype(int)
    board -= board.min()
    tone, shift = rng.uniform(0.8, 1.15, board.max() + 1), rng.uniform(0, 50, board.max() + 1)
    fibre = noise(shape, rng, (3 * unit, 90 * unit), 3)
    rings = np.sin(
        y * 0.55 / unit + shift[board] + 5 * noise(shape, rng, (30 * unit, 140 * unit), 2)
    )
    grain = tone[board] * (1 + 0.13 * fibre + 0.09 * rings)
    edge = np.minimum(y % width, width - y % width) / unit
    colour = hsv(hue, rng.uniform(0.25, 0.6), value) * grain[..., None]
    return colour * (0.25 + 0.75 * step(edge, 1.0, 0.8))[..., None]


def _asphalt(shape: tuple[int, int], rng: np.random.Generator, unit: float) -> np.ndarray:
    h, w = shape
    grit = noise(shape, rng, 2 * unit, 2)
    colour = rng.uniform(0.3, 0.5) * (1 + 0.16 * grit + 0.1 * noise(shape, rng, 60 * unit))
    crack = 1 - np.abs(noise(shape, rng, 80 * unit, 4)) * 30
    colour = colour * (1 - 0.4 * np.clip(crack, 0, 1))
    road = np.stack([colour, colour, colour * 1.04], axis=-1)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    if rng.random() < 0.5:  # a painted line across the road
        line = step(
            -np.abs(y - rng.uniform(0.75, 0.95) * h + rng.uniform(-0.1, 0.1) * x), -4 * unit, 1
        )
        road = mix(road, (0.82, 0.81, 0.76), line * (0.8 + 0.3 * grit))
    if rng.random() < 0.6:  # what stands beyond the road, out of focus
        far = (_sky, _meadow, _brick)[rng.integers(3)](shape, rng, unit)
        far = np.stack([blur(far[..., c], 3 * unit) for c in range(3)], axis=-1)
        road = mix(far, road, step(y, rng.uniform(0.2, 0.5) * h, 1.5 * unit))
    return road


def _sky(shape: tuple[int, int], rng: np.random.Generator, unit: float) -> np.ndarray:
    height = np.broadcast_to(np.linspace(0, 1, shape[0], dtype=np.float32)[:, None], shape)
    hue = rng.uniform(0.55, 0.6)
    clear = mix(hsv(hue, 0.65, 0.7), hsv(hue, 0.2, 0.92), height)
    cloud = step(noise(shape, rng, (60 * unit, 110 * unit), 6), rng.uniform(0.0, 0.3), 0.3)
    lit = 0.86 + 0.1 * noise(shape, rng, 40 * unit, 4)
    return mix(clear, np.stack([lit, lit, lit * 1.02], axis=-1), 0.9 * cloud)


def _brick(shape: tuple[int, int], rng: np.random.Generator, unit: float) -> np.ndarray:
    h, w = shape
    tall = rng.uniform(13, 20) * unit
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    y, x = (
        y + 0.8 * unit * noise(shape, rng, 12 * unit),
        x + 0.8 * unit * noise(shape, rng, 12 * unit),
    )
    row = np.floor(y / tall)
    column = np.floor(x / (2.4 * tall) + 0.5 * (row % 2))
    edge = np.minimum.reduce(
        [
            y - row * tall,
            (row + 1) * tall - y,
            *(
                abs(x / (2.4 * tall) + 0.5 * (row % 2) - column - side) * 2.4 * tall
                for side in (0, 1)
            ),
        ]
    )
    tone = rng.uniform(0.75, 1.2, (64, 64))[row.astype(int) % 64, column.astype(int) % 64]
    grit = noise(shape, rng, 5 * unit)
    clay = hsv(rng.uniform(0.0, 0.06), rng.uniform(0.35, 0.65), rng.uniform(0.4, 0.62))
    brick = (
        clay * (tone * (1 + 0.15 * grit) * (1 - 0.18 * step(-edge, -2.5 * unit, unit)))[..., None]
    )
    mortar = np.array([0.62, 0.6, 0.56]) * (1 + 0.1 * grit)[..., None]
    return mix(mortar, brick, step(edge, 1.3 * unit, 0.7 * unit))


def _fabric(shape: tuple[int, int], rng: np.random.Generator, unit: float) -> np.ndarray:
    h, w = shape
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    fold = noise(shape, rng, (90 * unit, 60 * unit), 2)
    y, x = y + 8 * unit * fold, x + 6 * unit * fold
    hue = rng.random()
    ground = hsv(hue, rng.uniform(0.2, 0.6), rng.uniform(0.35, 0.75))
    stripe = hsv(hue + 0.1, 0.5, rng.uniform(0.3, 0.8))
    wide = rng.uniform(18, 40) * unit
    plaid = 0.5 * step(np.cos(x * 2 * np.pi / wide), 0.3, 0.1) + 0.5 * step(
        np.cos(y * 2 * np.pi / wide), 0.3, 0.1
    )
    weave = np.cos(x * np.pi / unit) * np.cos(y * np.pi / unit)
    shade = 1 + 0.06 * weave + 0.22 * np.gradient(blur(fold, 3 * unit), axis=1) * 25 * unit
    return mix(ground, stripe, plaid * (0.8 if rng.random() < 0.5 else 0.0)) * shade[..., None]


GROUNDS = {
    "meadow": _meadow,
    "litter": _litter,
    "water": _water,
    "planks": _planks,
    "asphalt": _asphalt,
    "sky": _sky,
    "brick": _brick,
    "fabric": _fabric,
}
