"""The optimiser of stages 0 and 2: four groups, and the poly schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from smaf.core.errors import InputError

OPTIMISERS = ("sgd", "adamw")
# Rate and decay factors; the published recipe's
_GROUPS = {
    "weights": (1.0, 1.0),
    "biases": (2.0, 0.0),
    "head weights": (10.0, 1.0),
    "head biases": (20.0, 0.0),
}


@dataclass(frozen=True)
class OptimSettings:
    """`momentum` 5e-4 is the release's real momentum: its optimiser passes the weight decay in that
    place, and what it calls momentum (0.9) is the poly power. `head_factor` is 10 in the release.
    The rate is set every `rate_every` steps."""

    optimiser: str = "sgd"
    lr: float = 0.01
    momentum: float = 5e-4
    weight_decay: float = 5e-4
    power: float = 0.9
    head_factor: float = 10.0
    rate_every: int = 1


def parameter_groups(
    model: nn.Module, settings: OptimSettings, *, head: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Sort trainable parameters into weights, biases, and those of the new layers `head`.

    Vectors (biases, and BatchNorm's weights where it is free) have twice the rate and no decay.
    """
    members: dict[str, list[nn.Parameter]] = {name: [] for name in _GROUPS}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = "weights" if parameter.ndim > 1 else "biases"
            new = any(f"{name}.".startswith(f"{module}.") for module in head)
            members[f"head {kind}" if new else kind].append(parameter)
    scale = settings.head_factor / 10.0
    groups = []
    for name, (rate, decay) in _GROUPS.items():
        rate = rate * scale if name.startswith("head") else rate
        groups.append(
            {
                "name": name,
                "params": members[name],
                "lr": settings.lr * rate,
                "weight_decay": settings.weight_decay * decay,
                "first_lr": settings.lr * rate,
            }
        )
    return groups


def make_optimiser(groups: list[dict[str, Any]], settings: OptimSettings) -> Optimizer:
    """SGD, or AdamW, over the groups."""
    groups = [group for group in groups if group["params"]]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr)
    raise InputError(f"--optimiser {settings.optimiser}: expected one of {', '.join(OPTIMISERS)}")


def set_poly_rate(optimiser: Optimizer, step: int, steps: int, *, power: float = 0.9) -> None:
    """Set each group's rate to first_lr·(1 - step/steps)^power; past the end it stays as it was."""
    if step < steps:
        for group in optimiser.param_groups:
            group["lr"] = group["first_lr"] * (1.0 - step / steps) ** power
