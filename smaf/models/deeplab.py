"""DeepLab-V2 with ResNet-101 at output stride 8, alone and multi-scale, with published keys.

The keys are deeplab-pytorch's. Chen et al., PAMI 2018. The strided 1×1 convolutions, the ceil-mode
pool and the sum of four dilated convolutions are those of the Caffe release that deeplab-pytorch
follows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.models.segmenter import ASPP, Segmenter

NAME = "deeplab_v2_resnet101"
RATES = (6, 12, 18, 24)
PYRAMID = (0.5, 0.75)
# Mean of RGB in 0..1; the network takes BGR in 0..255
MEAN = (122.675 / 255, 116.669 / 255, 104.008 / 255)
STD = (1 / 255,) * 3
BLOCKS = (3, 4, 23, 3)  # of ResNet-101's layer2..layer5
# Channels, first stride and dilation of layer2..layer5
_LAYERS = ((256, 1, 1), (512, 2, 1), (1024, 1, 2), (2048, 1, 4))


class _ConvNorm(nn.Sequential):
    """Convolution, BatchNorm and, where `act`, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        act: bool = True,
    ) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(
            OrderedDict(
                conv=nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False),
                bn=nn.BatchNorm2d(outputs, eps=1e-5, momentum=1e-3),
            )
        )
        self.act = act

    def forward(self, images: Tensor) -> Tensor:
        images = super().forward(images)
        return F.relu(images) if self.act else images


class _Bottleneck(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, stride: int, dilation: int, *, project: bool
    ) -> None:
        super().__init__()
        narrow = outputs // 4
        self.reduce = _ConvNorm(inputs, narrow, 1, stride=stride)
        self.conv3x3 = _ConvNorm(narrow, narrow, 3, dilation=dilation)
        self.increase = _ConvNorm(narrow, outputs, 1, act=False)
        self.shortcut = (
            _ConvNorm(inputs, outputs, 1, stride=stride, act=False) if project else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.increase(self.conv3x3(self.reduce(x))) + self.shortcut(x))


def _layer(inputs: int, outputs: int, blocks: int, stride: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            (
                f"block{i + 1}",
                _Bottleneck(
                    inputs if i == 0 else outputs,
                    outputs,
                    stride if i == 0 else 1,
                    dilation,
                    project=i == 0,
                ),
            )
            for i in range(blocks)
        )
    )


class DeepLabV2(nn.Sequential):
    """DeepLab-V2 at one scale: (N, 3, H, W) BGR less its mean → (N, T, ⌈H/8⌉, ⌈W/8⌉) logits."""

    def __init__(self, num_classes: int, blocks: Sequence[int] = BLOCKS) -> None:
        layers: list[tuple[str, nn.Module]] = [
            (
                "layer1",
                nn.Sequential(
                    OrderedDict(
                        conv1=_ConvNorm(3, 64, 7, stride=2),
                        pool=nn.MaxPool2d(3, 2, 1, ceil_mode=True),
                    )
                ),
            )
        ]
        inputs = 64
        for number, (outputs, stride, dilation) in enumerate(_LAYERS, start=2):
            layers.append(
                (f"layer{number}", _layer(inputs, outputs, blocks[number - 2], stride, dilation))
            )
            inputs = outputs
        layers.append(("aspp", ASPP(inputs, num_classes, RATES)))
        super().__init__(OrderedDict(layers))


class MultiScaleDeepLabV2(Segmenter):
    """DeepLab-V2 at 1, 0.5 and 0.75 times the image's size, and their pixel-wise maximum.

    In training `forward` returns the logits at 1.0, 0.5, 0.75 and their maximum, each at its own
    size but for the maximum, which has the first one's; in evaluation mode the maximum alone.
    """

    head_modules = ("base.aspp",)
    bgr = True
    output_stride = 8

    def __init__(self, num_classes: int, blocks: Sequence[int] = BLOCKS) -> None:
        super().__init__(NAME, num_classes, mean=MEAN, std=STD)
        self.base = DeepLabV2(num_classes, blocks)

    def forward(self, images: Tensor) -> list[Tensor] | Tensor:
        """(N, 3, H, W) BGR images less their mean, in 0..255 → logits (N, T, ⌈H/8⌉, ⌈W/8⌉).

        In training mode the list of logits at the scales 1, 0.5, 0.75, and their maximum.
        """
        logits = self.base(images)
        pyramid = [
            self.base(
                F.interpolate(
                    images,
                    scale_factor=p,
                    mode="bilinear",
                    align_corners=False,
                    recompute_scale_factor=False,
                )
            )
            for p in PYRAMID
        ]
        highest = logits
        for other in pyramid:
            highest = torch.maximum(
                highest,
                F.interpolate(other, size=logits.shape[2:], mode="bilinear", align_corners=False),
            )
        return [logits, *pyramid, highest] if self.training else highest

    def backbone_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The backbone's tensors in deeplab-pytorch's initialisation, or in a ResNet-101's weights.

        A ResNet-101 may be torchvision's or timm's (:func:`from_resnet101`); of any other state
        dict nothing is taken.
        """
        if "layer1.conv1.conv.weight" in state:
            return {
                f"base.{key}": value for key, value in state.items() if not key.startswith("aspp.")
            }
        if "layer4.2.conv3.weight" in state and "conv1.weight" in state:
            return from_resnet101(state)
        return {}


def from_resnet101(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """ImageNet weights of torchvision's and timm's ResNet-101 under DeepLab-V2's keys.

    Those take RGB in 0..1 less ImageNet's mean, divided by its deviation: the first convolution's
    channels are turned round and scaled, and the difference of the means goes into its BatchNorm.
    """
    parts = {"1": "reduce", "2": "conv3x3", "3": "increase"}
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        words = key.split(".")
        if words[0] in {"conv1", "bn1"}:
            renamed[f"base.layer1.conv1.{words[0].rstrip('1')}.{words[1]}"] = value
        elif words[0].startswith("layer"):
            place = f"base.layer{int(words[0][5:]) + 1}.block{int(words[1]) + 1}"
            if words[2] == "downsample":
                renamed[f"{place}.shortcut.{'conv' if words[3] == '0' else 'bn'}.{words[4]}"] = (
                    value
                )
            else:
                renamed[f"{place}.{parts[words[2][-1]]}.{words[2][:-1]}.{words[3]}"] = value
    weight = renamed["base.layer1.conv1.conv.weight"].float()
    theirs_mean, theirs_std = (
        torch.tensor((0.485, 0.456, 0.406)),
        torch.tensor((0.229, 0.224, 0.225)),
    )
    weight = weight / theirs_std[:, None, None]  # takes RGB in 0..1
    offset = (weight * (torch.tensor(MEAN) - theirs_mean)[:, None, None]).sum(dim=(1, 2, 3))
    renamed["base.layer1.conv1.conv.weight"] = (weight / 255).flip(1)
    # BN(y) with y = y' + offset: the running mean is less by it
    renamed["base.layer1.conv1.bn.running_mean"] = (
        renamed["base.layer1.conv1.bn.running_mean"].float() - offset
    )
    return renamed
