"""Stage 1: CAMs of one photograph at several scales and flips, fused into one map a class."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from smaf.core.tensors import normalise

SCALES = (0.5, 1.0, 1.5, 2.0)
MAX_VIEW_PIXELS = 2_000_000  # VOC's and COCO's largest views have 1.0 and 1.6 million


def working_size(size: tuple[int, int], scales: Sequence[float], *, long_side: int | None = None,
                 max_pixels: int = MAX_VIEW_PIXELS) -> tuple[int, int]:
    """The (width, height) that scale 1 has: the photograph's own, or `long_side` at its longer side.

    Where the largest view would have more than `max_pixels`, all are made smaller by one factor, with a warning.
    """
    w, h = size
    factor = 1.0 if long_side is None else long_side / max(w, h)
    largest = w * h * (factor * max(scales)) ** 2
    if largest > max_pixels:
        factor *= math.sqrt(max_pixels / largest)
        warnings.warn(f"a photograph of {w}×{h} pixels is worked on at {max(1, round(w * factor))}×"
                      f"{max(1, round(h * factor))} so that no view exceeds {max_pixels} pixels (size cap)",
                      RuntimeWarning, stacklevel=3)
    return max(1, round(w * factor)), max(1, round(h * factor))


def resize_view(image: Image.Image, size: tuple[int, int], scale: float) -> Image.Image:
    """Bicubic resize of the PIL image to (round(w·scale), round(h·scale)), at least one pixel."""
    target = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    return image if image.size == target else image.resize(target, Image.Resampling.BICUBIC)


def class_maps(cam: Tensor, num_classes: int) -> Tensor:
    """CAM logits (N, C+1, h, w) → softmax's foreground channels; (N, C, h, w) of a plain-CAM network → its ReLU."""
    if cam.shape[1] == num_classes:
        return F.relu(cam)
    return cam.softmax(dim=1)[:, :-1]


@torch.inference_mode()
def fuse_cams(model: nn.Module, image: Image.Image, labels: np.ndarray | Tensor, *,
              scales: Sequence[float] = SCALES, flip: bool = True, long_side: int | None = None,
              max_pixels: int = MAX_VIEW_PIXELS) -> dict[int, np.ndarray]:
    """Fuse the CAMs of several views of one photograph (SMAF, stage 1).

    For each scale the image is resized (bicubic) and normalised with the model's `mean` and `std`; the CAM's softmax
    is brought to the image's size (bilinear), flipped back, and kept for the labelled classes. The views are
    summed, each class divided by (its maximum + 1e-5). A plain-CAM network (head `"cls"`) gives ReLU for softmax.

    Args:
        model: a classifier of :func:`smaf.models.build_classifier`; its device is used, its mode left as it was.
        image: PIL image, W×H; other modes are converted to RGB.
        labels: (C,), 1 where the image shows the class.
        scales: factors of the image's size.
        flip: also use each view's mirror image.
        long_side: length of the longer side at scale 1; None is the photograph's own. Departs from the paper.
        max_pixels: cap on a view's pixels, which bounds memory; a warning says where it acts.

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
    total = _sum_views(model, image, classes, num_classes, scales=scales, flip=flip, long_side=long_side,
                       max_pixels=max_pixels)
    return normalise_maps(total, classes)


def normalise_maps(total: Tensor, classes: Sequence[int] | np.ndarray) -> dict[int, np.ndarray]:
    """(n, H, W) summed maps of `classes`, each divided by (its maximum + 1e-5) → `{class index: (H, W)}`."""
    total = total / (total.amax(dim=(1, 2), keepdim=True) + 1e-5)
    return {int(c): plane for c, plane in zip(classes, total.cpu().numpy(), strict=True)}


@torch.inference_mode()
def mean_maps(model: nn.Module, image: Image.Image, *, scales: Sequence[float] = SCALES, flip: bool = True,
              long_side: int | None = None, max_pixels: int = MAX_VIEW_PIXELS) -> Tensor:
    """All class maps of a photograph, (C, H, W): the mean of :func:`fuse_cams`' views, in 0..1, not normalised."""
    image = image if image.mode == "RGB" else image.convert("RGB")
    num_classes = int(model.num_classes)  # type: ignore[arg-type]
    classes = np.arange(num_classes)
    total = _sum_views(model, image, classes, num_classes, scales=scales, flip=flip, long_side=long_side,
                       max_pixels=max_pixels)
    return total / (len(scales) * (2 if flip else 1))


def peak_scores(maps: Tensor) -> Tensor:
    """Score of each class in 0..1: the mean of the strongest hundredth of its map (n, H, W) → (n,)."""
    flat = maps.flatten(1)
    return flat.topk(max(1, flat.shape[1] // 100), dim=1).values.mean(dim=1)


def _sum_views(model: nn.Module, image: Image.Image, classes: np.ndarray, num_classes: int, *, scales: Sequence[float],
               flip: bool, long_side: int | None, max_pixels: int) -> Tensor:
    """The views' softmax maps of `classes`, brought to the image's size, flipped back and summed: (n, H, W)."""
    size = working_size(image.size, scales, long_side=long_side, max_pixels=max_pixels)
    parameter = next(model.parameters())
    channels_last = parameter.device.type == "cpu"
    training = model.training
    model.eval()
    try:
        total = torch.zeros(len(classes), size[1], size[0], device=parameter.device)
        for scale in scales:
            view = normalise(resize_view(image, size, scale), *_statistics(model))[None].to(parameter.device)
            views = torch.cat([view, view.flip(3)]) if flip else view
            if channels_last:
                views = views.contiguous(memory_format=torch.channels_last)
            maps = class_maps(model.forward_cam(views).float(), num_classes)[:, classes]  # type: ignore[operator]
            maps = F.interpolate(maps, size=total.shape[1:], mode="bilinear", align_corners=False)
            total += maps[0] + maps[1].flip(2) if flip else maps[0]
    finally:
        model.train(training)
    if size != image.size:  # the size cap or long_side acted
        total = F.interpolate(total[None], size=image.size[::-1], mode="bilinear", align_corners=False)[0]
    return total


def _statistics(model: nn.Module) -> tuple[Sequence[float], Sequence[float]]:
    mean, std = getattr(model, "mean", None), getattr(model, "std", None)
    if mean is None or std is None:
        raise TypeError(f"{type(model).__name__} does not carry mean and std: build it with build_classifier")
    return mean, std


def cams_to_mask(cams: dict[int, np.ndarray], *, threshold: float = 0.2,
                 size: tuple[int, int] | None = None) -> np.ndarray:
    """argmax over [threshold, class maps]: (H, W) uint8, 0 background, class index + 1.

    `size` (H, W) is needed where `cams` is empty. A tie goes to the background, then to the lower class.
    """
    shape = next(iter(cams.values())).shape if cams else size
    if shape is None:
        raise ValueError("no class maps: give the mask's size")
    best = np.full(shape, threshold, dtype=np.float32)
    mask = np.zeros(best.shape, dtype=np.uint8)
    for c in sorted(cams):
        wins = cams[c] > best
        mask[wins] = c + 1
        best = np.where(wins, cams[c], best)
    return mask
