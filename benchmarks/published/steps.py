"""The losses of stages 0, 2 and 4 as published, and a step of their training.

Stage 2's teacher, whose forward pass the release runs each step and does not use, is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from smaf.engine.training.optim import OptimSettings

Batch = dict[str, Tensor]


def eps_loss(model: Any, batch: Batch) -> Tensor:
    """Stage 0: EPS's two losses, tau 0.4 and lam 0.5, over maps that booleans choose from."""
    output, labels = model(batch["image"]), batch["labels"]
    cam, classes = output.cam, labels.shape[1]
    saliency = F.interpolate(batch["saliency"], size=cam.shape[2:])
    n, _, h, w = cam.shape
    probability = F.softmax(cam, dim=1)
    hard = torch.round(probability[:, :-1].detach())
    overlap = (hard * torch.round(saliency)).view(n, classes, -1).sum(-1)
    overlap = overlap / (hard.view(n, classes, -1).sum(-1) + 1e-4)
    shown = labels.view(n, classes, 1, 1).expand(n, classes, h, w).bool()
    salient = (overlap > 0.4).view(n, classes, 1, 1).expand(n, classes, h, w)
    front_map = torch.zeros_like(probability, dtype=torch.bool)
    back_map = torch.zeros_like(front_map)
    front_map[:, :-1] = shown & salient
    back_map[:, :-1] = shown & ~salient
    back_map[:, -1] = True
    front, back = torch.zeros_like(probability), torch.zeros_like(probability)
    front[front_map] = probability[front_map]
    back[back_map] = probability[back_map]
    estimate = 0.5 * front.sum(1, keepdim=True) + 0.5 * (1 - back.sum(1, keepdim=True))
    classification = F.multilabel_soft_margin_loss(output.scores[:, :-1], labels)
    return classification + F.mse_loss(estimate, saliency)


def self_training_loss(model: Any, batch: Batch) -> Tensor:
    """Stage 2: squared error of the softmax against the denoised, reactivated maps."""
    fused = batch["fused"] * batch["labels"][:, :, None, None]
    background = torch.full_like(fused[:, :1], 0.2)
    target = torch.cat([fused, background], dim=1)
    target = target / target.max(dim=1, keepdim=True)[0]
    cam = F.interpolate(
        model(batch["image"]).cam, size=target.shape[2:], mode="bilinear", align_corners=True
    )
    return 100.0 * F.mse_loss(F.softmax(cam, dim=1), target)


def segmentation_loss(model: Any, batch: Batch) -> Tensor:
    """Stage 4: cross-entropy of each of the logits, masks resized by Pillow."""
    total = torch.zeros(())
    for logits in model(batch["image"]):
        size = (logits.shape[3], logits.shape[2])
        masks = [
            np.array(Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
            for mask in batch["mask"].numpy()
        ]
        target = torch.from_numpy(np.stack(masks)).long()
        total = total + F.cross_entropy(logits, target, ignore_index=255)
    return total


def step(
    model: nn.Module,
    loss_of: Callable[[Any, Batch], Tensor],
    groups: list[dict[str, Any]],
    settings: OptimSettings,
) -> Callable[[Batch], float]:
    """A step of SGD with the four groups of parameters, as a function of the batch."""
    optimiser = torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    model.train()

    def run(batch: Batch) -> float:
        optimiser.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        optimiser.step()
        return loss.item()

    return run
