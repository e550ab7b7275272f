"""The five objects of the demo data set: painted, shaded parts in an object's own coordinates.

An object lies within about [-1, 1]² (x right, y down). Each has a part that tells it apart (the
fish's head, the mug's handle, the car's wheels, …) and a larger, plainer body, as the classes of
real data sets do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from smaf.data.demo.brush import Brush
from smaf.data.demo.objects.butterfly import paint_butterfly
from smaf.data.demo.objects.car import paint_car
from smaf.data.demo.objects.fish import paint_fish
from smaf.data.demo.objects.mug import paint_mug
from smaf.data.demo.objects.mushroom import paint_mushroom


@dataclass(frozen=True)
class ObjectKind:
    """How an object is painted, its usual area in object units², and the radius that holds it.

    The radius holds the object however it is turned.
    """

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
