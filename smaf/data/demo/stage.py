"""A scene of the demo as it is composed, object by object, and as a camera would take it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from smaf.data.demo.brush import Brush
from smaf.data.demo.fields import Field, blur, resize
from smaf.data.demo.grounds import GROUNDS

MIN_VISIBLE = 0.7  # the share of an object that nothing nearer may hide
OVERSIZE = 2  # everything is drawn at twice the picture's size
_PLACES = 25  # how often a place for an object is looked for
_Box = tuple[slice, slice]


@dataclass(frozen=True)
class Layer:
    """One object or piece of clutter in the picture; arrays are (h, w) float32 in [0, 1].

    `visible` is its cover where nothing nearer hides it, `evidence` how strongly a detector answers
    to its parts, `shadow` the shadow that it casts. `label` is its class value 1…C, 0 for clutter;
    `area` its cover in pixels (of the drawing, which is twice the picture's size) before anything
    hides it.
    """

    label: int
    visible: Field
    evidence: Field
    shadow: Field
    area: float

    def left_over(self, box: _Box, alpha: Field) -> float:
        """The share that stays visible where a patch `alpha` is laid over `box`."""
        return float(self.visible.sum() - (self.visible[box] * alpha).sum()) / self.area


@dataclass(frozen=True)
class Scene:
    """A picture, its exact mask, and the layers that lie in it.

    `photo` is (H, W, 3) uint8 RGB; `mask` is (H, W) uint8, 0 background and 1…C the classes.
    """

    photo: np.ndarray
    mask: np.ndarray
    layers: tuple[Layer, ...]


class Stage:
    """The picture as it is composed, far to near; all arrays are twice the picture's size."""

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator, ground: str) -> None:
        self.shape, self.rng = shape, rng
        small = (
            shape[0] // OVERSIZE,
            shape[1] // OVERSIZE,
        )  # the ground is out of focus: the picture's size will do
        rgb = np.clip(GROUNDS[ground](small, rng, small[0] / 192), 0, 1)
        soft = rng.uniform(0.45, 1.3) * small[0] / 192
        self.rgb = np.stack([resize(blur(rgb[..., c], soft), shape) for c in range(3)], axis=-1)
        self.light = (
            float(rng.uniform(-0.7, 0.7)),
            float(rng.uniform(-0.75, -0.3)),
            float(rng.uniform(0.55, 0.8)),
        )
        self.shade = rng.uniform(0.25, 0.6)
        self.layers: list[Layer] = []

    def brush(self, area: float, unit_area: float, *, turn: float, reach: float = 1.1) -> Brush:
        """Return a brush for an object that covers the share `area` of the picture.

        The object leans at most `turn` radians.
        """
        h, w = self.shape
        scale = min(float(np.sqrt(area * h * w / unit_area)), 0.56 * min(h, w))
        angle, mirror = float(self.rng.triangular(-turn, 0, turn)), bool(self.rng.random() < 0.5)
        return Brush(scale, self.rng, light=self.light, angle=angle, mirror=mirror, reach=reach)

    def _place(self, patch: Field, top: int, left: int) -> Field:
        """A patch (h', w') set into an empty picture (h, w); what lies outside is cut off."""
        out, (box, cut) = (
            np.zeros(self.shape, dtype=np.float32),
            self._boxes(patch.shape, top, left),
        )
        out[box] = patch[cut]
        return out

    def _boxes(self, shape: tuple[int, ...], top: int, left: int) -> tuple[_Box, _Box]:
        """Return where a patch of `shape` lies in the picture, and its part that lies there."""
        sides = [
            (max(0, at), max(0, min(n, at + side)))
            for at, side, n in zip((top, left), shape[:2], self.shape, strict=True)
        ]
        (y0, y1), (x0, x1) = sides
        return (slice(y0, y1), slice(x0, x1)), (
            slice(y0 - top, max(0, y1 - top)),
            slice(x0 - left, max(0, x1 - left)),
        )

    def add(self, label: int, brush: Brush, *, margin: float) -> bool:
        """Put what `brush` has painted somewhere before the rest.

        False where no place leaves all objects well visible. `margin` is the share of its half
        width that may lie outside the picture.
        """
        half, own = brush.half, float(brush.alpha.sum())
        span = half * (0.95 - margin)
        rooms = [(min(span, n / 2), max(n - span, n / 2)) for n in self.shape]
        for attempt in range(_PLACES):
            last = attempt == _PLACES - 1  # the middle, where one object always fits
            cy, cx = (sum(room) / 2 if last else self.rng.uniform(*room) for room in rooms)
            top, left = round(cy) - half, round(cx) - half
            box, cut = self._boxes(brush.shape, top, left)
            alpha = brush.alpha[cut]
            others = [layer.left_over(box, alpha) for layer in self.layers if layer.label]
            if not label or (alpha.sum() > 0.85 * own and min(others, default=1.0) > MIN_VISIBLE):
                break
        else:
            return False
        layer = self._cast(label, brush, top, left)
        for c in range(3):
            self.rgb[box][..., c] += alpha * (brush.rgb[cut][..., c] - self.rgb[box][..., c])
        for beneath in self.layers:
            beneath.visible[box] *= 1 - alpha
            beneath.shadow[box] *= 1 - alpha
        self.layers.append(layer)
        return True

    def _cast(self, label: int, brush: Brush, top: int, left: int) -> Layer:
        """Cast the shadow of an object that is to lie at (top, left); return the object's layer."""
        reach = 0.12 * brush.scale
        pad = math.ceil(2 * reach)
        drop, aside = (round(-1.6 * reach * part) for part in (self.light[1], self.light[0]))
        soft = blur(np.pad(brush.alpha, pad), 0.6 * reach)
        corner = (top + drop - pad, left + aside - pad)
        box, cut = self._boxes(soft.shape, *corner)
        for c in range(3):
            self.rgb[box][..., c] *= 1 - self.shade * soft[cut]
        alpha = self._place(brush.alpha, top, left)
        return Layer(
            label,
            alpha,
            self._place(brush.evidence, top, left),
            self._place(soft, *corner) * (1 - alpha),
            float(brush.alpha.sum()),
        )

    def develop(self, size: tuple[int, int]) -> np.ndarray:
        """Return the picture as the camera takes it, (H, W, 3) uint8.

        Light is uneven; white balance, exposure, lens blur and sensor noise are the camera's.
        """
        rng, (h, w) = self.rng, (size[1], size[0])
        y, x = (
            np.linspace(-1, 1, h, dtype=np.float32)[:, None],
            np.linspace(-1, 1, w, dtype=np.float32),
        )
        uneven = (
            1
            + rng.uniform(-0.22, 0.22) * x
            + rng.uniform(-0.2, 0.2) * y
            - rng.uniform(0, 0.12) * (x * x + y * y)
        )
        balance = rng.normal(1, 0.05, 3) * rng.uniform(0.95, 1.35)
        soft, gamma = rng.uniform(0.35, 0.8), rng.uniform(0.9, 1.12)
        grain, grey = rng.uniform(0.008, 0.022), rng.standard_normal((h, w), dtype=np.float32)
        channels = []
        for c, gain in enumerate(balance.tolist()):
            light = (
                blur(resize(self.rgb[..., c], (h, w), Image.Resampling.BOX), soft) * uneven * gain
            )
            speckle = rng.standard_normal((h, w), dtype=np.float32) + 0.5 * grey
            level = np.clip(light, 0, None) ** gamma + grain * speckle
            # highlights roll off
            channels.append(
                np.where(level > 0.85, 0.85 + 0.15 * np.tanh((level - 0.85) / 0.15), level)
            )
        return np.rint(np.clip(np.stack(channels, axis=-1), 0, 1) * 255).astype(np.uint8)


def finish_scene(stage: Stage, size: tuple[int, int]) -> Scene:
    """Reduce the composed picture and its layers to the size of the scene.

    A pixel that objects cover by half belongs to the one that covers it best.
    """
    shape = (size[1], size[0])
    layers = []
    for drawn in stage.layers:
        visible, evidence, shadow = (
            resize(field, shape, Image.Resampling.BOX)
            for field in (drawn.visible, drawn.evidence, drawn.shadow)
        )
        layers.append(Layer(drawn.label, visible, evidence, shadow, drawn.area))
    objects = [layer for layer in layers if layer.label]
    cover = np.stack([layer.visible for layer in objects])
    labels = np.array([layer.label for layer in objects], dtype=np.uint8)
    mask = np.where(cover.sum(axis=0) > 0.5, labels[cover.argmax(axis=0)], 0).astype(np.uint8)
    return Scene(stage.develop(size), mask, tuple(layers))
