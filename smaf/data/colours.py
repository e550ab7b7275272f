"""Colour jitter as torchvision does it on Pillow's images, with the same numbers, in fewer passes.

Images are planes (3, N) uint8: red, green and blue of N pixels. They are changed in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from smaf.core.compiled import compiled


def adjust_brightness(planes: np.ndarray, factor: float) -> None:
    """Multiply by `factor`: blend with black."""
    _blend(planes.reshape(-1), np.float32(0), np.float32(factor))


def adjust_contrast(planes: np.ndarray, factor: float) -> None:
    """Blend with the mean grey of the whole image."""
    mean = int(int(_sum_of_greys(planes)) / planes.shape[1] + 0.5)
    _blend(planes.reshape(-1), np.float32(mean), np.float32(factor))


def adjust_saturation(planes: np.ndarray, factor: float) -> None:
    """Blend each pixel with its grey."""
    _blend_greys(planes, np.float32(factor))


def adjust_hue(planes: np.ndarray, factor: float) -> None:
    """Turn the hue by `factor` of the circle, -0.5..0.5, in steps of 1/256 as Pillow's HSV has."""
    _turn_hue(planes, np.int32(int(factor * 255) & 255))


@compiled
def _grey(red: int, green: int, blue: int) -> int:
    """ITU-R 601's luma in whole numbers, as Pillow rounds it."""
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


@compiled
def _mix(grey: float, value: float, factor: float) -> Any:
    """Value beyond or between grey (0) and itself (1), within 0..255."""
    mixed = grey + factor * (value - grey)
    return min(max(mixed, np.float32(0)), np.float32(255))


@compiled
def _blend(values: np.ndarray, grey: float, factor: float) -> None:
    for k in range(len(values)):
        values[k] = np.uint8(_mix(grey, np.float32(values[k]), factor))


@compiled
def _sum_of_greys(planes: np.ndarray) -> int:
    total = 0
    for k in range(planes.shape[1]):
        total += _grey(np.int32(planes[0, k]), np.int32(planes[1, k]), np.int32(planes[2, k]))
    return total


@compiled
def _blend_greys(planes: np.ndarray, factor: float) -> None:
    for k in range(planes.shape[1]):
        red, green, blue = planes[0, k], planes[1, k], planes[2, k]
        grey = np.float32(_grey(np.int32(red), np.int32(green), np.int32(blue)))
        planes[0, k] = np.uint8(_mix(grey, np.float32(red), factor))
        planes[1, k] = np.uint8(_mix(grey, np.float32(green), factor))
        planes[2, k] = np.uint8(_mix(grey, np.float32(blue), factor))


@compiled
def _hue_and_saturation(red: int, green: int, blue: int) -> Any:
    """Hue and saturation in 0..255; no branch, so that the loop over pixels is vectorised."""
    high, low = max(red, max(green, blue)), min(red, min(green, blue))
    spread = np.float32(max(high - low, 1))
    saturation = np.int32(spread / np.float32(max(high, 1)) * 255.0) if high > low else np.int32(0)
    r = np.float32(high - red) / spread
    g = np.float32(high - green) / spread
    b = np.float32(high - blue) / spread
    place = (
        np.float32(b - g)
        if red == high
        else (np.float32(2.0 + r - b) if green == high else np.float32(4.0 + g - r))
    )
    turn = place / 6.0 + 1.0
    turn = turn - 1.0 if turn >= 1.0 else turn
    return np.int32(np.float32(turn) * 255.0), saturation


@compiled
def _turn_hue(planes: np.ndarray, turn: int) -> None:
    """Go through 8-bit HSV, with Pillow's roundings (its Convert.c follows Python's colorsys)."""
    reds, greens, blues = planes[0], planes[1], planes[2]
    for k in range(planes.shape[1]):
        red, green, blue = np.int32(reds[k]), np.int32(greens[k]), np.int32(blues[k])
        hue, saturation = _hue_and_saturation(red, green, blue)
        high = max(red, max(green, blue))
        sixths = ((hue + turn) & np.int32(255)) * 6.0 / 255.0
        sixth = np.int32(sixths)
        part, share = np.float32(sixths - sixth), np.float32(saturation / 255.0)
        sixth = sixth if sixth < 6 else np.int32(0)
        value = np.float32(high)
        least = np.int32(value * (1.0 - share) + 0.5)
        fall = np.int32(value * (1.0 - share * part) + 0.5)
        rise = np.int32(value * (1.0 - share * (1.0 - part)) + 0.5)
        grey = saturation == 0
        reds[k] = (
            high
            if (sixth == 0 or sixth == 5 or grey)
            else (fall if sixth == 1 else (rise if sixth == 4 else least))
        )
        greens[k] = (
            high
            if (sixth == 1 or sixth == 2 or grey)
            else (rise if sixth == 0 else (fall if sixth == 3 else least))
        )
        blues[k] = (
            high
            if (sixth == 3 or sixth == 4 or grey)
            else (rise if sixth == 2 else (fall if sixth == 5 else least))
        )
