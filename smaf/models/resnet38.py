"""ResNet-38, the "wide ResNet" of Wu et al. (2016), in the variant of PSA, SEAM and EPS.

Names of modules are those of the published checkpoints (`b4_5.conv_branch2b1.weight`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _conv3(channels_in: int, channels_out: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        channels_in, channels_out, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
    )


class SpentBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose input nobody else reads: without gradients it normalises in place."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape; `x` itself where no gradient is wanted."""
        if self.training or torch.is_grad_enabled() or x.dtype != torch.float32:
            return super().forward(x)  # half precision would round twice
        if self.running_mean is None or self.running_var is None:
            return super().forward(x)
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None], out=x)


def _relu(normalised: Tensor) -> Tensor:
    """ReLU in place: BatchNorm's backward pass does not read its output."""
    return F.relu(normalised, inplace=True)


class ResidualBlock(nn.Module):
    """BN-ReLU-conv3×3-BN-ReLU-conv3×3 and a shortcut.

    The shortcut is a 1×1 convolution of the activated input where the shape changes.
    """

    def __init__(
        self,
        channels_in: int,
        middle: int,
        channels_out: int,
        *,
        stride: int = 1,
        first_dilation: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        changes = channels_in != channels_out or stride != 1
        self.bn_branch2a = (SpentBatchNorm if changes else nn.BatchNorm2d)(channels_in)
        self.conv_branch2a = _conv3(channels_in, middle, stride=stride, dilation=first_dilation)
        self.bn_branch2b1 = SpentBatchNorm(middle)
        self.conv_branch2b1 = _conv3(middle, channels_out, dilation=dilation)
        self.conv_branch1: nn.Conv2d | None = None
        if changes:
            self.conv_branch1 = nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) → (N, C_out, H/stride, W/stride)."""
        activated = _relu(self.bn_branch2a(x))
        shortcut = x if self.conv_branch1 is None else self.conv_branch1(activated)
        y = self.conv_branch2a(activated)
        y = self.conv_branch2b1(_relu(self.bn_branch2b1(y)))
        return y.add_(shortcut)


class BottleneckBlock(nn.Module):
    """1×1, dilated 3×3, 1×1 convolutions, dropout before the last two; always a 1×1 shortcut."""

    def __init__(
        self, channels_in: int, middle: int, channels_out: int, *, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        self.bn_branch2a = SpentBatchNorm(channels_in)
        self.conv_branch2a = nn.Conv2d(channels_in, middle, 1, bias=False)
        self.bn_branch2b1 = SpentBatchNorm(middle)
        self.dropout_2b1 = nn.Dropout2d(dropout)
        self.conv_branch2b1 = _conv3(middle, channels_out // 2, dilation=dilation)
        self.bn_branch2b2 = SpentBatchNorm(channels_out // 2)
        self.dropout_2b2 = nn.Dropout2d(dropout)
        self.conv_branch2b2 = nn.Conv2d(channels_out // 2, channels_out, 1, bias=False)
        self.conv_branch1 = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) → (N, C_out, H, W)."""
        activated = _relu(self.bn_branch2a(x))
        y = self.conv_branch2a(activated)
        y = self.conv_branch2b1(self.dropout_2b1(_relu(self.bn_branch2b1(y))))
        y = self.conv_branch2b2(self.dropout_2b2(_relu(self.bn_branch2b2(y))))
        return y.add_(self.conv_branch1(activated))


class ResNet38(nn.Module):
    """The backbone, without a head, at output stride 8 with 4096 channels."""

    channels = 4096
    output_stride = 8
    # The published recipe trains neither of these
    frozen = ("conv1a", "b2", "b2_1", "b2_2")

    def __init__(self) -> None:
        super().__init__()
        self.conv1a = _conv3(3, 64)
        self._add("b2", 64, 128, 128, repeats=2, stride=2)
        self._add("b3", 128, 256, 256, repeats=2, stride=2)
        self._add("b4", 256, 512, 512, repeats=5, stride=2)
        self._add("b5", 512, 512, 1024, repeats=2, first_dilation=1, dilation=2)
        self.b6 = BottleneckBlock(1024, 512, 2048, dilation=4, dropout=0.3)
        self.b7 = BottleneckBlock(2048, 1024, 4096, dilation=4, dropout=0.5)
        self.blocks = tuple(name for name, _ in self.named_children() if name != "conv1a")
        self.bn7 = SpentBatchNorm(4096)

    def _add(
        self,
        name: str,
        channels_in: int,
        middle: int,
        channels_out: int,
        *,
        repeats: int,
        **first: Any,
    ) -> None:
        """Add block `name` and its repeats `name_1`, `name_2` …, which keep the shape."""
        setattr(self, name, ResidualBlock(channels_in, middle, channels_out, **first))
        dilation = first.get("dilation", 1)
        for i in range(1, repeats + 1):
            setattr(
                self,
                f"{name}_{i}",
                ResidualBlock(
                    channels_out, middle, channels_out, first_dilation=dilation, dilation=dilation
                ),
            )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images → (N, 4096, ⌈H/8⌉, ⌈W/8⌉), after the last BN and ReLU."""
        return run_resnet38(self, self.blocks, images)


def run_resnet38(layers: nn.Module, blocks: Sequence[str], images: Tensor) -> Tensor:
    """Run the backbone's layers, wherever they lie: in :class:`ResNet38`, or flat beside a head."""
    x = layers.get_submodule("conv1a")(images)
    for name in blocks:
        x = layers.get_submodule(name)(x)
    return _relu(layers.get_submodule("bn7")(x))
