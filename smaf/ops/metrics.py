"""This module computes segmentation metrics, with mean IoU as PASCAL VOC defines it.

One confusion matrix counts the whole list.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=np.asarray(b) > 0)


def value_runs(pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the runs of equal pairs of two masks: predicted value, true value, pixels.

    Masks are read line by line. What is counted afterwards takes a hundredth of the pixels' time.
    Raises ValueError where the shapes differ.

    Example:
        >>> pred, target = np.array([[0, 0, 1], [1, 1, 2]]), np.array([[0, 0, 1], [1, 255, 2]])
        >>> [part.tolist() for part in value_runs(pred, target)]
        [[0, 1, 1, 2], [0, 1, 255, 2], [2, 2, 1, 1]]
    """
    if pred.shape != target.shape:
        raise ValueError(f"prediction {pred.shape} and target {target.shape} differ in shape")
    pred, target = pred.ravel(), target.ravel()
    begins = np.ones(pred.size, dtype=bool)
    np.not_equal(pred[1:], pred[:-1], out=begins[1:])
    begins[1:] |= target[1:] != target[:-1]
    starts = np.flatnonzero(begins)
    return pred[starts], target[starts], np.diff(starts, append=pred.size)


def count_pairs(
    pred: np.ndarray, target: np.ndarray, pixels: np.ndarray, *, num_classes: int
) -> np.ndarray:
    """Sum the runs of :func:`value_runs` by true (rows) and predicted class: (T, T) int64."""
    index = target.astype(np.int64) * num_classes + pred
    counts = np.bincount(index, weights=pixels, minlength=num_classes**2)
    # exact: a double holds each whole number up to 2 to the 53rd
    return counts.astype(np.int64).reshape(num_classes, num_classes)


class ConfusionMatrix:
    """Pixels counted by true class (rows) and predicted class (columns).

    Args:
        num_classes: T, background included (21 for VOC).
        ignore_index: true value of pixels that are left out.

    Example:
        >>> matrix = ConfusionMatrix(2)
        >>> matrix.update(np.array([[0, 1]]), np.array([[0, 0]]))
        >>> matrix.compute()["accuracy"]
        0.5
    """

    def __init__(self, num_classes: int, *, ignore_index: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes {num_classes}: expected at least 1")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.counts = np.zeros((num_classes, num_classes), dtype=np.int64)
        self.ignored = 0

    def update(self, pred: np.ndarray, target: np.ndarray) -> None:
        """Add predicted and true masks of one shape; integers.

        Raises ValueError where the shapes differ, or a value that is not ignored is outside the
        classes.
        """
        pred, target, pixels = value_runs(np.asarray(pred), np.asarray(target))
        kept = target != self.ignore_index
        ignored = int(pixels[~kept].sum())
        pred, target, pixels = pred[kept], target[kept], pixels[kept]
        for name, values in (("prediction", pred), ("target", target)):
            if values.size and not (values.min() >= 0 and values.max() < self.num_classes):
                raise ValueError(
                    f"{name} has values {values.min()}..{values.max()}, expected "
                    f"0..{self.num_classes - 1}"
                )
        self.add(count_pairs(pred, target, pixels, num_classes=self.num_classes), ignored=ignored)

    def add(self, counts: np.ndarray, *, ignored: int = 0) -> None:
        """Add pixels that are counted already: (T, T), and how many were left out."""
        self.counts += counts
        self.ignored += ignored

    def compute(self) -> dict[str, Any]:
        """Return `miou`, `iou` (T,), `precision` (T,), `recall` (T,), `accuracy` and `fwiou`.

        All values are in 0..1. `miou` is the mean over classes that occur (in target or
        prediction); per-class values are NaN where they are not defined. `fwiou` weighs each
        class's IoU with its share of the true pixels.
        """
        counts = self.counts.astype(np.float64)
        hit, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
        iou = _ratio(hit, true + predicted - hit)
        total = counts.sum()
        if total == 0:
            nan = float("nan")
            return {
                "miou": nan,
                "iou": iou,
                "precision": iou,
                "recall": iou,
                "accuracy": nan,
                "fwiou": nan,
            }
        return {
            "miou": float(np.nanmean(iou)),
            "iou": iou,
            "precision": _ratio(hit, predicted),
            "recall": _ratio(hit, true),
            "accuracy": float(hit.sum() / total),
            "fwiou": float(np.nansum(true / total * np.where(true > 0, iou, 0.0))),
        }


class SizeStrata:
    """IoU by the size of what is to be found: small, medium and large shares of the image.

    Each class that an image truly shows falls in the stratum of its share of the pixels that are
    not ignored; its intersection and union in that image are summed there, class by class. A class
    predicted where it is not counts nowhere, so these numbers compare predictions with each other
    and are not parts of the mIoU.

    Args:
        num_classes: T, background (class 0, left out) included.
        bounds: shares at which medium and large begin.
    """

    names = ("small", "medium", "large")

    def __init__(
        self,
        num_classes: int,
        *,
        bounds: tuple[float, float] = (0.05, 0.2),
        ignore_index: int = 255,
    ) -> None:
        self.bounds, self.ignore_index = bounds, ignore_index
        self.counts = np.zeros((3, num_classes, 2), dtype=np.int64)  # intersection, union
        self.objects = np.zeros(3, dtype=np.int64)

    def update(self, pred: np.ndarray, target: np.ndarray) -> None:
        """Add an image's predicted and true masks of one shape, whose values are classes."""
        image = ConfusionMatrix(self.counts.shape[1], ignore_index=self.ignore_index)
        image.update(pred, target)
        self.add(image.counts)

    def add(self, image: np.ndarray) -> None:
        """Add an image by its confusion matrix (T, T): true classes in rows, predicted in columns.

        Example:
            >>> strata = SizeStrata(2)
            >>> strata.add(np.array([[60, 2], [8, 30]]))  # 38 of 100 pixels are of class 1
            >>> strata.compute()["large"]
            {'iou': 0.75, 'objects': 1}
        """
        true, found, hit = image.sum(axis=1), image.sum(axis=0), np.diag(image)
        shown = np.flatnonzero(true[1:]) + 1
        strata = np.searchsorted(self.bounds, true[shown] / true.sum(), side="right")
        np.add.at(self.counts[..., 0], (strata, shown), hit[shown])
        np.add.at(self.counts[..., 1], (strata, shown), (true + found - hit)[shown])
        np.add.at(self.objects, strata, 1)

    def compute(self) -> dict[str, dict[str, float]]:
        """Return the IoU and the number of objects of each size.

        The outcome is `{"small": {"iou": …, "objects": …}, …}`. `iou` is the mean over the classes
        that have objects of this size, NaN where none has.
        """
        iou = _ratio(self.counts[..., 0], self.counts[..., 1])
        return {
            name: {
                "iou": float(np.nanmean(iou[i])) if self.objects[i] else float("nan"),
                "objects": int(self.objects[i]),
            }
            for i, name in enumerate(self.names)
        }
