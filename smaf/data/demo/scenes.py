"""Photograph-like scenes with exact masks: grounds, clutter, shadows, and the camera's faults.

Everything is drawn at twice the size and reduced, from one generator a scene.
"""

from __future__ import annotations

import math

import numpy as np

from smaf.data.demo.clutter import paint_clutter
from smaf.data.demo.grounds import GROUNDS
from smaf.data.demo.objects import OBJECTS
from smaf.data.demo.stage import OVERSIZE, Scene, Stage, finish_scene

CLASSES = tuple(OBJECTS)
HABITAT = {
    "butterfly": "meadow",
    "car": "asphalt",
    "fish": "water",
    "mug": "planks",
    "mushroom": "litter",
}
IN_HABITAT = 0.6  # the share of scenes whose ground goes with the first object
COUNT_SHARES = (0.6, 0.3, 0.1)  # scenes with one, two and three objects
AREA = {
    1: (0.07, 0.42),
    2: (0.06, 0.22),
    3: (0.06, 0.14),
}  # an object's share of the picture, by their number


def render_scene(seed: int, index: int, *, size: tuple[int, int] = (256, 192)) -> Scene:
    """Render scene `index` of the set `seed`; `size` is (width, height).

    The same arguments give the same scene. The first object's class is `index` modulo the number of
    classes; further objects are drawn freely.
    """
    rng = np.random.default_rng((seed, index))
    count = int(rng.choice(3, p=COUNT_SHARES)) + 1
    labels = [
        index % len(CLASSES) + 1,
        *(int(v) for v in rng.integers(1, len(CLASSES) + 1, count - 1)),
    ]
    home = HABITAT[CLASSES[labels[0] - 1]]
    ground = home if rng.random() < IN_HABITAT else str(rng.choice(sorted(set(GROUNDS) - {home})))
    stage = Stage((size[1] * OVERSIZE, size[0] * OVERSIZE), rng, ground)
    for _ in range(rng.integers(1, 5)):
        brush = stage.brush(rng.uniform(0.004, 0.022), 2.0, turn=np.pi)
        paint_clutter(brush, rng)
        stage.add(0, brush, margin=0.5)
    low, high = np.log(AREA[count])
    for label in labels:
        kind = OBJECTS[CLASSES[label - 1]]
        brush = stage.brush(
            float(np.exp(rng.uniform(low, high))),
            kind.area,
            turn=math.radians(25),
            reach=kind.reach,
        )
        kind.paint(brush, rng)
        stage.add(label, brush, margin=0.1)
    return finish_scene(stage, size)
