"""The four groups and the schedule against the release's optimiser, step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from smaf.core.errors import InputError
from smaf.engine.training.optim import (
    OptimSettings,
    make_optimiser,
    parameter_groups,
    set_poly_rate,
)


class FourParameters(nn.Module):
    """One value in each group, all 0 at first: a body's and a head's weight and bias."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(1, 1)
        self.fc8 = nn.Linear(1, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


def values(model: FourParameters) -> list[float]:
    parts = (model.body.weight, model.body.bias, model.fc8.weight, model.fc8.bias)
    return [float(p.detach()) for p in parts]


def test_release_steps(golden: Callable[[str], Path]) -> None:
    stored = np.load(golden("poly_sgd.npz"))
    assert stored["lr"].shape == (22, 4)
    model, settings = FourParameters(), OptimSettings()
    optimiser = make_optimiser(parameter_groups(model, settings, head=("fc8",)), settings)
    for step in range(22):  # two more than the schedule has
        set_poly_rate(optimiser, step, 20)
        np.testing.assert_allclose(
            [g["lr"] for g in optimiser.param_groups], stored["lr"][step], rtol=1e-9
        )
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()
        np.testing.assert_allclose(values(model), stored["value"][step], rtol=1e-5, atol=1e-6)


def test_warm_up_by_hand() -> None:
    """A quarter of 8 steps: half the rate of the poly schedule, then all of it."""
    model, settings = FourParameters(), OptimSettings(lr=1.0)
    optimiser = make_optimiser(parameter_groups(model, settings, head=("fc8",)), settings)
    rates = []
    for step in range(8):
        set_poly_rate(optimiser, step, 8, power=1.0, warmup=0.25)
        rates.append(optimiser.param_groups[0]["lr"])
    np.testing.assert_allclose(rates, [0.5, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    set_poly_rate(optimiser, 0, 3, power=1.0, warmup=0.075)  # less than a step: none
    assert optimiser.param_groups[0]["lr"] == 1.0


def test_groups_hold_each_trainable_parameter_once() -> None:
    model = nn.ModuleDict(
        {
            "body": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
            "cov_feat": nn.Conv2d(4, 2, 1),
            "fc8": nn.Conv2d(2, 3, 1, bias=False),
            "decoder": nn.Conv2d(2, 5, 1),
        }
    )
    model["body"][1].bias.requires_grad_(False)
    groups = parameter_groups(
        model, OptimSettings(lr=0.1, head_factor=5.0), head=("cov_feat", "fc8"), fresh=("decoder",)
    )
    kept = {g["name"]: [tuple(p.shape) for p in g["params"]] for g in groups}
    assert kept == {
        "weights": [(4, 3, 3, 3)],
        "biases": [(4,), (4,)],
        "head weights": [(2, 4, 1, 1), (3, 2, 1, 1)],
        "head biases": [(2,)],
        "fresh weights": [(5, 2, 1, 1)],
        "fresh biases": [(5,)],
    }
    np.testing.assert_allclose([g["lr"] for g in groups], [0.1, 0.2, 0.5, 1.0, 1.0, 2.0])
    assert [g["weight_decay"] for g in groups] == [5e-4, 0.0, 5e-4, 0.0, 5e-4, 0.0]


def test_empty_groups_are_left_out_and_adamw_keeps_the_factors() -> None:
    model = nn.ModuleDict(
        {"fc8": nn.Conv2d(2, 3, 1, bias=False), "body": nn.Conv2d(3, 2, 1, bias=False)}
    )
    settings = OptimSettings(optimiser="adamw", lr=0.01)
    optimiser = make_optimiser(parameter_groups(model, settings, head=("fc8",)), settings)
    assert isinstance(optimiser, torch.optim.AdamW)
    assert [(g["name"], round(g["lr"], 6)) for g in optimiser.param_groups] == [
        ("weights", 0.01),
        ("head weights", 0.1),
    ]
    set_poly_rate(optimiser, 5, 10, power=1.0)
    np.testing.assert_allclose([g["lr"] for g in optimiser.param_groups], [0.005, 0.05])


def test_unknown_optimiser_is_refused() -> None:
    with pytest.raises(InputError, match="expected one of sgd, adamw"):
        make_optimiser([{"params": []}], OptimSettings(optimiser="lion"))
