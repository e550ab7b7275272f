"""Networks for inference on a CPU: the same numbers in less time and memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.models.efficientnet_lite import FINE_STAGE, Block, EfficientNetLite

_STRIP_FLOATS = 1 << 21  # of a strip's wide maps
Net = TypeVar("Net", bound=nn.Module)


def for_inference(model: Net, *, precision: str = "fp32") -> Net:
    """Return a network of the same numbers (within 1e-4) that runs faster on a CPU.

    EfficientNet-Lite is folded (:class:`FoldedLite`) in a copy; other networks, other devices and
    mixed precision come back as they are. `model` is in evaluation mode, and is not changed.
    """
    body = getattr(getattr(model, "backbone", None), "body", None)
    device = next(model.parameters()).device
    if not isinstance(body, EfficientNetLite) or device.type != "cpu" or precision != "fp32":
        return model
    folded = copy.deepcopy(model, {id(body): FoldedLite(body)})  # in the body's place
    return folded.eval().requires_grad_(False)


class FoldedConv(nn.Module):
    """A convolution with its BatchNorm folded in, turned by 180°, and ReLU6 where `act`.

    One step of oneDNN, where PyTorch has it, does all three.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, *, act: bool) -> None:
        super().__init__()
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("BatchNorm without running statistics cannot be folded")
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        turned = (conv.weight * scale[:, None, None, None]).detach().flip(2, 3)
        self.register_buffer("weight", turned.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", (norm.bias - norm.running_mean * scale).detach())
        self.weight: Tensor
        self.bias: Tensor
        self.stride, self.dilation, self.groups = conv.stride, conv.dilation, conv.groups
        self.padding = [
            d * (k - 1) // 2 for k, d in zip(conv.kernel_size, self.dilation, strict=True)
        ]
        self.act, self.fused = act, _fuses()

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → (N, D, ⌈H/stride⌉, ⌈W/stride⌉)."""
        how = (self.padding, self.stride, self.dilation, self.groups)
        if self.fused:
            act = ("hardtanh", [0.0, 6.0]) if self.act else ("none", [])
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
                images, self.weight, self.bias, *how, *act, ""
            )
            return fused
        images = _convolve(images, self.weight, self.bias, *how)
        return F.relu6(images, inplace=True) if self.act else images


def _convolve(
    images: Tensor,
    weight: Tensor,
    bias: Tensor,
    padding: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """PyTorch's convolution; a 1×1 one as a product of matrices, which copies nothing."""
    if weight.shape[2:] != (1, 1):
        return F.conv2d(
            images, weight, bias, tuple(stride), tuple(padding), tuple(dilation), groups
        )
    n, c, h, w = images.shape
    pixels = images.permute(0, 2, 3, 1).reshape(-1, c)
    product = torch.addmm(bias, pixels, weight[:, :, 0, 0].t())
    return product.view(n, h, w, -1).permute(0, 3, 1, 2)


def _fuses() -> bool:
    """Whether this PyTorch has oneDNN's convolutions with an activation, and they give 0 to 6."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops, "mkldnn")):
        return False
    images = torch.linspace(-9, 9, 4).view(1, 1, 2, 2)
    one, zero = torch.ones(1, 1, 1, 1), torch.zeros(1)
    try:
        found = torch.ops.mkldnn._convolution_pointwise(
            images, one, zero, [0, 0], [1, 1], [1, 1], 1, "hardtanh", [0.0, 6.0], ""
        )
    except (RuntimeError, AttributeError):
        return False
    return bool(torch.equal(found, images.clamp(0, 6)))


class FoldedLite(nn.Module):
    """:class:`smaf.models.efficientnet_lite.EfficientNetLite` for inference.

    BatchNorm is folded once. The network runs on the image turned by 180°, with its kernels turned
    alike: there TensorFlow's padding ("SAME") of the strided convolutions, an odd pixel on the
    right and below, is the symmetric padding that a convolution has itself, and no layer's input
    must be copied into a larger one.
    """

    def __init__(self, body: EfficientNetLite) -> None:
        super().__init__()
        self.stem = FoldedConv(body.conv_stem, body.bn1, act=True)
        self.blocks = nn.ModuleList(
            FoldedBlock(block) for block in body.modules() if isinstance(block, Block)
        )
        self.fine_channels = body.fine_channels
        finer = body.blocks[: FINE_STAGE + 1].modules()
        self.fine_block = sum(isinstance(module, Block) for module in finer) - 1
        self.head = FoldedConv(body.conv_head, body.bn2, act=True)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, 1280, h, w), as the network itself."""
        return self.with_fine(images)[0]

    def with_fine(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The features, and those at stride 4, as the network itself."""
        turned = images.flip(2, 3).contiguous(memory_format=torch.channels_last)
        turned = fine = self.stem(turned)
        for index, block in enumerate(self.blocks):
            turned = block(turned)
            fine = turned if index == self.fine_block else fine
        features: Tensor = self.head(turned)
        return features.flip(2, 3), fine.flip(2, 3)


class FoldedBlock(nn.Module):
    """A block of the network, worked on in strips of rows where its wide maps are large.

    A strip's wide maps stay in the processor's cache, and memory holds no whole ones.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.residual = block.residual
        *before, (conv, norm), last = block.pairs()
        self.expand = nn.ModuleList(FoldedConv(*pair, act=True) for pair in before)
        self.depthwise = FoldedConv(conv, norm, act=True)
        self.project = FoldedConv(*last, act=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → (N, D, ⌈H/stride⌉, ⌈W/stride⌉)."""
        n, _, height, width = images.shape
        rows = -(-height // self.depthwise.stride[0])
        row_floats = n * len(self.depthwise.weight) * width * self.depthwise.stride[0]
        step = max(8, _STRIP_FLOATS // row_floats)
        strips = [self._strip(images, top, min(top + step, rows)) for top in range(0, rows, step)]
        out = strips[0] if len(strips) == 1 else torch.cat(strips, dim=2)
        return out.add_(images) if self.residual else out

    def _strip(self, images: Tensor, top: int, bottom: int) -> Tensor:
        """Rows `top` to `bottom` of the block's result, without the residual.

        They are cut from what the rows that they look at give, and some more: those at the cuts see
        padding where the image goes on, and are dropped.
        """
        stride, pad = self.depthwise.stride[0], self.depthwise.padding[0]
        skipped = min(top, -(-pad // stride))
        wide = images[:, :, (top - skipped) * stride : (bottom - 1) * stride + pad + 1]
        for layer in self.expand:
            wide = layer(wide)
        wide = self.depthwise(wide)[:, :, skipped : skipped + bottom - top]
        strip: Tensor = self.project(wide)
        return strip
