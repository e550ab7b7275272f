"""Any timm backbone as a feature extractor at output stride 8 or 16."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.models.depthwise import speed_up_depthwise
from smaf.models.lite0 import EfficientNetLite0

LIGHT = "tf_efficientnet_lite0"
_LITE0_CONFIG = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


class TimmBackbone(nn.Module):
    """A timm network without its head, at output stride s: images → features.

    Convolutional networks are asked for the stride, vision transformers must have it as patch size.
    `mean` and `std` are those that the network was trained with (for RGB in 0..1).

    Cell i looks at the pixels around s·i + (s - 1)/2, where resizing (`align_corners=False`) takes
    it to be. Strided convolutions alone do not give that: TensorFlow's padding ("SAME") puts the
    cell `shift` = 7.5 pixels to the right and below at stride 16, symmetric padding as far to the
    left and above. Padding the images sets this right.
    """

    def __init__(self, name: str, *, output_stride: int, pretrained: bool = False) -> None:
        super().__init__()
        self.body = (
            _lite0(output_stride, pretrained)
            if name == LIGHT
            else _create(name, output_stride, pretrained)
        )
        speed_up_depthwise(self.body)
        self.features_only = name != LIGHT and not hasattr(self.body, "forward_head")
        self.output_stride = output_stride
        self.shift = 0.0
        config: Any = getattr(self.body, "default_cfg", _LITE0_CONFIG)
        self.mean: tuple[float, ...] = tuple(config["mean"])
        self.std: tuple[float, ...] = tuple(config["std"])
        self.channels = self._probed_channels(name)

    def _probed_channels(self, name: str) -> int:
        training = self.body.training
        try:
            with torch.inference_mode(), _Shift(self.body) as shift:
                self.body.eval()
                probe = self.forward(torch.zeros(1, 3, 64, 64))
        except (
            AssertionError,
            RuntimeError,
            AttributeError,
        ) as error:  # wants one image size, or has no feature map
            raise InputError(
                f"backbone {name} gives no feature map for 64×64 pixels ({error}): take another "
                "--backbone"
            ) from error
        self.body.train(training)
        expected = 64 // self.output_stride
        if probe.ndim != 4 or tuple(probe.shape[2:]) != (expected, expected):
            raise InputError(
                f"backbone {name} gives features of {tuple(probe.shape)} for 64×64 pixels, "
                f"expected (1, D, {expected}, {expected}): it cannot run at output stride "
                f"{self.output_stride}; take another --output_stride or --backbone"
            )
        self.shift = shift.pixels()
        return int(probe.shape[1])

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images → features (N, D, ⌈H/s⌉, ⌈W/s⌉)."""
        if not self.shift:
            return self._features(images)
        s, (height, width) = self.output_stride, images.shape[2:]
        skip = int(self.shift < 0)  # cells that the padding adds on the left and above
        before = round(s * skip + self.shift)  # 8 at stride 16
        ends = [
            skip + (size + s - 1) // s for size in (height, width)
        ]  # ONNX rounds negative quotients otherwise
        # Whole cells, so that every stride halves an even size; at least as many as are kept
        below, right = (
            (end if skip else (size + before + s - 1) // s) * s - size - before
            for size, end in zip((height, width), ends, strict=True)
        )
        features = self._features(F.pad(images, (before, right, before, below)))
        if (
            torch.compiler.is_compiling()
        ):  # torch.export asks of a slice whether it cuts: that depends on the size
            rows, columns = (torch.arange(skip, end, device=images.device) for end in ends)
            return features.index_select(2, rows).index_select(3, columns)
        return features[:, :, skip : ends[0], skip : ends[1]]

    def _features(self, images: Tensor) -> Tensor:
        if self.features_only:
            maps: list[Tensor] = self.body(images)
            return maps[-1]
        forward_features: Any = getattr(self.body, "forward_features", self.body)
        features: Tensor = forward_features(images)
        if features.ndim == 3:  # (N, prefix + h·w, D): a vision transformer's tokens
            tokens = features[:, int(getattr(self.body, "num_prefix_tokens", 0)) :]
            h, w = (-(-size // self.output_stride) for size in images.shape[2:])
            if tokens.shape[1] == h * w:
                features = tokens.transpose(1, 2).reshape(len(tokens), -1, h, w)
        return features


class _Shift:
    """While it is entered, notes the strided layers that a pass of a square image runs through."""

    def __init__(self, body: nn.Module) -> None:
        self.body = body
        self.errors: dict[int, float] = {}

    def __enter__(self) -> _Shift:
        layers = [
            m for m in self.body.modules() if isinstance(m, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))
        ]
        self.hooks = [layer.register_forward_hook(self._note) for layer in layers]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _note(self, layer: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        kernel, stride, padding = (
            v if isinstance(v, int) else v[0]
            for v in (layer.kernel_size, layer.stride, layer.padding)
        )
        if stride > 1 and inputs[0].ndim == 4:
            if type(layer).__name__.endswith(
                "Same"
            ):  # TensorFlow's: at even sizes kernel - stride, less on the left
                padding = max(kernel - stride, 0) // 2
            # Of parallel branches the first stands for all: they agree, or their sum would make no
            # sense
            self.errors.setdefault(int(inputs[0].shape[2]), (kernel - stride) / 2 - padding)

    def pixels(self) -> float:
        """How many pixels right of its place a cell looks.

        The sum over the layers of each one's error times the pixels between its input's cells.
        """
        sizes = sorted(self.errors, reverse=True)
        return sum(self.errors[size] * sizes[0] / size for size in sizes)


def _lite0(output_stride: int, pretrained: bool) -> nn.Module:
    body = EfficientNetLite0(output_stride=output_stride)
    if pretrained:
        state = _create(LIGHT, output_stride, pretrained=True).state_dict()
        body.load_state_dict({key: state[key] for key in body.state_dict()})
    return body


def _create(name: str, output_stride: int, pretrained: bool) -> nn.Module:
    import timm  # with torchvision it takes seconds, which EfficientNet-Lite0 does not need

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name[:8]}*")[:6]) or LIGHT
        raise InputError(
            f"--backbone {name}: neither resnet38 nor a timm model (did you mean {near}?)"
        )
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
        except (
            TypeError,
            NotImplementedError,
            AssertionError,
            ValueError,
        ) as error:  # does not take the option
            errors.append(str(error))
        except (OSError, RuntimeError) as error:  # timm's hub is out of reach
            raise InputError(
                f"backbone {name}: its ImageNet weights cannot be downloaded ({error}): name a "
                "file with --weights, or install the network's weights in timm's cache"
            ) from error
    raise InputError(f"backbone {name} cannot be made by timm: {'; '.join(errors)}")
