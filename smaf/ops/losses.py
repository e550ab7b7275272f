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
    r"""Multi-label soft margin of the first C scores (N, ≥C) against labels (N, C) of 0 and 1.

    .. math:: L = -\frac{1}{NC} \sum_{n,c} y_{nc} \log \sigma(s_{nc})
        + (1 - y_{nc}) \log(1 - \sigma(s_{nc}))

    with the scores s, the labels y and the logistic function σ.

    Example:
        >>> loss = classification_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        >>> round(float(loss), 4)  # log 2
        0.6931
    """
    return F.multilabel_soft_margin_loss(scores[:, : labels.shape[1]], labels)


def saliency_estimate(
    cam: Tensor, saliency: Tensor, labels: Tensor, *, tau: float = 0.4
) -> tuple[Tensor, Tensor]:
    """Return EPS's two estimates of the salient region from the CAM.

    They are the sum of the foreground channels, and 1 - the sum of the background channels. A
    labelled class is foreground where its rounded softmax map lies on salient pixels for more than
    `tau` of its area, else background. Both outputs are (N, 1, h, w); `saliency` (N, 1, h, w) has
    the CAM's size.
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


def _one_channel(saliency: Tensor, n: int) -> Tensor:
    """Saliency maps (N, H, W) or (N, 1, H, W) → (N, 1, H, W)."""
    if saliency.ndim == 3:
        saliency = saliency[:, None]
    if saliency.ndim != 4 or saliency.shape[:2] != (n, 1):
        raise ValueError(
            f"expected saliency (N, 1, H, W) with N = {n}, got {tuple(saliency.shape)}"
        )
    return saliency


def eps_loss(
    cam: Tensor,
    saliency: Tensor,
    labels: Tensor,
    *,
    tau: float = 0.4,
    lam: float = 0.5,
    resize: str = "nearest",
) -> Tensor:
    r"""EPS's saliency loss: how well labelled classes explain the saliency map.

    Lee et al., CVPR 2021, eq. 3-5:

    .. math:: L = \frac{1}{N h w} \sum (\lambda \hat M_f + (1 - \lambda)(1 - \hat M_b) - M)^2

    with the saliency map M, the sum of the foreground channels M_f, the sum of the background
    channels M_b (both of :func:`saliency_estimate`) and the share λ.

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

    Example:
        >>> cam = torch.full((1, 2, 2, 2), -50.0)
        >>> cam[0, 0, 0], cam[0, 1, 1] = 50.0, 50.0  # the class above, background below
        >>> saliency = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
        >>> round(float(eps_loss(cam, saliency, torch.ones(1, 1))), 4)
        0.0
        >>> round(float(eps_loss(cam, 1 - saliency, torch.zeros(1, 1))), 4)  # (0 + 1/4 + …) below
        0.625
    """
    _check_cam(cam, labels, 1)
    saliency = _one_channel(saliency, len(cam))
    cam = cam.float()  # under autocast: the squares of small differences
    saliency = F.interpolate(saliency.to(cam), size=cam.shape[2:], mode=resize)
    front, back = saliency_estimate(cam, saliency, labels, tau=tau)
    return F.mse_loss(lam * front + (1.0 - lam) * back, saliency)


def self_training_loss(
    logits: Tensor, target: Tensor, *, weight: float = 100.0, align_corners: bool = True
) -> Tensor:
    r"""SMAF's self-training loss: the weighted squared error of the softmax against the target.

    .. math:: L = \frac{w}{N (C+1) H W} \sum (\mathrm{softmax}(z) - t)^2

    with the logits z, the target t and the weight w.

    Args:
        logits: (N, C+1, h, w), brought to the target's size (bilinear).
        target: (N, C+1, H, W) from :func:`smaf.ops.reactivation_target`.
        weight: 100 in the release.
        align_corners: True in the release: the corner cells' centres lie on the target's corners.

    Example:
        >>> target = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
        >>> float(self_training_loss(torch.zeros(1, 2, 1, 1), target))  # 100 · (1/4 + 1/4) / 2
        25.0
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
        stride: compare at 1 / `stride` of the mask's size instead, with the logits brought there
            (bilinear). Coarse logits learn more of edges so; departs from DeepLab-V2.

    Returns:
        Scalar: the sum over `logits` of the mean over pixels that are not ignored; 0 where all are.

    Example:
        >>> mask = torch.tensor([[[0, 1], [255, 255]]])
        >>> round(float(segmentation_loss([torch.zeros(1, 2, 2, 2)], mask)), 4)  # log 2
        0.6931
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
