"""Attention read off timm's vision transformers while they run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.models.timm_backbone import TimmBackbone

LAYERS = 8  # the last ones, CLIP-ES's


def attention_layers(network: nn.Module) -> list[nn.Module]:
    """The attention modules of `network` that attend over the whole image, first to last.

    Raises :class:`InputError` where the network has none: convolutions, or windows (Swin).
    """
    found: list[nn.Module] = []
    backbone, name = getattr(network, "backbone", None), getattr(network, "backbone_name", "it")
    if isinstance(backbone, TimmBackbone) and backbone.prefix is not None:
        side, training = 2 * backbone.output_stride, backbone.training
        device = next(backbone.parameters()).device
        tokens = backbone.prefix + 4
        try:
            with torch.inference_mode(), _noting(_candidates(backbone)) as noted:
                backbone.eval()(torch.zeros(1, 3, side, side, device=device))
        finally:
            backbone.train(training)
        found = [layer for layer, attention in noted() if attention.shape[2:] == (tokens, tokens)]
    if not found:
        raise InputError(
            f"--attention_refine: {name} has no attention over the whole image: train a vision "
            "transformer (--backbone vit_small_patch14_dinov2), or leave it out"
        )
    return found


@contextmanager
def attention_of(layers: list[nn.Module]) -> Iterator[Callable[[], Tensor]]:
    """While it is entered, the mean attention of the last 8 of `layers` is kept.

    What it gives is called after a forward pass, and returns that pass's (N, T, T) float32, the
    mean over heads and layers: of the pass of this thread, so that several may run. Fused attention
    is off in these layers meanwhile.
    """
    with _noting(layers[-LAYERS:]) as noted:

        def mean() -> Tensor:
            means = [attention.float().mean(dim=1) for _, attention in noted()]
            return torch.stack(means).mean(dim=0)

        yield mean


def _candidates(backbone: nn.Module) -> list[nn.Module]:
    """timm's attention modules: their softmax goes through `attn_drop` where it is not fused."""
    return [
        module
        for module in backbone.modules()
        if hasattr(module, "fused_attn")
        and isinstance(getattr(module, "attn_drop", None), nn.Module)
    ]


@contextmanager
def _noting(layers: list[Any]) -> Iterator[Callable[[], list[tuple[nn.Module, Tensor]]]]:
    """Keep what goes through the layers' `attn_drop`; what is called gives it, once."""
    kept = threading.local()

    def note(layer: nn.Module) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            kept.__dict__.setdefault("all", []).append((layer, inputs[0].detach()))

        return hook

    def noted() -> list[tuple[nn.Module, Tensor]]:
        found: list[tuple[nn.Module, Tensor]] = kept.__dict__.pop("all", [])
        return found

    fused = [layer.fused_attn for layer in layers]
    hooks = [layer.attn_drop.register_forward_pre_hook(note(layer)) for layer in layers]
    try:
        for layer in layers:
            layer.fused_attn = False
        yield noted
    finally:
        for hook in hooks:
            hook.remove()
        for layer, was in zip(layers, fused, strict=True):
            layer.fused_attn = was
