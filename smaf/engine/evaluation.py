"""Evaluation of masks or fused maps against the truth: one confusion matrix over the list."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import write_json
from smaf.core.fused_maps import fused_paths
from smaf.core.images import MASK_SUFFIXES, find_images
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.engine.counting import (
    MANY_MAPS,
    MANY_MASKS,
    Counts,
    Predicted,
    count_maps,
    count_masks,
    seen_values,
    sum_counts,
)
from smaf.engine.fused import check_classes
from smaf.engine.truth import check_shown, true_masks
from smaf.ops import ConfusionMatrix, SizeStrata
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


def _counted(
    count: Callable[[Sequence[Predicted]], Counts],
    predicted: Sequence[Predicted],
    *,
    num_workers: int,
    many: int,
    quiet: bool,
) -> Counts:
    """What `count` gives of a list: each process of a launcher counts its share."""
    share, quiet = distributed.share(predicted), quiet or distributed.rank() > 0
    counts = sum_counts(count, share, num_workers=num_workers, many=many, quiet=quiet)
    distributed.sum_counts(*counts.fields().values())
    return counts


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


def evaluate_masks(
    data: DataRoot, *, list_name: str, pred_dir: Path, num_workers: int = 0, quiet: bool = False
) -> Evaluation:
    """Evaluate the pseudo masks or predictions `pred_dir/<id>`, whose values are 0..C.

    Pixels that a mask marks 255 (uncertain) are left out and counted. `num_workers` processes share
    a list of more than 10,000; `quiet` shows no progress. Raises :class:`InputError` where
    the true masks show no class, or where nothing of a class is left to count.
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
    masks = [(image_id, paths[image_id]) for image_id in ids]
    count = partial(count_masks, data)
    counts = _counted(count, masks, num_workers=num_workers, many=MANY_MASKS, quiet=quiet)
    check_shown(seen_values(counts.true), true_masks(data, list_name), of=data)
    predicted = seen_values(counts.predicted)
    if predicted[0] and predicted[IGNORE]:  # masks of background alone are a result, a bad one
        check_shown(predicted, f"the masks in {pred_dir}, where 255 is uncertain and left out,")
    if not counts.pairs[1:-1, :-1].any():
        raise InputError(
            f"the masks in {pred_dir} mark every pixel of a class as uncertain (255, left out): "
            f"nothing of list {list_name} is left to count; make them with fewer uncertain pixels"
        )
    result = _new(data, list_name, ids)
    result.matrix.add(counts.pairs[:-1, :-1], ignored=int(counts.true[-1]))
    strata = SizeStrata(data.num_classes + 1)
    strata.counts += counts.sizes
    strata.objects += counts.objects
    return replace(result, strata=strata, uncertain=int(counts.predicted[-1]))


def evaluate_cams(
    data: DataRoot,
    *,
    list_name: str,
    cam_dir: Path,
    thresholds: Sequence[float],
    num_workers: int = 0,
    quiet: bool = False,
) -> list[Evaluation]:
    """Evaluate fused maps at one or more background thresholds, reading each map once.

    `num_workers` processes share a list of more than 1,000; `quiet` shows no progress.
    """
    ids = data.ids(list_name)
    paths = distributed.find_all(lambda: fused_paths(cam_dir, ids), len(ids))
    _require(data, list_name, cam_dir, [cam_dir / f"{i}.npz" for i in ids if i not in paths])
    check_classes(cam_dir, data)
    maps = [(image_id, paths[image_id]) for image_id in ids]
    levels = np.sort(np.asarray(thresholds, dtype=np.float32))
    count = partial(count_maps, data, levels=levels)
    counts = _counted(count, maps, num_workers=num_workers, many=MANY_MAPS, quiet=quiet)
    check_shown(seen_values(counts.true), true_masks(data, list_name), of=data)
    results = [_new(data, list_name, ids, threshold) for threshold in thresholds]
    for result, threshold in zip(results, thresholds, strict=True):
        level = int(np.searchsorted(levels, np.float32(threshold)))
        result.matrix.add(counts.at(level), ignored=int(counts.true[-1]))
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
