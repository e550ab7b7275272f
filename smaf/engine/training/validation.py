"""Validation while training: single-scale CAMs at full size against true masks, where they
exist."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from smaf.core.tensors import normalise
from smaf.data.layout import DataRoot
from smaf.engine.truth import require_shown
from smaf.models.classifier import Classifier
from smaf.ops import ConfusionMatrix, cams_to_mask, class_maps
from smaf.ops.views import resize_view, working_size

log = logging.getLogger("smaf")


@torch.inference_mode()
def validation_miou(
    model: Classifier,
    data: DataRoot,
    ids: Sequence[str],
    *,
    background: float = 0.2,
    long_side: int | None = None,
) -> float:
    """mIoU of argmax over [background, softmax CAM × image label] at one scale; the release's
    validation."""
    model.eval()
    device = next(model.parameters()).device
    matrix = ConfusionMatrix(data.num_classes + 1)
    for image_id, label in zip(ids, data.labels_of(ids), strict=True):
        photo = data.photo(image_id)
        view = resize_view(photo, working_size(photo.size, (1.0,), long_side=long_side), 1.0)
        cam = model.forward_cam(normalise(view, model.mean, model.std)[None].to(device)).float()
        maps = (
            F.interpolate(
                class_maps(cam, model.num_classes),
                size=(photo.height, photo.width),
                mode="bilinear",
                align_corners=False,
            )[0]
            .cpu()
            .numpy()
        )
        if cam.shape[1] == model.num_classes:  # plain CAM has no probabilities
            maps = maps / (maps.max(axis=(1, 2), keepdims=True) + 1e-5)
        kept = {c: maps[c] for c in range(model.num_classes) if label[c]}
        matrix.update(
            cams_to_mask(kept, threshold=background), data.mask(image_id, size=photo.size)
        )
    return float(matrix.compute()["miou"])


def validator(
    data: DataRoot, list_name: str | None, *, background: float = 0.2, long_side: int | None = None
) -> Callable[[Classifier], float] | None:
    """A function that validates a model on a list; None where there is no list, or its masks are
    not there."""
    if not list_name:
        return None
    ids = data.ids(list_name)
    data.require(ids)
    data.labels_of(ids)
    missing = data.missing("mask", ids)
    if missing:
        log.warning("no validation: %s has no mask for %s", data.root, missing[0])
        return None
    require_shown(data, ids, list_name)
    return lambda model: validation_miou(
        model, data, ids, background=background, long_side=long_side
    )
