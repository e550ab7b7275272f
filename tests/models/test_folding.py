"""Networks for inference: the numbers of the network itself, at any size."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from smaf.models import LIGHT, build_classifier, build_segmenter, folding, for_inference
from smaf.models.efficientnet_lite import EfficientNetLite

SIZES = [(64, 96), (65, 97), (33, 40), (90, 71), (17, 16)]


def trained(model: nn.Module) -> nn.Module:
    """The network with BatchNorm statistics and weights that matter."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
            ):
                assert isinstance(values, Tensor)
                values.data.uniform_(low, high, generator=generator)
    return model.eval()


def images(size: tuple[int, int], count: int = 1) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(sum(size)))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_folded_backbone_gives_the_same_features(
    stride: int, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:  # a PyTorch without oneDNN
        monkeypatch.setattr(folding, "_fuses", lambda: False)
    body = trained(EfficientNetLite(output_stride=stride))
    folded = folding.FoldedLite(body)
    with torch.no_grad():
        for size in SIZES:
            for count in (1, 2):
                expected = body(images(size, count))
                found = folded(images(size, count))
                assert found.shape == expected.shape
                scale = expected.abs().max()
                torch.testing.assert_close(found / scale, expected / scale, atol=5e-5, rtol=0)


def test_networks_with_it_give_the_same_maps() -> None:
    classifier = trained(build_classifier(LIGHT, num_classes=3))
    segmenter = trained(build_segmenter(LIGHT, num_classes=4))
    for model, run in ((classifier, classifier.forward_cam), (segmenter, segmenter)):
        before = copy.deepcopy(model.state_dict())
        fast = for_inference(model)
        assert type(fast) is type(model) and fast is not model
        with torch.no_grad():
            for size in SIZES[:3]:
                expected = run(images(size))
                found = (fast.forward_cam if model is classifier else fast)(images(size))
                torch.testing.assert_close(
                    found.softmax(dim=1), expected.softmax(dim=1), atol=1e-4, rtol=0
                )
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_others_come_back_as_they_are() -> None:
    other, light = (
        build_classifier("resnet38", num_classes=2),
        build_classifier(LIGHT, num_classes=2),
    )
    assert for_inference(other) is other
    assert for_inference(light, precision="bf16") is light


def test_activations_in_place_leave_gradients_as_they_were() -> None:
    """ReLU6 in place of a new tensor: the gradient of the first layer, by finite differences."""
    body = trained(EfficientNetLite(output_stride=16)).double()
    x = images((32, 32)).double().requires_grad_()
    body(x).square().mean().backward()
    assert x.grad is not None
    step = torch.zeros_like(x)
    for place in ((0, 0, 3, 4), (0, 2, 17, 30), (0, 1, 31, 0)):
        step.zero_()[place] = 1e-5
        with torch.no_grad():
            up, down = (body(x + sign * step).square().mean() for sign in (1, -1))
        assert float(x.grad[place]) == pytest.approx(float((up - down) / 2e-5), rel=1e-3, abs=1e-8)
