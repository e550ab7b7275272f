"""The mean of a network's weights over the last steps of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The equal-weight mean of a model's weights and buffers after each of the last steps.

    Source: stochastic weight averaging (Izmailov et al., UAI 2018), here over steps in place of
    epochs, at the training's own rates. Integer buffers are the last ones.

    Args:
        model: its weights are read by :meth:`update`, and exchanged by :meth:`in_place`.
        share: of the steps, those that take part; 0: none, the weights stay the last ones.
        steps: of the whole training.
    """

    def __init__(self, model: nn.Module, share: float, steps: int) -> None:
        self.model, self.first = model, steps - round(share * steps) + 1
        self.mean: dict[str, Tensor] = {}
        self.count = 0

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after `step`, 1 for the first, into the mean."""
        if step < self.first:
            return
        self.count += 1
        for name, value in self.model.state_dict().items():
            if name not in self.mean or not value.is_floating_point():
                self.mean[name] = value.clone()
            else:
                self.mean[name].lerp_(value, 1.0 / self.count)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {"mean": self.mean, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back, to the model's device."""
        own = self.model.state_dict()
        self.mean = {name: value.to(own[name].device) for name, value in state["mean"].items()}
        self.count = int(state["count"])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A block in which the model has the mean's weights, where there is one."""
        if not self.count:
            yield
            return
        last = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.mean)
        try:
            yield
        finally:
            self.model.load_state_dict(last)
