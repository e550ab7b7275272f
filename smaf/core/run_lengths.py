"""COCO's run lengths: of 0 first, then of 1, and so on, down the columns; plain or compressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

DIGITS = 7  # characters of one run length at most: more than any image has pixels


def run_lengths(counts: str) -> list[int]:
    """Decode COCO's compressed run lengths.

    A character (offset 48) holds five bits; the sixth says that more follow. From the third on each
    number is the difference to the one two before. Raises ValueError for what is not such a code.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift >= 5 * DIGITS:
            raise ValueError("its run lengths are not COCO's code")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift  # two's complement
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return lengths


def filling_runs(segmentation: dict[str, Any], shape: tuple[int, int]) -> list[int]:
    """The run lengths of COCO's `{size, counts}`, checked to fill an image of `shape` (H, W).

    Raises ValueError where they do not.
    """
    height, width = shape
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = run_lengths(counts)
    fit = (
        isinstance(counts, list)
        and all(type(count) is int and count >= 0 for count in counts)
        and sum(counts) == height * width
        and segmentation.get("size") == [height, width]
    )
    if not fit:
        raise ValueError(f"its run lengths do not fill an image of {width}×{height}")
    return list(counts or [])


def region_of_runs(lengths: Sequence[int], shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of run lengths that fill an image of `shape` (H, W).

    Example:
        >>> region_of_runs([1, 2, 1], (2, 2)).tolist()
        [[False, True], [True, False]]
    """
    height, width = shape
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T
