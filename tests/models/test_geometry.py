"""Where a backbone's cells look, what training leaves alone, and the fast forms of
EfficientNet-Lite0's layers."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from smaf.core.errors import InputError
from smaf.models import LIGHT, build_classifier
from smaf.models.depthwise import DilatedDepthwise, speed_up_depthwise
from smaf.models.efficientnet_lite import LITE_NAMES, Conv2dSame, EfficientNetLite, conv_norm
from smaf.models.timm_backbone import TimmBackbone

# TensorFlow's padding looks to the right, symmetric padding to the left, patches look straight
# ahead
SHIFTS = [
    (LIGHT, 16, 7.5),
    (LIGHT, 8, 3.5),
    ("resnet18", 16, -7.5),
    ("resnet18", 8, -3.5),
    ("convnext_atto", 16, 0.0),
    ("vit_tiny_patch16_224", 16, 0.0),
    ("densenet121", 16, -1.5),
    ("hrnet_w18_small", 8, -3.5),
    ("pvt_v2_b0", 16, -7.5),
]


def looks_at(backbone: TimmBackbone, cell: int, side: int = 480) -> float:
    """The column around which the pixels lie that a cell of the diagonal sees: the gradient's
    centre of mass."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, side, side, requires_grad=True)
    features = backbone(images)
    features[:, :, cell, cell].square().sum().backward()
    weight = images.grad.abs().sum(dim=(0, 1, 2))
    return float((weight * torch.arange(side)).sum() / weight.sum())


@pytest.mark.parametrize(("name", "stride", "shift"), SHIFTS)
def test_shift_is_read_off_the_layers(name: str, stride: int, shift: float) -> None:
    backbone = TimmBackbone(name, output_stride=stride).eval()
    assert backbone.shift == shift
    for side in (stride * 3, 50, 65):
        expected = -(-side // stride)
        assert backbone(torch.randn(1, 3, side, side)).shape[2:] == (expected, expected), side


@pytest.mark.parametrize("name", [LIGHT, "resnet18"])
def test_cells_look_where_resizing_takes_them_to_be(name: str) -> None:
    """Cell 15 of 30 stands for the pixels 240..255. Random weights see some noise, and the image's
    edges cut what EfficientNet sees unaligned."""
    torch.manual_seed(0)
    backbone = TimmBackbone(name, output_stride=16).eval()
    aligned = looks_at(backbone, 15)
    backbone.shift = 0.0
    assert aligned == pytest.approx(247.5, abs=2.0)
    away = looks_at(backbone, 15) - aligned
    assert 3.0 < away < 9.0 if name == LIGHT else away == pytest.approx(-8.0, abs=1.0)


@pytest.mark.parametrize(
    ("name", "stride"),
    [(LIGHT, 8), (LIGHT, 16), (LIGHT, 32), *((name, 16) for name in LITE_NAMES[1:])],
)
def test_efficientnet_lite_is_timms(name: str, stride: int) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=0, global_pool="", output_stride=stride).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    ours = EfficientNetLite(name, output_stride=stride).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    ours, theirs = ours.double(), theirs.double()
    images = torch.randn(2, 3, 97, 130, dtype=torch.float64)
    torch.testing.assert_close(ours(images), theirs(images))
    both = [net.train()(images) for net in (ours, theirs)]  # free BatchNorm
    torch.testing.assert_close(*both)


@pytest.mark.parametrize("norm_trains", [False, True])
def test_folded_batchnorm_has_the_same_gradients(norm_trains: bool) -> None:
    torch.manual_seed(0)
    conv, norm = Conv2dSame(3, 5, 3, stride=2, bias=False), nn.BatchNorm2d(5)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    norm.train(norm_trains)
    plain = copy.deepcopy((conv, norm))
    images = torch.randn(2, 3, 9, 8)
    outputs = conv_norm(conv, norm, images), torch.clamp(plain[1](plain[0](images)), 0.0, 6.0)
    torch.testing.assert_close(*outputs)
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(conv.weight.grad, plain[0].weight.grad)
    torch.testing.assert_close(norm.weight.grad, plain[1].weight.grad)
    torch.testing.assert_close(norm.bias.grad, plain[1].bias.grad)


@pytest.mark.parametrize(
    ("kernel", "dilation", "size"),
    [(3, 2, (8, 8)), (5, 2, (13, 9)), (3, 4, (6, 7)), (5, 2, (1, 3))],
)
def test_phased_depthwise_is_the_dilated_one(
    kernel: int, dilation: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(
        6, 6, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation, groups=6
    )
    fast = nn.Sequential(copy.deepcopy(plain))
    names = list(fast.state_dict())
    speed_up_depthwise(fast)
    assert isinstance(fast[0], DilatedDepthwise) and list(fast.state_dict()) == names
    images = torch.randn(2, 6, *size, requires_grad=True)
    again = images.detach().clone().requires_grad_()
    results = plain(images), fast(again)
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)
    for result in results:
        (result * torch.arange(result.numel()).reshape(result.shape)).sum().backward()
    torch.testing.assert_close(images.grad, again.grad, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(plain.weight.grad, fast[0].weight.grad, rtol=1e-4, atol=1e-1)


def test_other_convolutions_stay() -> None:
    kept = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 8, 3, padding=1, dilation=2, groups=8),
        nn.Conv2d(8, 8, 3, stride=2, padding=2, dilation=2, groups=8),
    )
    speed_up_depthwise(kept)
    assert not any(isinstance(m, DilatedDepthwise) for m in kept)


def test_frozen_layers_stay() -> None:
    model = build_classifier(LIGHT, num_classes=3, head="eps")
    model.freeze_batchnorm = False
    model.freeze(["conv_stem", "blocks.0"])
    model.set_trainable().train()
    before = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.randn(2, 3, 64, 64)).cam.square().mean().backward()
    optimiser.step()
    moved = {
        key for key, value in model.state_dict().items() if not torch.equal(value, before[key])
    }
    assert not any(
        key.startswith(("backbone.body.conv_stem", "backbone.body.blocks.0.")) for key in moved
    )
    assert (
        "backbone.body.blocks.1.0.conv_pw.weight" in moved
        and "backbone.body.blocks.1.0.bn1.running_mean" in moved
    )


def test_unknown_layer_is_named() -> None:
    model = build_classifier(LIGHT, num_classes=3)
    with pytest.raises(
        InputError, match=r"--freeze layer1: tf_efficientnet_lite0 has no such layer.*conv_stem"
    ):
        model.freeze(["layer1"])
