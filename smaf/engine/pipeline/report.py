"""A run's page: its scores, and a row of pictures a photograph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from smaf.core.errors import InputError
from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask
from smaf.engine.pipeline import thresholds
from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import OwnStep, made
from smaf.report.page import Row, write_page
from smaf.report.pictures import overlay_cam, overlay_mask

NAME = "report.html"
_SIDE = 480  # of a picture: rows are made before the page is written


def step(run: Scope) -> OwnStep:
    """The step that writes the page."""
    title, page = "the report, with {} photographs", run.at.logdir / NAME
    return OwnStep("report", title, write, basis, (page,), count=len(run.lists.rows))


def basis(run: Scope) -> Any:
    """What the page shows."""
    folders = (run.at.student_maps, run.at.masks, run.at.network_masks)
    scores = run.notes.result("scores")
    return [[made(folder) for folder in folders], list(run.lists.rows), scores]


def write(run: Scope) -> dict[str, Any]:
    """Write `report.html`; see :func:`smaf.report.page.write_page`."""
    scores = run.notes.result("scores")
    write_page(
        run.at.logdir / NAME,
        title="SMAF: report of a run",
        intro=_intro(run, scores),
        ladder=list(scores.items()),
        rows=[picture_row(run, image_id) for image_id in run.lists.rows],
        classes=list(run.data.classes.names),
    )
    return {"rows": len(run.lists.rows)}


def _intro(run: Scope, scores: Mapping[str, Any]) -> list[str]:
    lists, cut = run.lists, thresholds.used(run)
    lines = [
        f"From image-level labels to masks: trained on {len(lists.train):,} photographs, masks of "
        f"{len(lists.photographs):,}, recipe {run.plan.recipe}"
        f"{', a quick first look' if run.plan.quick else ''}.",
        f"The masks' background threshold is {cut['threshold']:g}, from {cut['from']}. No network "
        "was trained on a true mask.",
    ]
    if scores:
        lines.append(
            f"Scores are of one confusion matrix over {len(lists.scored):,} photographs of list "
            f"{run.plan.val_list}, which no training has seen."
        )
    else:
        lines.append(
            "There are no scores: no photograph outside the training list has a true mask."
        )
    return lines


def picture_row(run: Scope, image_id: str) -> Row:
    """Photograph, saliency map, fused map, pseudo mask, the network's mask, truth.

    Pictures are small; what a photograph does not have, such as a true mask, is None.
    """
    data, at = run.data, run.at
    whole = data.photo(image_id)
    photo = whole.copy()
    photo.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    size = photo.size

    def masked(read: Callable[[], np.ndarray]) -> np.ndarray | None:
        mask = _or_none(read)
        if mask is None:
            return None
        small = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
        return overlay_mask(photo, np.asarray(small))

    cams = read_fused(at.student_maps / f"{image_id}.npz", num_classes=data.num_classes)
    small = {c: np.asarray(Image.fromarray(cam).resize(size)) for c, cam in cams.items()}
    pictures: Sequence[tuple[str, np.ndarray | None]] = [
        ("photograph", np.asarray(photo)),
        ("saliency map", _saliency(run, image_id, size)),
        ("fused map", overlay_cam(photo, small)),
        ("pseudo mask", masked(lambda: read_mask(at.masks / f"{image_id}.png"))),
        ("network's mask", masked(lambda: read_mask(at.network_masks / f"{image_id}.png"))),
        ("truth", masked(lambda: data.mask(image_id, size=whole.size))),
    ]
    label = data.all_labels[image_id]
    shown = tuple(name for name, on in zip(data.classes.names, label, strict=True) if on)
    return Row(image_id, shown, pictures)


def _saliency(run: Scope, image_id: str, size: tuple[int, int]) -> np.ndarray | None:
    if not run.plan.saliency or run.data.missing("saliency map", [image_id]):
        return None
    grey = run.data.saliency(image_id).resize(size)
    return np.asarray(grey.convert("RGB"))


def _or_none(read: Callable[[], np.ndarray]) -> np.ndarray | None:
    """What `read` gives; None where there is no such file, or none that serves."""
    try:
        return read()
    except (InputError, FileNotFoundError):
        return None
