"""This module counts a photograph's pixels at many background thresholds, in one pass over them."""

from __future__ import annotations

import numpy as np

from smaf.core.compiled import compiled


def count_passed(
    best: np.ndarray, winner: np.ndarray, truth: np.ndarray, *, levels: np.ndarray, num_classes: int
) -> np.ndarray:
    """Count the pixels of a photograph by thresholds passed, true value and strongest class.

    Args:
        best: (H, W) float32, the value of the strongest class.
        winner: (H, W) uint8, the strongest class, 0..T - 1.
        truth: (H, W) uint8, the true class, or a larger value where it is not known.
        levels: sorted thresholds, float32; one is passed by a larger value.
        num_classes: T, background included.

    Returns:
        (thresholds + 1, T + 1, T) int64; the last true value is that of pixels not known.

    Example:
        >>> pair, levels = np.array([[0.1, 0.6]], dtype=np.float32), np.array([0.1, 0.5])
        >>> ones = np.ones((1, 2), dtype=np.uint8)
        >>> counts = count_passed(pair, ones, 255 * ones, levels=levels, num_classes=2)
        >>> np.argwhere(counts).tolist()
        [[0, 2, 1], [2, 2, 1]]
    """
    passed = np.zeros((len(levels) + 1, num_classes + 1, num_classes), dtype=np.int64)
    _count(best.ravel(), winner.ravel(), truth.ravel(), levels.astype(np.float32), passed)
    return passed


@compiled
def _count(
    best: np.ndarray, winner: np.ndarray, truth: np.ndarray, levels: np.ndarray, passed: np.ndarray
) -> None:
    most, unknown, place = len(levels), passed.shape[1] - 1, 0
    for k in range(len(best)):
        value = best[k]
        while place < most and levels[place] < value:  # from the neighbour's: seldom a step
            place += 1
        while place > 0 and levels[place - 1] >= value:
            place -= 1
        passed[place, min(truth[k], unknown), winner[k]] += 1
