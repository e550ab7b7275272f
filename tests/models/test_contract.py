"""One contract that every classifier keeps, whatever its backbone and head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smaf.models import HEADS, Classifier, ClassifierOutput, build_classifier

CLASSES = 20
# name, output stride, backbone's channels
BACKBONES = [
    ("resnet38", 8, 4096),
    ("tf_efficientnet_lite0", 16, 1280),
    ("resnet18", 8, 512),
    ("resnet18", 16, 512),
    ("vit_tiny_patch16_224", 16, 192),
]


def lively(name: str, **options: Any) -> Classifier:
    """A random network in which no branch is silent: timm starts the last BatchNorm of a residual
    block at 0."""
    torch.manual_seed(0)
    model = build_classifier(name, **options)
    for module in batchnorms(model):
        nn.init.ones_(module.weight)
    return model


@pytest.fixture(
    params=[pytest.param((b, h), id=f"{b[0]}-{b[1]}-{h}") for b in BACKBONES for h in HEADS]
)
def case(
    request: pytest.FixtureRequest, golden_resnet38: Callable[[str], Classifier]
) -> tuple[Classifier, str, int, int]:
    """A classifier, its head, output stride and the channels of its backbone."""
    (name, stride, channels), head = request.param
    if name == "resnet38":
        return golden_resnet38(head), head, stride, channels
    return (
        lively(name, num_classes=CLASSES, head=head, output_stride=stride),
        head,
        stride,
        channels,
    )


def images(h: int, w: int, n: int = 1) -> Tensor:
    return torch.randn(n, 3, h, w, generator=torch.Generator().manual_seed(h * w))


def batchnorms(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def test_contract(case: tuple[Classifier, str, int, int]) -> None:
    model, head, stride, channels = case
    outputs = CLASSES if head == "cls" else CLASSES + 1
    width = 128 if head == "smaf" else channels
    assert not model.training and model.feature_channels == width
    assert (model.output_stride, model.num_classes, model.head) == (stride, CLASSES, head)
    assert len(model.mean) == len(model.std) == 3

    # shapes on odd sizes and on one pixel; the score is the mean of the CAM
    with torch.inference_mode():
        for h, w in ((65, 97), (1, 1)):
            output = model(images(h, w))
            assert isinstance(output, ClassifierOutput)
            cam, features = output.cam, output.features
            assert cam.shape == (1, outputs, -(-h // stride), -(-w // stride))
            assert features.shape == (1, width, *cam.shape[2:])
            torch.testing.assert_close(output.scores, cam.flatten(2).mean(dim=2))
            assert torch.isfinite(cam).all()
            torch.testing.assert_close(model.forward_cam(images(h, w)), cam)
        torch.testing.assert_close(model.fc8(features), cam)  # the features are what the head sees

    # modes: the module comes back, BatchNorm stays as in evaluation
    assert model.train() is model and model.training and model.fc8.training
    assert not any(m.training for m in batchnorms(model))
    assert model.eval() is model and not any(m.training for m in model.modules())

    # what is trained: all but BatchNorm and the layers that the backbone names
    still = {id(p) for m in batchnorms(model) for p in m.parameters(recurse=False)}
    still |= {id(p) for name in model.frozen for p in model.get_submodule(name).parameters()}
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (id(parameter) not in still), name
    assert model.frozen == (
        ("conv1a", "b2", "b2_1", "b2_2") if model.backbone_name == "resnet38" else ()
    )

    # a training step: gradients arrive at head and backbone, running statistics stay
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items() if "running" in key}
    with torch.enable_grad():
        model(images(33, 49, n=2)).cam.square().mean().backward()
    own = dict(model.named_parameters())
    assert {name for name, p in own.items() if p.grad is not None} == {
        n for n, p in own.items() if p.requires_grad
    }
    first = next(name for name, p in own.items() if p.requires_grad)
    for name in (first, "fc8.weight", *(["cov_feat.weight"] if head == "smaf" else [])):
        assert float(own[name].grad.abs().sum()) > 0, name
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_batchnorm_learns_where_it_is_freed() -> None:
    model = build_classifier("resnet18", num_classes=3)
    model.freeze_batchnorm = False
    model.set_trainable().train()
    assert all(m.training for m in batchnorms(model))
    assert all(p.requires_grad for p in model.parameters())
    before = model.bn.running_mean.clone()
    model(images(32, 32, n=2))
    assert not torch.equal(model.bn.running_mean, before)


def test_output_stride_8_sees_the_same_weights_more_finely() -> None:
    """Dilation in place of stride: the coarse map's values appear on the fine map's even places."""
    fine = lively("resnet18", num_classes=4, head="eps", output_stride=8)
    coarse = build_classifier("resnet18", num_classes=4, head="eps", output_stride=16)
    coarse.load_state_dict(fine.state_dict())
    for model in (fine, coarse):  # aligned, a coarse cell looks between two fine ones
        model.backbone.shift = 0.0
    with torch.inference_mode():
        a, b = fine.forward_cam(images(96, 96)), coarse.forward_cam(images(96, 96))
    torch.testing.assert_close(a[:, :, ::2, ::2], b, atol=1e-4, rtol=1e-4)
