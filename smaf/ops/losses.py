"""The losses of stages 0, 2 and 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from smaf.core.classes import IGNORE


def _check_cam(cam: Tensor, labels: Tensor, extra: int, name: str = "cam") -> None:
    if cam.ndim != 4 or labels.ndim != 2 or cam.shape[:2] != (len(labels), labels.shape[1] + extra):
        raise ValueError(
            f"expected {name} (N, C{'+1' if extra else ''}, H, W) and labels (N, C), got "
            f"{tuple(cam.shape)} and {tuple(labels.shape)}"
        )


def classification_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Multi-label soft margin of the first C scores (N, ≥C) against the image labels (N, C) of 0
    and 1."""
    return F.multilabel_soft_margin_loss(scores[:, : labels.shape[1]], labels)


def saliency_estimate(
    cam: Tensor, saliency: Tensor, labels: Tensor, *, tau: float = 0.4
) -> tuple[Tensor, Tensor]:
    """What EPS takes for the salient region: the sum of foreground channels, and 1 - the sum of
    background ones.

    A labelled class is foreground where its rounded softmax map lies on salient pixels for more
    than `tau` of its area, else background. Both outputs are (N, 1, h, w); `saliency` (N, 1, h, w)
    has the CAM's size.
    """
    probability = cam.softmax(dim=1)
    with torch.no_grad():
        hard = probability[:, :-1].round()
        overlap = (hard * saliency.round()).sum(dim=(2, 3)) / (hard.sum(dim=(2, 3)) + 1e-4)
        foreground = (overlap > tau) & (labels > 0)
        background = (overlap <= tau) & (labels > 0)
        always = torch.ones_like(background[:, :1])
        background = torch.cat([background, always], dim=1)
    front = (probability[:, :-1] * foreground[:, :, None, None]).sum(dim=1, keepdim=True)
    back = (probability * background[:, :, None, None]).sum(dim=1, keepdim=True)
    return front, 1.0 - back


def eps_loss(
    cam: Tensor,
    saliency: Tensor,
    labels: Tensor,
    *,
    tau: float = 0.4,
    lam: float = 0.5,
    resize: str = "nearest",
) -> Tensor:
    """EPS's saliency loss (Lee et al., CVPR 2021, eq. 3-5): how well labelled classes explain the
    saliency map.

    Args:
        cam: (N, C+1, h, w) logits, the last channel background.
        saliency: (N, 1, H, W) or (N, H, W) in [0, 1]; brought to the CAM's size.
        labels: (N, C), 1 where the image shows the class.
        tau: overlap above which a labelled class counts as salient (0.4 for VOC).
        lam: share of the foreground estimate against that of the background.
        resize: how: `"nearest"`, as published (the pixel at the cell's upper left), or `"area"`,
            the cell's mean.

    Returns:
        Scalar: mean squared error between the estimate and the saliency map.
    """
    _check_cam(cam, labels, 1)
    if saliency.ndim == 3:
        saliency = saliency[:, None]
    if saliency.ndim != 4 or saliency.shape[:2] != (len(cam), 1):
        raise ValueError(
            f"expected saliency (N, 1, H, W) with N = {len(cam)}, got {tuple(saliency.shape)}"
        )
    cam = cam.float()  # under autocast: the squares of small differences
    saliency = F.interpolate(saliency.to(cam), size=cam.shape[2:], mode=resize)
    front, back = saliency_estimate(cam, saliency, labels, tau=tau)
    return F.mse_loss(lam * front + (1.0 - lam) * back, saliency)


def self_training_loss(
    logits: Tensor, target: Tensor, *, weight: float = 100.0, align_corners: bool = True
) -> Tensor:
    """SMAF's self-training loss: `weight` times the mean squared error of the softmax against the
    target.

    Args:
        logits: (N, C+1, h, w), brought to the target's size (bilinear).
        target: (N, C+1, H, W) from :func:`smaf.ops.reactivation_target`.
        weight: 100 in the release.
        align_corners: True in the release: the corner cells' centres lie on the target's corners.
    """
    if logits.ndim != 4 or target.ndim != 4 or logits.shape[:2] != target.shape[:2]:
        raise ValueError(
            f"expected logits and target with the same N and C+1, got {tuple(logits.shape)} and "
            f"{tuple(target.shape)}"
        )
    logits = F.interpolate(
        logits.float(), size=target.shape[2:], mode="bilinear", align_corners=align_corners
    )
    return weight * F.mse_loss(logits.softmax(dim=1), target.to(logits))


def segmentation_loss(
    logits: Sequence[Tensor], mask: Tensor, *, stride: int | None = None
) -> Tensor:
    """Cross-entropy of each of the logits against the mask, summed (stage 4, DeepLab-V2).

    Args:
        logits: each (N, T, h, w), T with background.
        mask: (N, H, W) integers 0..T-1, or 255: ignored. Brought to the logits' size by the nearest
            pixel.
        stride: compare at a `stride`th of the mask's size instead, with the logits brought there
            (bilinear). Coarse logits learn more of edges so; departs from DeepLab-V2.

    Returns:
        Scalar: the sum over `logits` of the mean over pixels that are not ignored; 0 where all are.
    """
    total = torch.zeros((), device=mask.device)
    for part in logits:
        size = (
            part.shape[2:] if stride is None else tuple(max(1, n // stride) for n in mask.shape[1:])
        )
        target = F.interpolate(mask[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
        if part.shape[2:] != size:
            part = F.interpolate(part, size=size, mode="bilinear", align_corners=False)
        losses = F.cross_entropy(part.float(), target, ignore_index=IGNORE, reduction="sum")
        total = total + losses / (target != IGNORE).sum().clamp(min=1)
    return total
