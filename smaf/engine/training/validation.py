"""Validation while training: masks of one view of each photograph against true masks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from smaf.core.class_maps import BACKGROUND
from smaf.core.options import POSITIVE, Options, Role, option
from smaf.core.views import ONE_VIEW, Views
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.engine.truth import require_shown
from smaf.models import Classifier, Segmenter
from smaf.ops import ConfusionMatrix, cams_to_mask, normalise_maps, refined_mask, torch_mean_maps

log = logging.getLogger("smaf")


@dataclass(frozen=True)
class Validation(Options):
    """Which list is validated on while training, and how."""

    GROUP: ClassVar[str] = "validation"

    val_list: str | None = option(
        None, "list to validate on, where its masks exist; training never reads them", role=Role.RUN
    )
    val_long_side: int | None = option(
        None,
        "longer side of validation's photographs; default: their own",
        kind=int,
        within=POSITIVE,
        role=Role.RUN,
    )
    val_every: int = option(1000, "steps between validations", within=POSITIVE, role=Role.RUN)


def validation_miou(
    model: Classifier | Segmenter,
    data: DataRoot,
    ids: Sequence[str],
    *,
    background: float | None,
    views: Views = ONE_VIEW,
) -> float:
    """mIoU in 0..1 of the masks that a classifier or segmentation network makes of a list.

    Of a classifier, as in the release: argmax over [background, softmax CAM × image-level label];
    maps of a plain-CAM network (head `"cls"`) are scaled to a maximum of 1 first. Of a segmentation
    network: argmax over all classes and background, without image-level labels. Both go through
    :func:`smaf.ops.torch_mean_maps`: softmax first, then the resizing, as `smaf test_seg` has it.

    Each of many processes works on its share of the list.

    Args:
        background: threshold of a classifier's maps in 0..1; None for a segmentation network, which
            decides by itself.
        views: one view by default, as in the release.

    Raises :class:`ValueError` where `background` does not fit the kind of network.
    """
    if (background is None) != isinstance(model, Segmenter):
        raise ValueError(
            f"background {background}: expected a threshold for a classifier, None for a "
            "segmentation network"
        )
    ids = distributed.share(ids)
    labels = [None] * len(ids) if background is None else list(data.labels_of(ids))
    matrix = ConfusionMatrix(data.num_classes + 1)
    for image_id, label in zip(ids, labels, strict=True):
        photo = data.photo(image_id)
        mask = _mask(model, photo, label, background=background, views=views)
        matrix.update(mask, data.mask(image_id, size=photo.size))
    counts = distributed.sum_over_processes(torch.from_numpy(matrix.counts))
    matrix.counts[:] = counts.numpy()
    return float(matrix.compute()["miou"])


def _mask(
    model: Classifier | Segmenter,
    photo: Image.Image,
    label: np.ndarray | None,
    *,
    background: float | None,
    views: Views,
) -> np.ndarray:
    """(H, W) uint8: 0 background, class index + 1."""
    classes = None if label is None else np.flatnonzero(label).tolist()
    maps = torch_mean_maps(model, photo, classes=classes, views=views).cpu().numpy()
    named = dict(enumerate(maps) if classes is None else zip(classes, maps, strict=True))
    shape = (photo.height, photo.width)
    if background is None:
        return refined_mask(named, shape)
    if getattr(model, "head", None) == "cls":  # plain CAM has no probabilities
        named = normalise_maps(maps, list(named))
    return cams_to_mask(named, threshold=background, shape=shape)


def validator(
    model: Classifier | Segmenter,
    data: DataRoot,
    plan: Validation,
    *,
    background: float | None = BACKGROUND,
) -> Callable[[], float] | None:
    """A function that validates `model` as the plan says.

    `background` is that of :func:`validation_miou`. None where the plan names no list and, with a
    warning, where the list has no true masks. Raises :class:`InputError` where the list cannot be
    validated on.
    """
    if not plan.val_list:
        return None
    ids = data.ids(plan.val_list)
    data.require(ids, labels=background is not None)
    missing = data.missing("mask", ids)
    if missing:
        log.warning("no validation: %s has no mask for %s", data.root, missing[0])
        return None
    require_shown(data, ids, plan.val_list)
    views = replace(ONE_VIEW, long_side=plan.val_long_side)
    return lambda: validation_miou(model, data, ids, background=background, views=views)
