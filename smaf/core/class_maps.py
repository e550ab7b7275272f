"""Maps of the classes of one photograph, and the constant that stands for background among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smaf.core.classes import IGNORE

ClassMaps = dict[int, np.ndarray]  # class index → (H, W) float32
BACKGROUND = 0.2  # a pixel whose maps are all below it is background; SMAF's release has this value


def maps_of_mask(
    mask: np.ndarray, shown: Sequence[int], *, ignored: float | None = None
) -> ClassMaps:
    """Maps of 0 and 1 that say what a mask says, for the classes that a photograph shows.

    Args:
        mask: (H, W) uint8, 0 background, c + 1 for class c, 255 ignored.
        shown: the classes of the maps.
        ignored: what each of them has where the mask is ignored; None: even odds with the
            background, where that is what the maps leave to 1.

    Example:
        >>> maps = maps_of_mask(np.array([[0, 1, 3, 255]], dtype=np.uint8), [0, 2], ignored=0.25)
        >>> maps[0].tolist(), maps[2].tolist()
        ([[0.0, 1.0, 0.0, 0.25]], [[0.0, 0.0, 1.0, 0.25]])
    """
    value = 1.0 / (len(shown) + 1) if ignored is None else ignored
    even = (mask == IGNORE) * np.float32(value)
    return {int(c): (mask == c + 1) + even for c in shown}
