"""Checkpoints of the public releases: what their keys tell, and EPS's head turned into SMAF's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from smaf.core.errors import InputError
from smaf.core.network_facts import ClassifierInfo, SegmenterInfo
from smaf.models.classifier import FEATURES, RESNET38
from smaf.models.deeplab import NAME as DEEPLAB

_FIX = "take the file as it was downloaded, or train again"


def published_classifier(state: Mapping[str, Tensor], path: Path) -> ClassifierInfo | None:
    """What the keys of EPS's and SMAF's checkpoints tell; None where they are of another network.

    Raises :class:`InputError` where the head has another shape than theirs.
    """
    if "fc8.weight" not in state or "conv1a.weight" not in state:
        return None
    channels = fc8_channels(state, path)
    if channels < 2:
        raise InputError(
            f"weights {path} have a head of 1 channel, expected the classes and background: {_FIX}"
        )
    head = "smaf" if "cov_feat.weight" in state else "eps"
    return ClassifierInfo(RESNET38, head, channels - 1, 8, ())


def published_segmenter(state: Mapping[str, Tensor], path: Path) -> SegmenterInfo | None:
    """What the keys of deeplab-pytorch's checkpoints tell; None of its initialisation (no head)."""
    key = "base.aspp.c0.bias"
    return SegmenterInfo(DEEPLAB, aspp_channels(state, key, path), 8, ()) if key in state else None


def fc8_channels(state: Mapping[str, Tensor], path: Path) -> int:
    """The number of channels of a classifier's head, the 1×1 convolution `fc8`."""
    weight = state.get("fc8.weight")
    if (
        weight is None
        or weight.ndim != 4
        or tuple(weight.shape[2:]) != (1, 1)
        or not weight.is_floating_point()
    ):
        got = (
            "missing"
            if weight is None
            else f"{tuple(weight.shape)} of {str(weight.dtype).removeprefix('torch.')}"
        )
        raise InputError(
            f"weights {path}: fc8.weight is {got}, expected the head's (channels, D, 1, 1): {_FIX}"
        )
    return len(weight)


def aspp_channels(state: Mapping[str, Tensor], key: str, path: Path) -> int:
    """The number of channels of a segmentation network's ASPP head, by the bias under `key`."""
    bias = state.get(key)
    if bias is None or bias.ndim != 1:
        got = "missing" if bias is None else str(tuple(bias.shape))
        raise InputError(f"weights {path}: {key} is {got}, expected the head's (channels,): {_FIX}")
    return len(bias)


def widen_eps_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn EPS's head into SMAF's with the same CAMs, to start SMAF from EPS's checkpoint.

    A linear map w·x is relu(w·x) - relu(-w·x), so 2·(C+1) of SMAF's 128 features carry EPS's
    channels exactly; the other features are random, and `fc8` gives them weight 0.

    Args:
        state: a state dict with EPS's `fc8.weight`, (C+1, D, 1, 1).

    Returns:
        The state dict with SMAF's `cov_feat`, `bn` and `fc8` (C+1, 128, 1, 1) instead.

    Raises:
        InputError: C+1 > 64.

    >>> wide = widen_eps_head({"fc8.weight": torch.randn(21, 8, 1, 1)})
    >>> tuple(wide["cov_feat.weight"].shape), tuple(wide["fc8.weight"].shape)
    ((128, 8, 1, 1), (21, 128, 1, 1))
    """
    fc8 = state["fc8.weight"]
    outputs = len(fc8)
    if 2 * outputs > FEATURES:
        raise InputError(
            f"a head of {outputs} channels does not fit SMAF's {FEATURES} features twice: use "
            "--head eps"
        )
    generator = torch.Generator().manual_seed(0)
    spare = torch.randn(FEATURES - 2 * outputs, fc8.shape[1], 1, 1, generator=generator)
    mix = torch.zeros(outputs, FEATURES, 1, 1)
    for channel in range(outputs):
        mix[channel, channel], mix[channel, outputs + channel] = 1.0, -1.0
    rest = {key: value for key, value in state.items() if key != "fc8.weight"}
    return {
        **rest,
        "cov_feat.weight": torch.cat([fc8, -fc8, spare * float(fc8.std())]),
        **_neutral_norm(),
        "fc8.weight": mix,
    }


def _neutral_norm() -> dict[str, Tensor]:
    """A BatchNorm `bn` over SMAF's features that changes nothing: its eps is made up for."""
    return {
        "bn.running_mean": torch.zeros(FEATURES),
        "bn.running_var": torch.ones(FEATURES),
        "bn.weight": torch.full((FEATURES,), (1.0 + 1e-5) ** 0.5),
        "bn.bias": torch.zeros(FEATURES),
        "bn.num_batches_tracked": torch.tensor(0),
    }
