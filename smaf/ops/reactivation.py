"""Stage 2's target: denoise the fused maps, then reactivate them (SMAF, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from smaf.core.class_maps import BACKGROUND


def _check_maps(fused: Tensor, labels: Tensor, background: float) -> None:
    if fused.ndim != 4 or labels.shape != fused.shape[:2]:
        raise ValueError(
            f"expected fused (N, C, H, W) and labels (N, C), got {tuple(fused.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if background <= 0:
        raise ValueError(f"background {background}: expected a constant above 0")


def _background_alone(channels: Tensor, labels: Tensor) -> Tensor:
    """Channels (N, C+1, H, W) where those of images without a label are 0, and the last one 1."""
    alone = torch.zeros_like(channels[:1, :, :1, :1])
    alone[:, -1] = 1.0
    return torch.where((labels > 0).any(dim=1)[:, None, None, None], channels, alone)


def reactivation_target(
    fused: Tensor,
    labels: Tensor,
    *,
    background: float = BACKGROUND,
    denoise: bool = True,
    reactivate: bool = True,
    soft_background: bool = False,
) -> Tensor:
    r"""Denoise and reactivate fused maps.

    Denoise: multiply by the image label and append a constant background channel, which weaker
    responses lose to. Reactivate: divide by the maximum at the pixel; the winner becomes 1.

    .. math:: D = [y_1 M_1, \dots, y_C M_C, b], \quad T_c(p) = D_c(p) / \max_k D_k(p)

    with the fused maps M, the image labels y, the background constant b and the pixel p. An image
    without a label, which the paper does not have, is background alone, whatever the options.

    Args:
        fused: (N, C, H, W) fused CAMs in [0, 1].
        labels: (N, C), 1 where the image shows the class.
        background: the constant, 0.2 in the release.
        denoise: False (ablation): unlabelled classes stay, the background channel is 1e-5.
        reactivate: False leaves the values as they are; ablation.
        soft_background: the background channel is what the maps leave to 1, not the constant; for
            refined maps, which are probabilities. Departs from the paper.

    Returns:
        (N, C+1, H, W), the last channel background.

    Example:
        >>> fused = torch.tensor([[[[0.5, 0.125], [1.0, 0.0]]]])
        >>> reactivation_target(fused, torch.ones(1, 1), background=0.25).tolist()
        [[[[1.0, 0.5], [1.0, 0.0]], [[0.5, 1.0], [0.25, 1.0]]]]
    """
    _check_maps(fused, labels, background)
    if denoise:
        fused = fused * labels.to(fused)[:, :, None, None]
    constant = torch.full_like(fused[:, :1], background if denoise else 1e-5)
    if soft_background:
        constant = (1.0 - fused.sum(dim=1, keepdim=True)).clamp(min=1e-5)
    channels = _background_alone(torch.cat([fused, constant], dim=1), labels)
    return channels / channels.amax(dim=1, keepdim=True) if reactivate else channels
