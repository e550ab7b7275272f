"""The estimates of a run's masks: made without true masks; `quality.csv`, written and read."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from smaf.core.class_maps import BACKGROUND
from smaf.core.errors import InputError, MissingInputError
from smaf.core.fields import shown
from smaf.core.files import plain_name, write_text
from smaf.core.fused_maps import fused_path, read_fused
from smaf.core.images import read_mask
from smaf.core.names import name_key
from smaf.core.tables import read_table
from smaf.engine.reporting.runs import ReportedRun
from smaf.ops.quality import (
    estimated_quality,
    mask_agreement,
    photograph_iou,
    saliency_agreement,
    scale_agreement,
)
from smaf.ops.views import cams_to_mask

T = TypeVar("T")
_COLUMNS = ("image", "quality", "scales", "crf", "saliency", "networks")
_FIX = "make it again with `smaf report`"


@dataclass(frozen=True)
class Estimate:
    """What is known of a mask: the parts of its estimate, 0..1, and its IoU where truth exists.

    `faults` says, in words, which files are damaged or do not fit; what needs them is not known.
    """

    scales: float | None = None
    crf: float | None = None
    saliency: float | None = None
    networks: float | None = None
    iou: float | None = None
    faults: tuple[str, ...] = ()

    @property
    def quality(self) -> float | None:
        """See :func:`smaf.ops.quality.estimated_quality`."""
        return estimated_quality(
            {
                "scales": self.scales,
                "crf": self.crf,
                "saliency": self.saliency,
                "networks": self.networks,
            }
        )


class _Reader:
    """Reads files; of those that are damaged or do not fit it keeps what they are."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def __call__(self, what: str, read: Callable[[], T]) -> T | None:
        """What `read` gives; None where it raises :class:`InputError`."""
        try:
            return read()
        except InputError:
            self.faults.append(f"the {what} cannot be used")
            return None


def estimate(run: ReportedRun, image_id: str) -> Estimate:
    """Estimate a photograph's pseudo mask from the run's fused maps and masks.

    A photograph that shows no class has no estimate: its mask is background, as its labels say. A
    file that is damaged leaves its part out.
    """
    classes = np.flatnonzero(run.data.all_labels[image_id]).tolist()
    path, reader, data = run.at.masks / f"{image_id}.png", _Reader(), run.data
    if not path.is_file() or not classes:
        return Estimate()
    mask = reader("mask", lambda: read_mask(path))
    if mask is None:
        return Estimate(faults=tuple(reader.faults))
    size = (mask.shape[1], mask.shape[0])
    stored = fused_path(run.at.maps, image_id)
    scales = crf = saliency = iou = None
    if stored.is_file():
        cams = reader(
            "fused maps",
            lambda: read_fused(
                stored, num_classes=data.num_classes, size=size, against="its mask is"
            ),
        )
        if cams is not None:
            before = cams_to_mask(cams, threshold=run.threshold[0] or BACKGROUND, shape=mask.shape)
            scales = scale_agreement(cams, mask)
            crf = mask_agreement(before, mask, classes)
    if run.saliency and data.saliency_path(image_id).is_file():
        grey = reader("saliency map", lambda: data.saliency(image_id, size=size))
        if grey is not None:
            saliency = saliency_agreement(mask, np.asarray(grey, dtype=np.float32) / 255.0)
    networks = _of_two_networks(run, image_id, mask, reader) if run.at.by_network else None
    if _has_truth(run, image_id):
        truth = reader("true mask", lambda: data.mask(image_id, size=size))
        iou = None if truth is None else photograph_iou(mask, truth, classes)
    return Estimate(scales, crf, saliency, networks, iou, tuple(reader.faults))


def _of_two_networks(
    run: ReportedRun, image_id: str, mask: np.ndarray, reader: _Reader
) -> float | None:
    """The agreement of the network's mask and stage 3's, the classifier's."""
    path, classes = run.at.pseudo_masks / f"{image_id}.png", run.data.all_labels[image_id]
    if not path.is_file():
        return None
    other = reader("pseudo mask", lambda: read_mask(path, size=(mask.shape[1], mask.shape[0])))
    return None if other is None else mask_agreement(other, mask, np.flatnonzero(classes).tolist())


def _has_truth(run: ReportedRun, image_id: str) -> bool:
    try:
        return run.data.mask_path(image_id).is_file()
    except MissingInputError:  # the folder that `dataset.json` names is gone
        return False


def write_quality(path: Path, estimates: Mapping[str, Estimate]) -> None:
    """Write the CSV table of estimates, a row an image; an empty cell is not known.

    The columns are image, quality and its parts; values are in 0..1, higher is better.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for image_id, found in estimates.items():
        parts = (found.scales, found.crf, found.saliency, found.networks)
        values = (found.quality, *parts)
        writer.writerow([image_id, *("" if value is None else f"{value:.4f}" for value in values)])
    write_text(path, stream.getvalue())


def read_quality(path: Path) -> dict[str, float]:
    """Image id → quality, 0..1, higher is better, of such a table; empty cells are left out.

    Raises :class:`InputError` where the table does not have the columns image and quality, and for
    a quality that is no number from 0 to 1.
    """
    rows = read_table(path, "table of quality", _FIX)
    keys = [name_key(cell) for cell in rows[0].cells] if rows else []
    if not {"image", "quality"} <= set(keys):
        raise InputError(f"table of quality {path} must have the columns image and quality: {_FIX}")
    image, quality = keys.index("image"), keys.index("quality")
    found: dict[str, float] = {}
    for row in rows[1:]:
        cells = dict(enumerate(row.cells))  # empty ones at the end of a row are not there
        if cell := cells.get(quality):
            where = f"table of quality {path}, line {row.line}"
            found[plain_name(cells.get(image, ""))] = _fraction(cell, where)
    return found


def _fraction(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{where}: quality {shown(cell)}, expected a number from 0 to 1: {_FIX}")
    return value


def ranked(estimates: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """The quality and the IoU of those that have both."""
    both = [(e.quality, e.iou) for e in estimates if e.quality is not None and e.iou is not None]
    return [quality for quality, _ in both], [iou for _, iou in both]
