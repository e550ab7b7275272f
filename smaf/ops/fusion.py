"""Stage 1: CAMs of one photograph at several scales and flips, fused into one map a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from smaf.core.tensors import normalise
from smaf.ops.views import LABEL_FILTERS, MAX_VIEW_PIXELS, SCALES, resize_view, working_size


def class_maps(
    cam: Tensor,
    num_classes: int,
    *,
    classes: Sequence[int] | None = None,
    label_filter: str = "maps",
) -> Tensor:
    """CAM logits (N, C+1, h, w) → softmax's foreground channels; (N, C, h, w) of a plain-CAM
    network → its ReLU.

    `classes` are those wanted, None all. With `label_filter="logits"` the softmax has these and the
    background alone; see :func:`fuse_cams`.
    """
    if label_filter not in LABEL_FILTERS:
        raise ValueError(
            f"label_filter {label_filter!r}: expected one of {', '.join(LABEL_FILTERS)}"
        )
    wanted = list(range(num_classes) if classes is None else classes)
    if cam.shape[1] == num_classes:
        return F.relu(cam[:, wanted])
    if label_filter == "logits":
        return cam[:, [*wanted, num_classes]].softmax(dim=1)[:, :-1]
    return cam.softmax(dim=1)[:, wanted]


@torch.inference_mode()
def fuse_cams(
    model: nn.Module,
    image: Image.Image,
    labels: np.ndarray | Tensor,
    *,
    scales: Sequence[float] = SCALES,
    flip: bool = True,
    long_side: int | None = None,
    max_pixels: int = MAX_VIEW_PIXELS,
    label_filter: str = "maps",
) -> dict[int, np.ndarray]:
    """Fuse the CAMs of several views of one photograph (SMAF, stage 1).

    For each scale the image is resized (bicubic) and normalised with the model's `mean` and `std`;
    the CAM's softmax is brought to the image's size (bilinear), flipped back, and kept for the
    labelled classes. The views are summed, each class divided by (its maximum + 1e-5). A plain-CAM
    network (head `"cls"`) gives ReLU for softmax.

    Args:
        model: a classifier of :func:`smaf.models.build_classifier`; its device is used, its mode
            left as it was.
        image: PIL image, W×H; other modes are converted to RGB.
        labels: (C,), 1 where the image shows the class.
        scales: factors of the image's size.
        flip: also use each view's mirror image.
        long_side: length of the longer side at scale 1; None is the photograph's own. Departs from
            the paper.
        max_pixels: cap on a view's pixels, which bounds memory; a warning says where it acts.
        label_filter: `"maps"`, as published: softmax over all channels, then the labelled ones are
            kept; `"logits"`: softmax over the labelled channels and background alone, so that a cow
            that looks like a horse is no background. Departs from the paper.

    Returns:
        `{class index: (H, W) float32 in [0, 1)}`, labelled classes only.
    """
    labels = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    num_classes = int(getattr(model, "num_classes", len(labels)))
    if labels.shape != (num_classes,):
        raise ValueError(f"expected labels ({num_classes},), got {labels.shape}")
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales {tuple(scales)}: expected at least one, all above 0")
    image = image if image.mode == "RGB" else image.convert("RGB")
    classes = np.flatnonzero(labels > 0)
    if not len(classes):
        return {}
    total = _sum_views(
        model,
        image,
        classes,
        num_classes,
        scales=scales,
        flip=flip,
        long_side=long_side,
        max_pixels=max_pixels,
        label_filter=label_filter,
    )
    total = total / (total.amax(dim=(1, 2), keepdim=True) + 1e-5)
    return {int(c): plane for c, plane in zip(classes, total.cpu().numpy(), strict=True)}


def _sum_views(
    model: nn.Module,
    image: Image.Image,
    classes: np.ndarray,
    num_classes: int,
    *,
    scales: Sequence[float],
    flip: bool,
    long_side: int | None,
    max_pixels: int,
    label_filter: str,
) -> Tensor:
    """The views' softmax maps of `classes`, brought to the image's size, flipped back and summed:
    (n, H, W)."""
    size = working_size(image.size, scales, long_side=long_side, max_pixels=max_pixels)
    parameter = next(model.parameters())
    channels_last = parameter.device.type == "cpu"
    training = model.training
    model.eval()
    try:
        total = torch.zeros(len(classes), size[1], size[0], device=parameter.device)
        for scale in scales:
            view = normalise(resize_view(image, size, scale), *_statistics(model))[None].to(
                parameter.device
            )
            views = torch.cat([view, view.flip(3)]) if flip else view
            if channels_last:
                views = views.contiguous(memory_format=torch.channels_last)
            cam = model.forward_cam(views).float()  # type: ignore[operator]
            maps = class_maps(cam, num_classes, classes=classes.tolist(), label_filter=label_filter)
            maps = F.interpolate(maps, size=total.shape[1:], mode="bilinear", align_corners=False)
            total += maps[0] + maps[1].flip(2) if flip else maps[0]
    finally:
        model.train(training)
    if size != image.size:  # the size cap or long_side acted
        total = F.interpolate(
            total[None], size=image.size[::-1], mode="bilinear", align_corners=False
        )[0]
    return total


def _statistics(model: nn.Module) -> tuple[Sequence[float], Sequence[float]]:
    mean, std = getattr(model, "mean", None), getattr(model, "std", None)
    if mean is None or std is None:
        raise TypeError(
            f"{type(model).__name__} does not carry mean and std: build it with build_classifier"
        )
    return mean, std
