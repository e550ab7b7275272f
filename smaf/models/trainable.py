"""What training may change in a network, and which layers are new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

from smaf.core.errors import InputError

Self = TypeVar("Self", bound="Trainable")


class Trainable(nn.Module):
    """A network that is trained: classifiers and segmentation networks.

    BatchNorm stays frozen in training (running statistics, no gradient to its weights) unless
    `freeze_batchnorm` is set to False; so do the layers in `frozen`. The layers below
    `head_modules` and `fresh_modules` are new: they learn faster, the latter whatever the weights
    that a training starts from.
    """

    backbone_name: str
    head_modules: tuple[str, ...] = ()
    fresh_modules: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    freeze_batchnorm: bool = True

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode and return the module; what is frozen stays in evaluation mode."""
        super().train(mode)
        if mode:
            for name in self.frozen:
                self.get_submodule(name).eval()
            for module in self.modules():
                if self.freeze_batchnorm and isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def training_format(self, device: torch.device) -> torch.memory_format:
        """The layout of weights and images in which the network trains fastest on `device`."""
        return torch.channels_last

    @property
    def described(self) -> str:
        """What the network is, in words for an error."""
        raise NotImplementedError

    def head_keys(self) -> set[str]:
        """The keys of the state dict that belong to the new layers."""
        places = tuple(f"{name}." for name in (*self.head_modules, *self.fresh_modules))
        return {key for key in self.state_dict() if key.startswith(places)}

    def freeze(self, layers: Sequence[str]) -> None:
        """Keep `layers` of the backbone, by their names in `named_modules`, out of training.

        Call :meth:`set_trainable` afterwards. Raises :class:`InputError` where there is no such
        layer.

        >>> from smaf.models import build_classifier
        >>> model = build_classifier("test_efficientnet", num_classes=3)
        >>> model.freeze(["conv_stem"])
        >>> model.frozen
        ('backbone.body.conv_stem',)
        """
        names = dict(self.named_modules())
        for layer in layers:
            places = (layer, f"backbone.body.{layer}", f"base.{layer}")
            found = next((name for name in places if layer and name in names), None)
            if found is None:
                tops = [
                    name.removeprefix("backbone.body.").removeprefix("base.")
                    for name in names
                    if name.count(".") in (0, 2)
                    or (name.startswith("base.") and name.count(".") == 1)
                ]
                raise InputError(
                    f"--freeze {layer}: {self.backbone_name} has no such layer; it has "
                    f"{', '.join(name for name in tops if name)}"
                )
            self.frozen = (*self.frozen, found)

    def set_trainable(self: Self) -> Self:
        """Let gradients reach what the recipe trains and nothing else; return the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(True)
        if self.freeze_batchnorm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    for parameter in module.parameters(recurse=False):
                        parameter.requires_grad_(False)
        for name in self.frozen:
            for parameter in self.get_submodule(name).parameters():
                parameter.requires_grad_(False)
        return self
