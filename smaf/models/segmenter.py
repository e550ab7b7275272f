"""Segmentation networks of stage 4 behind one face, and the light one on any timm backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.models.efficientnet_lite import FINE_STRIDE, LITE_NAMES
from smaf.models.timm_backbone import TimmBackbone
from smaf.models.timm_states import fitted_state
from smaf.models.trainable import Trainable

LIGHT_RATES = (3, 6, 9, 12)  # DeepLab-V2's in pixels of the image, at twice its stride
_ASPP_STD = 0.01


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (DeepLab-V2): the sum of dilated 3×3 convolutions.

    The convolutions `c0`, `c1` … are dilated, and padded, by one of `rates` each. Their weights are
    drawn from N(0, 0.01²).
    """

    def __init__(self, channels: int, num_classes: int, rates: Sequence[int]) -> None:
        super().__init__()
        for index, rate in enumerate(rates):
            conv = nn.Conv2d(channels, num_classes, 3, padding=rate, dilation=rate)
            nn.init.normal_(conv.weight, mean=0.0, std=_ASPP_STD)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
            self.add_module(f"c{index}", conv)

    def forward(self, features: Tensor) -> Tensor:
        """(N, D, h, w) → (N, T, h, w)."""
        convs = list(self.children())
        total: Tensor = convs[0](features)
        for conv in convs[1:]:
            total = total + conv(features)
        return total


def has_decoder(state: Mapping[str, Tensor]) -> bool:
    """Whether a network's state dict holds a decoder's tensors."""
    return any(key.startswith("decoder.") for key in state)


class FineDecoder(nn.Module):
    """What features at stride 4 add to coarse logits: edges, and small objects.

    The coarse logits are brought to stride 4; their softmax and the fine features, reduced to
    `width` channels, go through two 3×3 convolutions, whose result is added (after DeepLab-V3+'s
    decoder, Chen et al., ECCV 2018). The last layer starts at 0: nothing is added at first.
    """

    def __init__(self, channels: int, num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, width, 1)
        self.mix = nn.Conv2d(width + num_classes, width, 3, padding=1)
        self.smooth = nn.Conv2d(width, width, 3, padding=1)
        self.add = nn.Conv2d(width, num_classes, 1)
        for conv in (self.reduce, self.mix, self.smooth):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(self.add.weight)
        for conv in (self.reduce, self.mix, self.smooth, self.add):
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, logits: Tensor, fine: Tensor, times: int) -> Tensor:
        """(N, T, h, w) and (N, D, H, W) of `times` the cells a side → (N, T, H, W).

        The last of the coarse cells may reach beyond the fine ones.
        """
        size = [times * side for side in logits.shape[2:]]
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        for axis in (2, 3):
            kept = torch.arange(fine.shape[axis], device=fine.device)
            logits = logits.index_select(axis, kept)
        mixed = torch.cat([F.relu(self.reduce(fine)), logits.softmax(dim=1)], dim=1)
        mixed = F.relu(self.smooth(F.relu(self.mix(mixed))))
        added: Tensor = self.add(mixed)
        return logits + added


class Segmenter(Trainable):
    """Segmentation network of stage 4; made by :func:`smaf.models.build_segmenter`.

    Channel k of its logits is the mask value k: 0 background, then the classes. Images are RGB
    normalised with `mean` and `std` (for values in 0..1), and turned to BGR where `bgr`. BatchNorm
    stays frozen in training unless `freeze_batchnorm` is set to False.
    """

    bgr = False
    output_stride: int

    def __init__(
        self, name: str, num_classes: int, *, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.backbone_name, self.num_classes = name, num_classes
        self.mean, self.std = tuple(mean), tuple(std)
        self.decoder: FineDecoder | None = None

    @property
    def described(self) -> str:
        """Name and class count, in words for an error."""
        return (
            f"the network {self.backbone_name} with {self.num_classes} classes (background "
            "included)"
        )

    def forward(self, images: Tensor) -> list[Tensor] | Tensor:
        """(N, 3, H, W) normalised images → logits (N, T, h, w) at the output stride.

        In training mode a list of such logits, whose losses are summed.
        """
        raise NotImplementedError

    def backbone_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The backbone's tensors in the state dict of another network, under this network's keys.

        Empty where the state dict is of no network that this one can start from.
        """
        raise NotImplementedError

    def completed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of this network without parts that start as they are made."""
        return dict(state)


class LightSegmenter(Segmenter):
    """A timm backbone (`backbone.body.…`) and an ASPP head (`aspp.c0` …).

    With `fine` a decoder (`decoder.…`), on EfficientNet-Lite, gives the logits at stride 4.
    """

    head_modules = ("aspp",)
    fresh_modules = ("decoder",)

    def __init__(
        self,
        name: str,
        num_classes: int,
        *,
        output_stride: int | None = None,
        fine: bool = False,
        hub: bool = False,
    ) -> None:
        if fine and name not in LITE_NAMES:
            raise InputError(
                f"the decoder needs one of {', '.join(LITE_NAMES)} as network, not {name}"
            )
        backbone = TimmBackbone(name, output_stride=output_stride, pretrained=hub)
        super().__init__(name, num_classes, mean=backbone.mean, std=backbone.std)
        self.output_stride = backbone.output_stride
        self.backbone = backbone
        self.frozen = tuple(f"backbone.{layer}" for layer in backbone.unused)
        rates = tuple(rate * 16 // backbone.output_stride for rate in LIGHT_RATES)
        self.aspp = ASPP(backbone.channels, num_classes, rates)
        if fine:
            body: Any = backbone.body
            self.decoder = FineDecoder(body.fine_channels, num_classes)

    def forward(self, images: Tensor) -> list[Tensor] | Tensor:
        """(N, 3, H, W) normalised RGB images → logits (N, T, ⌈H/s⌉, ⌈W/s⌉); in training a list.

        With a decoder s is 4.
        """
        if self.decoder is None:
            logits: Tensor = self.aspp(self.backbone(images))
        else:
            features, fine = self.backbone.with_fine(images)
            times = self.output_stride // FINE_STRIDE
            logits = self.decoder(self.aspp(features), fine, times)
        return [logits] if self.training else logits

    def backbone_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The backbone's tensors in timm's weights, or in a classifier of this project.

        A classifier's EPS head for the same classes becomes the ASPP's first convolution, and the
        other ones become 0: the network starts with the classifier's CAMs as its logits.
        """
        own = self.state_dict()
        if not any(key.startswith("backbone.body.") for key in state):
            state = fitted_state(self.backbone.body, state) or state
            state = {f"backbone.body.{key}": value for key, value in state.items()}
        kept = {
            key: value for key, value in state.items() if key in own and key.startswith("backbone.")
        }
        if not kept:
            return {}
        head = state.get("fc8.weight")
        if head is not None and head.shape[:2] == (
            self.num_classes,
            own["aspp.c0.weight"].shape[1],
        ):
            # Its channels have the background last. A 3×3 convolution whose middle alone is set is
            # a 1×1 convolution
            kept |= {key: own[key] * 0.0 for key in own if key.startswith("aspp.")}
            kept["aspp.c0.weight"][:, :, 1, 1] = head.roll(1, dims=0)[:, :, 0, 0]
            return self.completed(kept)
        return kept

    def completed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a network without a decoder, and those that this one's starts with."""
        if has_decoder(state):
            return dict(state)
        own = self.state_dict()
        return {**state, **{key: own[key] for key in own if key.startswith("decoder.")}}
