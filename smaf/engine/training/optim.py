"""The optimiser of all trainings: groups of parameters, and the poly schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from smaf.core.errors import InputError
from smaf.core.options import FRACTION, NOT_NEGATIVE, POSITIVE, Options, option

OPTIMISERS = ("sgd", "adamw")
# Rate and decay factors; the published recipe's
_GROUPS = {
    "weights": (1.0, 1.0),
    "biases": (2.0, 0.0),
    "head weights": (10.0, 1.0),
    "head biases": (20.0, 0.0),
    "fresh weights": (10.0, 1.0),
    "fresh biases": (20.0, 0.0),
}


@dataclass(frozen=True)
class OptimSettings(Options):
    """The optimiser and its rates; the defaults are those of the published recipe."""

    GROUP: ClassVar[str] = "optimiser"

    optimiser: str = option("sgd", "optimiser", choices=OPTIMISERS)
    lr: float = option(
        0.01, "first rate of convolution weights; biases have twice as much", within=POSITIVE
    )
    momentum: float = option(
        5e-4,
        "SGD's momentum; the release of stages 0 and 2 passes its weight decay in this place, so "
        "5e-4 is faithful there (what it calls momentum, 0.9, is --power)",
        within=NOT_NEGATIVE,
    )
    weight_decay: float = option(5e-4, "decay of weights, not of biases", within=NOT_NEGATIVE)
    power: float = option(0.9, "rate = lr · (1 - step/steps)^power", within=POSITIVE)
    warmup: float = option(
        0.0,
        "share of the steps in which the rate rises to what --power makes of it, in equal parts; "
        "transformers need one (0.075)",
        within=FRACTION,
    )
    head_factor: float = option(
        10.0, "rate of new layers, times --lr; a decoder's is 10", within=POSITIVE
    )
    rate_every: int = option(1, "steps between changes of the rate", within=POSITIVE)


def parameter_groups(
    model: nn.Module, settings: OptimSettings, *, head: tuple[str, ...], fresh: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """Sort trainable parameters into weights, biases, and those of the new layers `head`.

    Vectors (biases, and BatchNorm's weights where it is free) have twice the rate and no decay. The
    layers `fresh`, which no weights are for, have ten times the rate whatever `head_factor` is.
    """
    members: dict[str, list[nn.Parameter]] = {name: [] for name in _GROUPS}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = "weights" if parameter.ndim > 1 else "biases"
            below = {"head ": head, "fresh ": fresh}
            place = (new for new, modules in below.items() if name.startswith(_dotted(modules)))
            members[f"{next(place, '')}{kind}"].append(parameter)
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


def _dotted(modules: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{module}." for module in modules)


def make_optimiser(groups: list[dict[str, Any]], settings: OptimSettings) -> Optimizer:
    """SGD, or AdamW, over the groups."""
    groups = [group for group in groups if group["params"]]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr)
    raise InputError(f"--optimiser {settings.optimiser}: expected one of {', '.join(OPTIMISERS)}")


def set_poly_rate(
    optimiser: Optimizer, step: int, steps: int, *, power: float = 0.9, warmup: float = 0.0
) -> None:
    """Set each group's rate to first_lr·(1 - step/steps)^power; past the end it stays as it was.

    In the first `warmup`·steps steps it is multiplied by (step + 1)/(warmup·steps).
    """
    if step < steps:
        rising = min(1.0, (step + 1) / (warmup * steps)) if warmup else 1.0
        for group in optimiser.param_groups:
            group["lr"] = group["first_lr"] * (1.0 - step / steps) ** power * rising
