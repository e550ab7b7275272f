"""The inner loop of reading fused maps, beside the format's definition in `fused_maps.py`."""

from __future__ import annotations

import numpy as np

from smaf.core.compiled import compiled


@compiled
def decode_levels(low: np.ndarray, high: np.ndarray, plane: np.ndarray, most: int) -> bool:
    """Fill `plane` (H, W) float32 with levels / `most` from the bytes (H, W) of their differences.

    Return whether all levels are in 0..`most`.
    """
    height, width = low.shape
    above = np.zeros(width, dtype=np.int32)  # differences along the line, summed down the columns
    smallest = largest = np.int32(0)
    for y in range(height):
        level = np.int32(0)
        for x in range(width):
            zigzag = np.int32(low[y, x]) | (np.int32(high[y, x]) << 8)
            above[x] += (zigzag >> 1) ^ -(zigzag & 1)
            level += above[x]
            smallest, largest = min(smallest, level), max(largest, level)
            plane[y, x] = np.float32(level) / np.float32(most)
    return bool(smallest >= 0 and largest <= most)
