"""Any timm backbone as a feature extractor at output stride 8, 14 or 16."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.models.depthwise import speed_up_depthwise
from smaf.models.efficientnet_lite import FINE_SHIFT, FINE_STRIDE, LITE_NAMES
from smaf.models.timm_bodies import level_body, patch_stride, whole_body

_LITE_CONFIG = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
_STRIDE = 16  # where a network can run at several
_PROBE = 64  # pixels


class TimmBackbone(nn.Module):
    """A timm network without its head, at output stride s: images → features.

    Convolutional networks are asked for the stride, vision transformers must have it as patch size;
    None is a transformer's own, and 16 otherwise. Of networks that know neither (Swin, DenseNet,
    VGG, HRNet) the level of that stride is taken, and what lies behind it is left out. `mean` and
    `std` are those that the network was trained with (for RGB in 0..1).

    Cell i looks at the pixels around s·i + (s - 1)/2, where resizing (`align_corners=False`) takes
    it to be. Strided convolutions alone do not give that: TensorFlow's padding ("SAME") puts the
    cell `shift` = 7.5 pixels to the right and below at stride 16, symmetric padding as far to the
    left and above. Padding the images sets this right. It also makes whole cells of them, on the
    right and below: no cell is moved by it, and none is of padding alone.

    Attributes:
        output_stride: s.
        channels: D, of the features.
        prefix: tokens before those of the grid (class token, registers); None without tokens.
        partial: the layers behind the features are left out.
        unused: layers that are there, but that the features do not need (HRNet's other branches).
    """

    def __init__(
        self, name: str, *, output_stride: int | None = None, pretrained: bool = False
    ) -> None:
        super().__init__()
        body = whole_body(name, output_stride or _STRIDE, pretrained)
        self.output_stride = output_stride or patch_stride(body) or _STRIDE
        config: Any = getattr(body, "default_cfg", _LITE_CONFIG)
        self.mean: tuple[float, ...] = tuple(config["mean"])
        self.std: tuple[float, ...] = tuple(config["std"])
        self.partial = False
        self.unused: tuple[str, ...] = ()
        fault = self._take(
            body, as_list=name not in LITE_NAMES and not hasattr(body, "forward_head")
        )
        if fault:
            level, levels = level_body(name, body, self.output_stride, pretrained)
            if level is not None:
                self.partial = True
                fault = self._take(level, as_list=True)
                self.unused = () if fault else self._without_gradient()
            elif levels:
                fault = f"it gives features at stride {levels}"
        if fault:
            raise InputError(
                f"backbone {name} cannot run at output stride {self.output_stride}: {fault}; take "
                "another --output_stride or --backbone"
            )

    def _take(self, body: nn.Module, *, as_list: bool) -> str:
        """Take `body` as the network; return why it does not serve, empty where it does."""
        self.body, self.features_only = body, as_list
        self.shift, self.channels_last, self.prefix = 0.0, False, None
        self.grain = self.output_stride  # pixels that all of the network's strides divide
        self.pads = bool(getattr(getattr(body, "patch_embed", None), "dynamic_img_pad", False))
        speed_up_depthwise(body)
        training, cells = body.training, -(-_PROBE // self.output_stride)
        side = cells * self.output_stride
        try:
            with torch.inference_mode(), _Shift(body, self.output_stride) as shift:
                shape = tuple(self._run(body.eval(), torch.zeros(1, 3, side, side)).shape)
        except (AssertionError, RuntimeError, AttributeError, ValueError) as error:
            # wants one image size, or has no feature map
            return f"it gives no feature map for {side}×{side} pixels ({error})"
        body.train(training)
        prefix = int(getattr(body, "num_prefix_tokens", 0))
        if len(shape) == 3 and shape[1] == prefix + cells**2:
            self.prefix, self.channels = prefix, shape[2]
        elif len(shape) == 4 and shape[2:] == (cells, cells):
            self.channels = shape[1]
        elif len(shape) == 4 and shape[1:3] == (cells, cells):
            self.channels_last, self.channels = True, shape[3]
        else:
            return (
                f"it gives features of {shape} for {side}×{side} pixels, expected "
                f"(1, D, {cells}, {cells})"
            )
        self.shift, self.grain = shift.pixels(), max(self.output_stride, shift.grain())
        return ""

    def _without_gradient(self) -> tuple[str, ...]:
        """The layers whose parameters the features do not depend on."""
        side = 2 * self.grain
        with torch.inference_mode(False), torch.enable_grad():
            self._run(self.body, torch.zeros(1, 3, side, side)).sum().backward()
        unused = [
            f"body.{name}"
            for name, layer in self.body.named_modules()
            if any(p.grad is None for p in layer.parameters(recurse=False))
        ]
        self.body.zero_grad(set_to_none=True)
        return tuple(unused)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images → features (N, D, ⌈H/s⌉, ⌈W/s⌉)."""
        if self.pads:  # timm does, to whole patches
            return self._features(images)
        return self._cut(self._features(self._padded(images)), images)

    def with_fine(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The features, and those of stride 4 of an EfficientNet-Lite: (N, D', ⌈H/4⌉, ⌈W/4⌉).

        The latter's cells look at most 2 pixels away from their places.
        """
        body: Any = self.body
        features, fine = body.with_fine(self._padded(images))
        skipped = round((self._before - FINE_SHIFT) / FINE_STRIDE)
        for axis in (2, 3):
            cells = (images.shape[axis] + FINE_STRIDE - 1) // FINE_STRIDE
            kept = torch.arange(skipped, skipped + cells, device=fine.device)
            fine = fine.index_select(axis, kept)
        return self._cut(features, images), fine

    @property
    def _skipped(self) -> int:
        """Cells that the padding adds on the left and above."""
        return int(self.shift < 0)

    @property
    def _before(self) -> int:
        """Pixels that the padding adds on the left and above: 8 at stride 16."""
        return round(self.output_stride * self._skipped + self.shift)

    def _ends(self, images: Tensor) -> list[int]:
        """The cells, downwards and to the right, after which no pixel of the images is left."""
        s = self.output_stride  # ONNX rounds negative quotients otherwise
        return [self._skipped + (size + s - 1) // s for size in images.shape[2:]]

    def _padded(self, images: Tensor) -> Tensor:
        """Images of whole cells, so that every stride halves an even size."""
        before, grain = self._before, self.grain
        below, right = (
            ((end * self.output_stride if self._skipped else size + before) + grain - 1)
            // grain
            * grain
            - size
            - before
            for size, end in zip(images.shape[2:], self._ends(images), strict=True)
        )
        return F.pad(images, (before, right, before, below))

    def _cut(self, features: Tensor, images: Tensor) -> Tensor:
        """The features without the cells that the padding added."""
        skip, ends = self._skipped, self._ends(images)
        if not self.shift and self.grain == self.output_stride:
            return features
        if (
            torch.compiler.is_compiling()
        ):  # torch.export asks of a slice whether it cuts: that depends on the size
            rows, columns = (torch.arange(skip, end, device=images.device) for end in ends)
            return features.index_select(2, rows).index_select(3, columns)
        return features[:, :, skip : ends[0], skip : ends[1]]

    def _run(self, body: nn.Module, images: Tensor) -> Tensor:
        """What the network gives: a map, its channels first or last, or tokens."""
        if self.features_only:
            maps: list[Tensor] = body(images)
            return maps[-1]
        forward_features: Any = getattr(body, "forward_features", body)
        features: Tensor = forward_features(images)
        return features

    def _features(self, images: Tensor) -> Tensor:
        features = self._run(self.body, images)
        if self.prefix is not None:  # (N, prefix + h·w, D): a vision transformer's tokens
            h, w = (
                (size + self.output_stride - 1) // self.output_stride for size in images.shape[2:]
            )
            return features[:, self.prefix :].transpose(1, 2).unflatten(2, (h, w))
        return features.permute(0, 3, 1, 2) if self.channels_last else features


class _Shift:
    """While it is entered, notes the strided layers that a pass of a square image runs through."""

    def __init__(self, body: nn.Module, output_stride: int) -> None:
        self.body, self.output_stride = body, output_stride
        self.errors: dict[int, float] = {}
        self.strides: dict[int, int] = {}

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
            # Of parallel branches the one that errs most stands for all: those of the features
            # agree, or their sum would make no sense; attention's keys (PVT's) do not err
            size, error = int(inputs[0].shape[2]), (kernel - stride) / 2 - padding
            self.errors[size] = max(self.errors.get(size, 0.0), error, key=abs)
            self.strides.setdefault(size, stride)

    def pixels(self) -> float:
        """How many pixels right of its place a cell looks.

        The sum over the layers of each one's error times the pixels between its input's cells;
        branches coarser than the features (HRNet's) do not count.
        """
        sizes = sorted(self.errors, reverse=True)
        steps = {size: sizes[0] / size for size in sizes}
        return sum(
            self.errors[size] * step for size, step in steps.items() if step < self.output_stride
        )

    def grain(self) -> int:
        """How many pixels the coarsest cells of the network are apart, also of a branch."""
        sizes = sorted(self.strides, reverse=True)
        return max((self.strides[size] * sizes[0] // size for size in sizes), default=1)
