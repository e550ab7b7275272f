"""Photograph-like scenes with exact masks: procedural grounds, clutter, shadows, and the camera's faults.

Everything is drawn at twice the size and reduced, from one generator a scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from smaf.data.scene_objects import OBJECTS, Brush, Field, blur, hsv, mix, noise, resize, step

CLASSES = tuple(OBJECTS)
HABITAT = {"butterfly": "meadow", "car": "asphalt", "fish": "water", "mug": "planks", "mushroom": "litter"}
IN_HABITAT = 0.6  # the share of scenes whose ground goes with the first object
COUNT_SHARES = (0.6, 0.3, 0.1)  # scenes with one, two and three objects
AREA = {1: (0.07, 0.42), 2: (0.06, 0.22), 3: (0.06, 0.14)}  # an object's share of the picture, by their number
MIN_VISIBLE = 0.7  # the share of an object that nothing nearer may hide
_OVERSIZE = 2
_PLACES = 25  # how often a place for an object is looked for
_Box = tuple[slice, slice]


def _strokes(shape: tuple[int, int], rng: np.random.Generator, count: int, *, length: float, hue: float,
             values: tuple[float, float], leaf: float = 0.0) -> np.ndarray:
    """(h, w, 3) of `count` grass blades `length` pixels long, or of leaves where `leaf` (width over length) is given.

    They lie back to front and grow lighter from the first of `values` to the sum of both.
    """
    h, w = shape
    canvas = Image.fromarray(np.uint8(np.broadcast_to(hsv(hue, 0.6, values[0]) * 255, (h, w, 3))))
    draw = ImageDraw.Draw(canvas)
    foot = rng.uniform((0, 0), (w, 1.1 * h), (count, 2))
    size = length * rng.uniform(0.5, 1.2, (count, 1))
    turn = rng.uniform(0, 2 * np.pi, count) if leaf else rng.normal(-np.pi / 2, 0.3, count)
    along = size * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    side = np.stack([-along[:, 1], along[:, 0]], axis=1) * (0.5 * (leaf or 0.05) * rng.uniform(0.5, 1, (count, 1)))
    points = np.stack([foot, foot + 0.3 * along + side, foot + 0.65 * along + 0.8 * side, foot + along,
                       foot + 0.65 * along - 0.8 * side, foot + 0.3 * along - side], axis=1)
    bright = (values[0] + values[1] * np.arange(count) / count) * rng.uniform(0.75, 1.2, count)
    tints = hue + rng.normal(0, 0.02, count)
    for corners, tint, value in zip(points.reshape(count, 12).tolist(), tints.tolist(), bright.tolist(), strict=True):
        r, g, b = (int(255 * v) for v in hsv(tint, 0.6, value).tolist())
        draw.polygon(corners, fill=(r, g, b))
        if leaf:
            draw.line(corners[:2] + corners[6:8], fill=(int(0.72 * r), int(0.72 * g), int(0.72 * b)))
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
    grass = _strokes(shape, rng, 1400, length=34 * unit, hue=rng.uniform(0.2, 0.3), values=(0.26, 0.42))
    grass = grass * (1 + 0.25 * noise(shape, rng, 60 * unit))[..., None]
    petal, heart = _flowers(shape, rng, unit)
    colour = hsv(rng.choice([0.13, 0.8, 0.0]), rng.choice([0.05, 0.6]), 0.93)
    return mix(mix(grass, colour, petal), (0.8, 0.6, 0.1), heart)


def _litter(shape: tuple[int, int], rng: np.random.Generator, unit: float) -> np.ndarray:
    leaves = _strokes(shape, rng, 700, length=26 * unit, hue=rng.uniform(0.05, 0.09), values=(0.2, 0.4), leaf=0.7)
    moss = step(noise(shape, rng, 70 * unit), 0.25, 0.15) * (0.6 + 0.4 * noise(shape, rng, 3 * unit))
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
    rings = np.sin(y * 0.55 / unit + shift[board] + 5 * noise(shape, rng, (30 * unit, 140 * unit), 2))
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
        line = step(-np.abs(y - rng.uniform(0.75, 0.95) * h + rng.uniform(-0.1, 0.1) * x), -4 * unit, 1)
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
    y, x = y + 0.8 * unit * noise(shape, rng, 12 * unit), x + 0.8 * unit * noise(shape, rng, 12 * unit)
    row = np.floor(y / tall)
    column = np.floor(x / (2.4 * tall) + 0.5 * (row % 2))
    edge = np.minimum.reduce([y - row * tall, (row + 1) * tall - y, *(
        abs(x / (2.4 * tall) + 0.5 * (row % 2) - column - side) * 2.4 * tall for side in (0, 1))])
    tone = rng.uniform(0.75, 1.2, (64, 64))[row.astype(int) % 64, column.astype(int) % 64]
    grit = noise(shape, rng, 5 * unit)
    clay = hsv(rng.uniform(0.0, 0.06), rng.uniform(0.35, 0.65), rng.uniform(0.4, 0.62))
    brick = clay * (tone * (1 + 0.15 * grit) * (1 - 0.18 * step(-edge, -2.5 * unit, unit)))[..., None]
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
    plaid = 0.5 * step(np.cos(x * 2 * np.pi / wide), 0.3, 0.1) + 0.5 * step(np.cos(y * 2 * np.pi / wide), 0.3, 0.1)
    weave = np.cos(x * np.pi / unit) * np.cos(y * np.pi / unit)
    shade = 1 + 0.06 * weave + 0.22 * np.gradient(blur(fold, 3 * unit), axis=1) * 25 * unit
    return mix(ground, stripe, plaid * (0.8 if rng.random() < 0.5 else 0.0)) * shade[..., None]


GROUNDS = {"meadow": _meadow, "litter": _litter, "water": _water, "planks": _planks, "asphalt": _asphalt, "sky": _sky,
           "brick": _brick, "fabric": _fabric}


def _paint_clutter(brush: Brush, rng: np.random.Generator) -> None:
    """A stone, a leaf or a ball: what a detector may take for an object, though it belongs to the background."""
    kind = rng.integers(3)
    if kind == 0:
        turns = np.arange(9) * 2 * np.pi / 9
        points = [(float(r * np.cos(t)), float(0.75 * r * np.sin(t)))
                  for t, r in zip(turns, rng.uniform(0.7, 1.0, 9), strict=True)]
        grey = hsv(rng.uniform(0.05, 0.6), 0.1, rng.uniform(0.35, 0.7)) * (1 + 0.2 * brush.noise(0.3, 4))[..., None]
        brush.paint(brush.outline(points), grey, bulge=0.6, gloss=0.05, relief=0.05 * brush.noise(0.3))
    elif kind == 1:
        leaf = brush.outline([(-1, 0), (-0.5, -0.36), (0.1, -0.4), (1, 0), (0.1, 0.4), (-0.5, 0.36)])
        vein = step(np.cos(20 * (brush.x - np.abs(brush.y))), 0.9, 0.08) + step(-np.abs(brush.y), -0.03, 0.02)
        green = hsv(rng.choice([0.08, 0.12, 0.25, 0.3]), 0.6, rng.uniform(0.4, 0.7))
        brush.paint(leaf, mix(green, green * 0.7, vein), bulge=0.2, gloss=0.1, relief=-0.02 * vein)
    else:
        colour = hsv(rng.random(), 0.5, rng.uniform(0.4, 0.8)) * (1 + 0.05 * brush.noise(0.2))[..., None]
        brush.paint(brush.ellipse(0, 0, 0.8), colour, bulge=0.9, gloss=0.3)


@dataclass(frozen=True)
class Layer:
    """One object or piece of clutter as it lies in the picture; the arrays are (h, w) float32 in [0, 1].

    `visible` is its cover where nothing nearer hides it, `evidence` how strongly a detector answers to its parts,
    `shadow` the shadow that it casts. `label` is its class value 1…C, 0 for clutter; `area` its cover in pixels (of
    the drawing, which is twice the picture's size) before anything hides it.
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
    """A picture (H, W, 3) uint8 RGB, its exact mask (H, W) uint8 (0 background, 1…C), and what lies in it."""

    photo: np.ndarray
    mask: np.ndarray
    layers: tuple[Layer, ...]


class _Stage:
    """The picture as it is composed, far to near; all arrays are twice the picture's size."""

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator, ground: str) -> None:
        self.shape, self.rng = shape, rng
        small = (shape[0] // _OVERSIZE, shape[1] // _OVERSIZE)  # the ground is out of focus: the picture's size will do
        rgb = np.clip(GROUNDS[ground](small, rng, small[0] / 192), 0, 1)
        soft = rng.uniform(0.45, 1.3) * small[0] / 192
        self.rgb = np.stack([resize(blur(rgb[..., c], soft), shape) for c in range(3)], axis=-1)
        self.light = (float(rng.uniform(-0.7, 0.7)), float(rng.uniform(-0.75, -0.3)), float(rng.uniform(0.55, 0.8)))
        self.shade = rng.uniform(0.25, 0.6)
        self.layers: list[Layer] = []

    def brush(self, area: float, unit_area: float, *, turn: float, reach: float = 1.1) -> Brush:
        """A brush for an object that covers the share `area` of the picture, leaning at most `turn` radians."""
        h, w = self.shape
        scale = min(float(np.sqrt(area * h * w / unit_area)), 0.56 * min(h, w))
        angle, mirror = float(self.rng.triangular(-turn, 0, turn)), bool(self.rng.random() < 0.5)
        return Brush(scale, self.rng, light=self.light, angle=angle, mirror=mirror, reach=reach)

    def _place(self, patch: Field, top: int, left: int) -> Field:
        """A patch (h', w') set into an empty picture (h, w); what lies outside is cut off."""
        out, (box, cut) = np.zeros(self.shape, dtype=np.float32), self._boxes(patch.shape, top, left)
        out[box] = patch[cut]
        return out

    def _boxes(self, shape: tuple[int, ...], top: int, left: int) -> tuple[_Box, _Box]:
        """Where a patch of `shape` lies in the picture, and the part of the patch that lies there."""
        sides = [(max(0, at), max(0, min(n, at + side))) for at, side, n in
                 zip((top, left), shape[:2], self.shape, strict=True)]
        (y0, y1), (x0, x1) = sides
        return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, max(0, y1 - top)), slice(x0 - left, max(0, x1 - left)))

    def add(self, label: int, brush: Brush, *, margin: float) -> bool:
        """Put what `brush` has painted somewhere before the rest; False where no place leaves all well visible.

        `margin` is the share of its half width that may lie outside the picture.
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
        """Darken the picture by the shadow of an object that is to lie at (top, left); return the object's layer."""
        reach = 0.12 * brush.scale
        pad = math.ceil(2 * reach)
        drop, aside = (round(-1.6 * reach * part) for part in (self.light[1], self.light[0]))
        soft = blur(np.pad(brush.alpha, pad), 0.6 * reach)
        corner = (top + drop - pad, left + aside - pad)
        box, cut = self._boxes(soft.shape, *corner)
        for c in range(3):
            self.rgb[box][..., c] *= 1 - self.shade * soft[cut]
        alpha = self._place(brush.alpha, top, left)
        return Layer(label, alpha, self._place(brush.evidence, top, left), self._place(soft, *corner) * (1 - alpha),
                     float(brush.alpha.sum()))

    def develop(self, size: tuple[int, int]) -> np.ndarray:
        """The picture (H, W, 3) uint8: uneven light, white balance, exposure, lens blur, sensor noise."""
        rng, (h, w) = self.rng, (size[1], size[0])
        y, x = np.linspace(-1, 1, h, dtype=np.float32)[:, None], np.linspace(-1, 1, w, dtype=np.float32)
        uneven = 1 + rng.uniform(-0.22, 0.22) * x + rng.uniform(-0.2, 0.2) * y - rng.uniform(0, 0.12) * (x * x + y * y)
        balance = rng.normal(1, 0.05, 3) * rng.uniform(0.95, 1.35)
        soft, gamma = rng.uniform(0.35, 0.8), rng.uniform(0.9, 1.12)
        grain, grey = rng.uniform(0.008, 0.022), rng.standard_normal((h, w), dtype=np.float32)
        channels = []
        for c, gain in enumerate(balance.tolist()):
            light = blur(resize(self.rgb[..., c], (h, w), Image.Resampling.BOX), soft) * uneven * gain
            speckle = rng.standard_normal((h, w), dtype=np.float32) + 0.5 * grey
            level = np.clip(light, 0, None) ** gamma + grain * speckle
            # highlights roll off
            channels.append(np.where(level > 0.85, 0.85 + 0.15 * np.tanh((level - 0.85) / 0.15), level))
        return np.rint(np.clip(np.stack(channels, axis=-1), 0, 1) * 255).astype(np.uint8)


def render_scene(seed: int, index: int, *, size: tuple[int, int] = (256, 192)) -> Scene:
    """Render scene `index` of the set `seed`, `size` (width, height); the same arguments give the same scene.

    The first object's class is `index` modulo the number of classes; further objects are drawn freely.
    """
    rng = np.random.default_rng((seed, index))
    count = int(rng.choice(3, p=COUNT_SHARES)) + 1
    labels = [index % len(CLASSES) + 1, *(int(v) for v in rng.integers(1, len(CLASSES) + 1, count - 1))]
    home = HABITAT[CLASSES[labels[0] - 1]]
    ground = home if rng.random() < IN_HABITAT else str(rng.choice(sorted(set(GROUNDS) - {home})))
    stage = _Stage((size[1] * _OVERSIZE, size[0] * _OVERSIZE), rng, ground)
    for _ in range(rng.integers(1, 5)):
        brush = stage.brush(rng.uniform(0.004, 0.022), 2.0, turn=np.pi)
        _paint_clutter(brush, rng)
        stage.add(0, brush, margin=0.5)
    low, high = np.log(AREA[count])
    for label in labels:
        kind = OBJECTS[CLASSES[label - 1]]
        brush = stage.brush(float(np.exp(rng.uniform(low, high))), kind.area, turn=math.radians(25),
                            reach=kind.reach)
        kind.paint(brush, rng)
        stage.add(label, brush, margin=0.1)
    return _finish(stage, size)


def _finish(stage: _Stage, size: tuple[int, int]) -> Scene:
    """Reduce the composed picture and its layers; a pixel that objects cover by half is the best-covering one's."""
    shape = (size[1], size[0])
    layers = []
    for drawn in stage.layers:
        visible, evidence, shadow = (resize(field, shape, Image.Resampling.BOX)
                                     for field in (drawn.visible, drawn.evidence, drawn.shadow))
        layers.append(Layer(drawn.label, visible, evidence, shadow, drawn.area))
    objects = [layer for layer in layers if layer.label]
    cover = np.stack([layer.visible for layer in objects])
    labels = np.array([layer.label for layer in objects], dtype=np.uint8)
    mask = np.where(cover.sum(axis=0) > 0.5, labels[cover.argmax(axis=0)], 0).astype(np.uint8)
    return Scene(stage.develop(size), mask, tuple(layers))
