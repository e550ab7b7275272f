"""Objects across photographs: regions of many masks, and what the most alike of them say of one.

After ModuSeg (2026): features of confident regions, averaged by area and normalised, are a bank; a
region's class is the majority of its nearest ones. It departs from it where it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from smaf.core.classes import IGNORE

FARTHEST = 0.25  # of a class's regions, dropped from the bank
_FEWEST = 8  # regions of a class from which on some are dropped


def confident(mask: np.ndarray, margin: int) -> np.ndarray:
    """The mask (H, W) uint8 with 255 within `margin` pixels of another value, as squares reach.

    Example:
        >>> confident(np.array([[1, 1, 1, 0, 0]], dtype=np.uint8), 1).tolist()
        [[1, 1, 255, 255, 0]]
    """
    low = high = Image.fromarray(mask)
    for _ in range(margin):
        low, high = low.filter(ImageFilter.MinFilter(3)), high.filter(ImageFilter.MaxFilter(3))
    same = np.asarray(low) == np.asarray(high)
    return np.where(same, mask, np.uint8(IGNORE)).astype(np.uint8)


def regions_of(mask: np.ndarray, superpixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a mask (H, W) by superpixels (H, W) → regions (H, W) int64 from 0, their values (R,).

    A region has one value and lies in one superpixel; pixels of 255 are in none: -1.

    Example:
        >>> regions, values = regions_of(np.array([[0, 2, 2, 255]]), np.array([[0, 0, 1, 1]]))
        >>> regions.tolist(), values.tolist()
        ([[0, 1, 2, -1]], [0, 2, 2])
    """
    pairs = superpixels.astype(np.int64) * (IGNORE + 1) + mask
    found, place = np.unique(pairs, return_inverse=True)
    values = found % (IGNORE + 1)
    numbers = np.where(values < IGNORE, np.cumsum(values < IGNORE) - 1, -1)
    return numbers[place.reshape(mask.shape)], values[values < IGNORE]


def region_features(
    features: np.ndarray, regions: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean features of regions, each cell weighed by its pixels in the region.

    Args:
        features: (D, h, w), of an image of any size.
        regions: (H, W) from 0, -1 in none.
        count: R, how many there are.

    Returns:
        (R, D) float32 of length 1, as each cell's feature is before the mean; pixels (R,) int64.

    Example:
        >>> features = np.array([[[3.0, 0.0]], [[0.0, 2.0]]])  # two cells
        >>> means, pixels = region_features(features, np.array([[0, 0, 0, -1]]), 1)
        >>> (means**2).round(3).tolist(), pixels.tolist()  # two pixels and one
        ([[0.8, 0.2]], [3])
    """
    d, h, w = features.shape
    rows = np.arange(regions.shape[0]) * h // regions.shape[0]
    columns = np.arange(regions.shape[1]) * w // regions.shape[1]
    cells, inside = rows[:, None] * w + columns, regions >= 0
    index = regions[inside] * (h * w) + cells[inside]
    weights = np.bincount(index, minlength=count * h * w).reshape(count, h * w)
    means = weights.astype(np.float32) @ _unit(features.reshape(d, -1).T)
    return _unit(means), weights.sum(axis=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """(n, D) float32 of length 1."""
    vectors = vectors.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-8))


@dataclass(frozen=True)
class Bank:
    """Regions that are taken for sure.

    Args:
        features: (B, D) float32 of length 1.
        values: (B,) mask values, 0 background.
        photos: (B,) the number of the photograph that each comes from.
    """

    features: np.ndarray
    values: np.ndarray
    photos: np.ndarray

    def of(self, wanted: np.ndarray) -> Bank:
        """Those that `wanted` (B,), bool or indices, names."""
        return Bank(self.features[wanted], self.values[wanted], self.photos[wanted])

    def without_farthest(self) -> Bank:
        """Without the quarter of each class, but background, that is farthest from its mean."""
        kept = np.ones(len(self.values), dtype=bool)
        for value in np.unique(self.values[self.values > 0]):
            own = np.flatnonzero(self.values == value)
            if len(own) >= _FEWEST:
                near = self.features[own] @ self.features[own].mean(axis=0)
                kept[own[np.argsort(near, kind="stable")[: int(len(own) * FARTHEST)]]] = False
        return self.of(kept)


def voted(
    features: np.ndarray, bank: Bank, *, allowed: Sequence[int], photo: int, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the most similar regions of other photographs say of regions.

    Args:
        features: (R, D) of length 1.
        bank: whose regions of the mask values `allowed` vote.
        photo: number of the photograph itself, whose regions do not vote.
        neighbours: how many have a vote.

    Returns:
        (R,) mask values with most votes, the smallest where two have as many; their share (R,) of
        the votes, 0 where nobody may vote.

    Example:
        >>> bank = Bank(np.eye(2)[[0, 0, 1]], np.array([1, 1, 2]), np.array([7, 8, 9]))
        >>> values, share = voted(np.eye(2), bank, allowed=[1, 2], photo=3, neighbours=1)
        >>> values.tolist(), share.tolist()
        ([1, 2], [1.0, 1.0])
    """
    bank = bank.of(np.isin(bank.values, allowed) & (bank.photos != photo))
    count = min(neighbours, len(bank.values))
    if not count:
        return np.zeros(len(features), dtype=np.int64), np.zeros(len(features))
    likeness = features @ bank.features.T
    nearest = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
    names = np.array(sorted(allowed))
    votes = (bank.values[nearest][..., None] == names).sum(axis=1)
    return names[votes.argmax(axis=1)], votes.max(axis=1) / count
