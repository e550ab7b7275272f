"""Counts of masks or fused maps against true masks: plain sums, so that lists can be shared out.

This module does without PyTorch, whose start-up would cost a worker process more than its share of
most lists.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError, during
from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask
from smaf.core.parallel import map_parallel
from smaf.data.layout import DataRoot
from smaf.ops.metrics import SizeStrata, count_pairs, value_runs
from smaf.ops.views import strongest_class

# Images above which other processes are worth their start, of half a second to three seconds each
MANY_MASKS = 10_000  # 0.8 ms each
MANY_MAPS = 1000  # 4 ms each
_PART = 50  # images whose counts are added up before they are handed on

Counts = TypeVar("Counts", bound="Summable")
Predicted = tuple[str, Path]  # an image's id, and its mask or fused map


class Summable:
    """Fields that are added one by one; subclasses are dataclasses of arrays."""

    def fields(self) -> dict[str, np.ndarray]:
        """The arrays by their names."""
        counts: Any = self
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(counts)}

    def __add__(self: Counts, other: Counts) -> Counts:
        others = other.fields()
        return type(self)(**{name: array + others[name] for name, array in self.fields().items()})


@dataclass(frozen=True)
class MaskCounts(Summable):
    """What a list of masks gives, T classes with background.

    `pairs` (T + 1, T + 1) are pixels by true value (rows) and the mask's; the last ones are 255.
    `sizes` (3, T, 2) and `objects` (3,) are those of :class:`smaf.ops.SizeStrata`.
    """

    pairs: np.ndarray
    sizes: np.ndarray
    objects: np.ndarray

    @property
    def true(self) -> np.ndarray:
        """(T + 1,) pixels of each true value; the last is 255."""
        return np.asarray(self.pairs.sum(axis=1))

    @property
    def predicted(self) -> np.ndarray:
        """(T + 1,) pixels of each value of the masks where truth is not ignored; the last: 255."""
        return np.asarray(self.pairs[:-1].sum(axis=0))


@dataclass(frozen=True)
class MapCounts(Summable):
    """What fused maps of a list give at several thresholds, T classes with background.

    `passed` (thresholds + 1, T + 1, T) are pixels by the number of thresholds that they pass, true
    value (the last is 255) and strongest class.
    """

    passed: np.ndarray

    @property
    def true(self) -> np.ndarray:
        """(T + 1,) pixels of each true value; the last is 255."""
        return np.asarray(self.passed.sum(axis=(0, 2)))

    def at(self, level: int) -> np.ndarray:
        """(T, T) confusion matrix where pixels must pass more than `level` of the thresholds."""
        kept = self.passed[:, :-1]
        front = kept[level + 1 :].sum(axis=0)
        front[:, 0] += kept[: level + 1].sum(axis=(0, 2))
        return np.asarray(front)


def seen_values(pixels: np.ndarray) -> np.ndarray:
    """(T + 1,) pixels of each value, the last of 255 → (256,) bool: which values occur.

    Example:
        >>> np.flatnonzero(seen_values(np.array([5, 0, 7, 1]))).tolist()
        [0, 2, 255]
    """
    seen = np.zeros(256, dtype=bool)
    seen[: len(pixels) - 1], seen[IGNORE] = pixels[:-1] > 0, pixels[-1] > 0
    return seen


def count_masks(data: DataRoot, masks: Sequence[Predicted]) -> MaskCounts:
    """Count masks, whose values are 0..C and 255, against the true masks of their ids.

    Raises :class:`InputError` where a mask has another size or a value outside the classes.
    """
    classes = data.num_classes + 1
    pairs, strata = np.zeros((classes + 1, classes + 1), dtype=np.int64), SizeStrata(classes)
    for image_id, path in masks:
        with during(f"evaluating {image_id}"):
            truth = data.mask(image_id)
            image = _pairs(read_mask(path), truth, path, data.num_classes)
            pairs += image
            strata.add(image[:-1, :-1])
    return MaskCounts(pairs, strata.counts, strata.objects)


def _pairs(mask: np.ndarray, truth: np.ndarray, path: Path, num_classes: int) -> np.ndarray:
    """Count an image: (T + 1, T + 1), as in :class:`MaskCounts`."""
    if mask.shape != truth.shape:
        raise InputError(
            f"{path} is {mask.shape[1]}×{mask.shape[0]} pixels, the true mask {truth.shape[1]}×"
            f"{truth.shape[0]}: make it again from the same photographs"
        )
    found, true, pixels = value_runs(mask, truth)
    named = found[found != IGNORE]
    if named.max(initial=0) > num_classes:
        raise InputError(
            f"mask {path} has the value {named.max()}, the task has the classes 1..{num_classes}: "
            "evaluate with the class list (--classes, --class_names) that made it"
        )
    last = num_classes + 1
    found, true = np.minimum(found, last), np.minimum(true, last)
    return count_pairs(found, true, pixels, num_classes=last + 1)


def count_maps(data: DataRoot, maps: Sequence[Predicted], *, levels: np.ndarray) -> MapCounts:
    """Count fused maps against the true masks of their ids, at the thresholds `levels`, sorted."""
    from smaf.ops.thresholds import count_passed  # Numba takes a moment to load

    classes = data.num_classes + 1
    passed = np.zeros((len(levels) + 1, classes + 1, classes), dtype=np.int64)
    for image_id, path in maps:
        with during(f"evaluating {image_id}"):
            truth = data.mask(image_id)
            size = (truth.shape[1], truth.shape[0])
            cams = read_fused(
                path, num_classes=data.num_classes, size=size, against="the true mask"
            )
            winner, best = strongest_class(cams, threshold=0.0, shape=truth.shape)
            passed += count_passed(best, winner, truth, levels=levels, num_classes=classes)
    return MapCounts(passed)


def sum_counts(
    count: Callable[[Sequence[Predicted]], Counts],
    predicted: Sequence[Predicted],
    *,
    num_workers: int = 0,
    many: int = MANY_MAPS,
    quiet: bool = False,
) -> Counts:
    """Add up what `count` gives of the parts of a list, from processes where it has over `many`.

    The sum is the same, and so is the first error, whatever the number of processes.
    """
    starts = range(0, max(1, len(predicted)), _PART)  # an empty share counts, too
    parts = [predicted[i : i + _PART] for i in starts]
    workers = num_workers if len(predicted) > many else 0
    what = f"evaluate, by {_PART} images"
    counts = map_parallel(count, parts, num_workers=workers, what=what, chunk=1, quiet=quiet)
    return functools.reduce(operator.add, counts)
