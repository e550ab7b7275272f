"""Evaluation of masks or fused maps against the truth: one confusion matrix over the list."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from smaf.core.class_maps import ClassMaps
from smaf.core.classes import IGNORE
from smaf.core.errors import InputError, MissingInputError, during
from smaf.core.files import write_json
from smaf.core.fused_maps import read_fused
from smaf.core.images import MASK_SUFFIXES, find_images, read_mask
from smaf.data.layout import DataRoot
from smaf.data.streams import fused_paths
from smaf.engine import distributed
from smaf.engine.fused import check_classes
from smaf.engine.truth import check_shown, true_masks, values_of
from smaf.ops import ConfusionMatrix, SizeStrata, cams_to_mask
from smaf.report.sweep_plot import plot_sweep

log = logging.getLogger("smaf")
SWEEP_NOTE = "a threshold belongs to the list that it was chosen on; report it on another list"


@dataclass(frozen=True)
class Evaluation:
    """Result of one evaluation; `to_json` is what is written."""

    list_name: str
    classes: tuple[str, ...]  # background first
    images: int
    matrix: ConfusionMatrix
    threshold: float | None = None
    strata: SizeStrata | None = None  # of masks only
    uncertain: int = 0  # pixels that the masks mark 255, left out like those ignored in truth

    def to_json(self) -> dict[str, Any]:
        """Numbers in 0..1; a class that does not occur has null."""
        result = self.matrix.compute()

        def per_class(name: str) -> dict[str, float | None]:
            return {
                c: None if math.isnan(v) else float(v)
                for c, v in zip(self.classes, result[name], strict=True)
            }

        counted = int(self.matrix.counts.sum())
        by_size = {} if self.strata is None else {"by_size": self.strata.compute()}
        return {
            "list": self.list_name,
            "images": self.images,
            "classes": list(self.classes),
            "threshold": self.threshold,
            "pixels": counted,
            "ignored_pixels": self.matrix.ignored,
            "uncertain_pixels": self.uncertain,
            "miou": result["miou"],
            "precision": float(np.nanmean(result["precision"])),
            "recall": float(np.nanmean(result["recall"])),
            "accuracy": result["accuracy"],
            "fwiou": result["fwiou"],
            "iou": per_class("iou"),
            "precision_per_class": per_class("precision"),
            "recall_per_class": per_class("recall"),
            **by_size,
        }

    def table(self) -> str:
        """A text table in per cent."""
        result = self.matrix.compute()
        width = max(len(name) for name in self.classes)
        lines = [f"{'class':<{width}}     IoU  precision  recall"]
        for row in zip(
            self.classes, result["iou"], result["precision"], result["recall"], strict=True
        ):
            cells = [" –  " if math.isnan(v) else f"{100 * v:.2f}" for v in row[1:]]
            lines.append(f"{row[0]:<{width}}  {cells[0]:>6}     {cells[1]:>6}  {cells[2]:>6}")
        means = [100 * np.nanmean(result[name]) for name in ("iou", "precision", "recall")]
        lines.append(f"{'mean':<{width}}  {means[0]:6.2f}     {means[1]:6.2f}  {means[2]:6.2f}")
        if self.strata is not None:
            sizes = (
                f"{name} {100 * entry['iou']:.2f} % ({entry['objects']})"
                for name, entry in self.strata.compute().items()
                if entry["objects"]
            )
            lines.append(
                "IoU by the object's share of the image (below 5 %, to 20 %, above): "
                f"{', '.join(sizes)}"
            )
        at = "" if self.threshold is None else f", background threshold {self.threshold:g}"
        if self.uncertain:
            whole = self.uncertain + int(self.matrix.counts.sum())
            at += (
                f"; {100 * self.uncertain / whole:.1f} % of the rest marked uncertain (255) and "
                "left out"
            )
        lines.append(
            f"mIoU {100 * result['miou']:.2f} %, accuracy {100 * result['accuracy']:.2f} %, "
            f"frequency-weighted IoU {100 * result['fwiou']:.2f} %"
        )
        lines.append(
            f"list {self.list_name}: {self.images} images, {len(self.classes)} classes with "
            f"background, {self.matrix.ignored} pixels ignored{at}"
        )
        if absent := [
            c
            for c, n in zip(self.classes[1:], self.matrix.counts.sum(axis=1)[1:], strict=True)
            if not n
        ]:
            more = f" and {len(absent) - 10} more" if len(absent) > 10 else ""
            lines.append(f"no true mask shows {', '.join(absent[:10])}{more}")
        return "\n".join(lines)


def _accumulate(
    data: DataRoot, list_name: str, ids: Sequence[str], count: Callable[[str, np.ndarray], None]
) -> None:
    """Call `count` with each id and its true mask.

    Raises :class:`InputError` where the true masks show no class.
    """
    seen, quiet = np.zeros(256, dtype=bool), distributed.rank() > 0
    ids = distributed.share(ids)
    with tqdm(ids, desc="evaluate", unit="image", mininterval=1.0, disable=quiet) as bar:
        for image_id in bar:
            with during(f"evaluating {image_id}"):
                truth = data.mask(image_id)
                seen |= values_of(truth)
                count(image_id, truth)
    distributed.sum_counts(seen)
    check_shown(seen, true_masks(data, list_name), of=data)


def _new(
    data: DataRoot, list_name: str, ids: Sequence[str], threshold: float | None = None
) -> Evaluation:
    return Evaluation(
        list_name,
        ("background", *data.classes.names),
        len(ids),
        ConfusionMatrix(data.num_classes + 1),
        threshold,
    )


def _checked_mask(
    values: np.ndarray, truth: np.ndarray, path: Path, num_classes: int
) -> np.ndarray:
    if values.shape != truth.shape:
        raise InputError(
            f"{path} is {values.shape[1]}×{values.shape[0]} pixels, the true mask {truth.shape[1]}×"
            f"{truth.shape[0]}: make it again from the same photographs"
        )
    named = values[values != IGNORE]
    if named.max(initial=0) > num_classes:
        raise InputError(
            f"mask {path} has the value {named.max()}, the task has the classes 1..{num_classes}: "
            "evaluate with the class list (--classes, --class_names) that made it"
        )
    return values


def evaluate_masks(data: DataRoot, *, list_name: str, pred_dir: Path) -> Evaluation:
    """Evaluate the pseudo masks or predictions `pred_dir/<id>`, whose values are 0..C.

    Pixels that a mask marks 255 (uncertain) are left out and counted. Raises :class:`InputError`
    where the true masks show no class, or where nothing of a class is left to count.
    """
    ids = data.ids(list_name)
    paths = distributed.find_all(
        lambda: find_images([pred_dir], ids, suffixes=MASK_SUFFIXES), len(ids)
    )
    _require(data, list_name, pred_dir, [pred_dir / f"{i}.png" for i in ids if i not in paths])
    check_classes(pred_dir, data)
    if paths[ids[0]].samefile(data.mask_path(ids[0])):
        log.warning(
            "warning: %s has the true masks themselves: they are compared with themselves", pred_dir
        )
    strata = SizeStrata(data.num_classes + 1)
    result, uncertain = replace(_new(data, list_name, ids), strata=strata), 0
    predicted = np.zeros(256, dtype=bool)

    def count(image_id: str, truth: np.ndarray) -> None:
        nonlocal uncertain, predicted
        pred = _checked_mask(read_mask(paths[image_id]), truth, paths[image_id], data.num_classes)
        predicted |= values_of(pred[truth != IGNORE])
        marked = (pred == IGNORE) & (truth != IGNORE)
        uncertain += int(marked.sum())
        truth = np.where(marked, np.uint8(IGNORE), truth)
        result.matrix.update(pred, truth)
        strata.update(pred, truth)

    _accumulate(data, list_name, ids, count)
    parts = np.array([uncertain, result.matrix.ignored])
    distributed.sum_counts(result.matrix.counts, strata.counts, strata.objects, predicted, parts)
    uncertain, result.matrix.ignored = parts.tolist()
    if predicted[0] and predicted[IGNORE]:  # masks of background alone are a result, a bad one
        check_shown(predicted, f"the masks in {pred_dir}, where 255 is uncertain and left out,")
    if not result.matrix.counts[1:].any():
        raise InputError(
            f"the masks in {pred_dir} mark every pixel of a class as uncertain (255, left out): "
            f"nothing of list {list_name} is left to count; make them with fewer uncertain pixels"
        )
    result.matrix.ignored -= uncertain
    return replace(result, uncertain=uncertain)


class _Sweep:
    """Pixels by the number of thresholds that they pass, true class and strongest class."""

    def __init__(self, thresholds: Sequence[float], classes: int) -> None:
        self.levels = np.sort(np.asarray(thresholds, dtype=np.float32))
        self.classes, self.ignored = classes, 0
        self.passed = np.zeros((len(self.levels) + 1, classes, classes), dtype=np.int64)

    def update(self, cams: ClassMaps, winner: np.ndarray, truth: np.ndarray) -> None:
        """Add an image: its maps, their strongest class (H, W), its true mask (H, W)."""
        best = np.max(list(cams.values()), axis=0) if cams else np.zeros(truth.shape, np.float32)
        kept = truth != IGNORE
        self.ignored += int(kept.size - kept.sum())
        index = np.searchsorted(self.levels, best[kept], side="left")
        index = (index * self.classes + truth[kept]) * self.classes + winner[kept]
        counts = np.bincount(index, minlength=self.passed.size)
        self.passed += counts.reshape(self.passed.shape)

    def fill(self, matrix: ConfusionMatrix, threshold: float) -> None:
        """Write what the maps give at one of the thresholds into a new confusion matrix."""
        first = int(np.searchsorted(self.levels, np.float32(threshold))) + 1
        front = self.passed[first:].sum(axis=0)
        matrix.counts[:] = front
        matrix.counts[:, 0] += (self.passed.sum(axis=0) - front).sum(axis=1)
        matrix.ignored = self.ignored


def evaluate_cams(
    data: DataRoot, *, list_name: str, cam_dir: Path, thresholds: Sequence[float]
) -> list[Evaluation]:
    """Evaluate fused maps at one or more background thresholds, reading each map once."""
    ids = data.ids(list_name)
    paths = distributed.find_all(lambda: fused_paths(cam_dir, ids), len(ids))
    _require(data, list_name, cam_dir, [cam_dir / f"{i}.npz" for i in ids if i not in paths])
    check_classes(cam_dir, data)
    sweep = _Sweep(thresholds, data.num_classes + 1)

    def count(image_id: str, truth: np.ndarray) -> None:
        path, size = paths[image_id], (truth.shape[1], truth.shape[0])
        cams = read_fused(path, num_classes=data.num_classes, size=size, against="the true mask")
        winner = cams_to_mask(cams, threshold=0.0, shape=truth.shape)
        sweep.update(cams, _checked_mask(winner, truth, path, data.num_classes), truth)

    _accumulate(data, list_name, ids, count)
    ignored = np.array([sweep.ignored])
    distributed.sum_counts(sweep.passed, ignored)
    sweep.ignored = int(ignored[0])
    results = [_new(data, list_name, ids, threshold) for threshold in thresholds]
    for result, threshold in zip(results, thresholds, strict=True):
        sweep.fill(result.matrix, threshold)
    return results


def _require(data: DataRoot, list_name: str, folder: Path, missing: Sequence[Path]) -> None:
    """Raise :class:`MissingInputError` where predictions or true masks of the list are missing.

    `missing` are the predictions that do not exist; the true masks are looked up here.
    """
    if missing:
        raise MissingInputError(
            f"prediction {missing[0]} (and {len(missing) - 1} more of list {list_name}) "
            f"does not exist: make them first, or name another folder than {folder}"
        )
    absent = data.missing("mask", data.ids(list_name))
    if absent:
        raise MissingInputError(
            f"mask {data.mask_path(absent[0])} does not exist: evaluation needs true masks; take "
            "its id off the list"
        )


def write_evaluation(path: Path, evaluation: Evaluation, **extra: Any) -> None:
    """Write the JSON; NaN never gets into it."""
    value = {**evaluation.to_json(), **extra}
    write_json(path, json.loads(json.dumps(value), parse_constant=lambda _: None))


def write_sweep(path: Path, sweep: Sequence[Evaluation]) -> Evaluation:
    """Write the sweep as JSON and as a plot, and return the evaluation with the highest mIoU.

    The plot lies beside the JSON file, with the suffix .png.
    """
    mious = [evaluation.matrix.compute()["miou"] for evaluation in sweep]
    best = sweep[int(np.nanargmax(mious))]
    rows = [{"threshold": e.threshold, "miou": m} for e, m in zip(sweep, mious, strict=True)]
    write_evaluation(path, best, sweep=rows, note=SWEEP_NOTE)
    plot_sweep(
        path.with_suffix(".png"),
        [float(e.threshold or 0.0) for e in sweep],
        mious,
        list_name=best.list_name,
        best=float(best.threshold or 0.0),
    )
    return best
