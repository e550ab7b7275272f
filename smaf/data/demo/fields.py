"""Fields of numbers that the demo's scenes are made of: noise, blurs, soft edges, colours."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

Field = np.ndarray  # (h, w) float32
Colour = np.ndarray | tuple[float, float, float]  # (3,) or (h, w, 3), RGB in [0, 1]
Points = Sequence[tuple[float, float]]


def resize(
    field: Field, shape: tuple[int, int], how: Image.Resampling = Image.Resampling.BICUBIC
) -> Field:
    """(h, w) float → `shape` (h', w') float32."""
    return np.asarray(Image.fromarray(field.astype(np.float32)).resize((shape[1], shape[0]), how))


def blur(field: Field, sigma: float) -> Field:
    """Return (h, w) after a Gaussian blur with `sigma` in pixels; the border is repeated.

    Wide blurs run on a reduced copy.
    """
    h, w = field.shape
    step = max(1, min(int(sigma / 1.5), h // 4, w // 4))
    out = (
        resize(field, (h // step, w // step), Image.Resampling.HAMMING)
        if step > 1
        else field.astype(np.float32)
    )
    radius = max(1, math.ceil(2.5 * sigma / step))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) * step / max(sigma, 1e-3)) ** 2).astype(
        np.float32
    )
    taps /= taps.sum()
    for axis in (0, 1):
        pad = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        padded, n = np.pad(out, pad, mode="edge"), out.shape[axis]
        out = sum(
            t * (padded[i : i + n] if axis == 0 else padded[:, i : i + n])
            for i, t in enumerate(taps)
        )
    return resize(out, (h, w)) if step > 1 else out


def noise(
    shape: tuple[int, int],
    rng: np.random.Generator,
    cell: float | tuple[float, float],
    octaves: int = 3,
) -> Field:
    """Return value noise (h, w) with a mean near 0, within about [-1, 1].

    `cell` is the coarsest grid in pixels, as one number or as (y, x).
    """
    cell_y, cell_x = cell if isinstance(cell, tuple) else (cell, cell)
    total, weight = np.zeros(shape, dtype=np.float32), 1.0
    for octave in range(octaves):
        grid = [
            math.ceil(n / max(c / 2**octave, 1.0)) + 1
            for n, c in zip(shape, (cell_y, cell_x), strict=True)
        ]
        total += weight * resize(rng.uniform(-1, 1, grid), shape)
        weight *= 0.55
    return total / 1.4


def mix(first: Colour, second: Colour, share: Field) -> np.ndarray:
    """(h, w, 3): `first` where `share` (h, w) is 0, `second` where it is 1."""
    start, end = np.asarray(first, dtype=np.float32), np.asarray(second, dtype=np.float32)
    out = np.empty((*share.shape, 3), dtype=np.float32)
    share = np.clip(share, 0, 1)
    for c in range(3):  # numpy is slow on a last axis of three
        out[..., c] = start[..., c] + share * (end[..., c] - start[..., c])
    return out


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """(3,) float32 RGB of a colour whose parts are in [0, 1]; the hue wraps round."""
    rgb = colorsys.hsv_to_rgb(hue % 1.0, min(saturation, 1.0), min(value, 1.0))
    return np.array(rgb, dtype=np.float32)


def pick(rng: np.random.Generator, values: Sequence[float]) -> float:
    """Return one of `values`, each as likely as the others."""
    return float(rng.choice(np.asarray(values, dtype=np.float64)))


def step(field: Field, edge: float, width: float) -> Field:
    """Smooth step of (h, w): 0 below `edge` - `width`, 1 above `edge` + `width`."""
    t = np.clip((field - edge) / (2 * width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def closed_curve(points: Points, samples: int = 10) -> np.ndarray:
    """(n · samples, 2): the closed Catmull-Rom curve through n points."""
    p1 = np.asarray(points, dtype=np.float64)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = (np.arange(samples) / samples)[None, :, None]
    a, b = (p2 - p0)[:, None] / 2, (p3 - p1)[:, None] / 2
    start, end = p1[:, None], p2[:, None]
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * start
        + (t**3 - 2 * t**2 + t) * a
        + (3 * t**2 - 2 * t**3) * end
        + (t**3 - t**2) * b
    )
    return curve.reshape(-1, 2)
