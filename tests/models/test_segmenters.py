"""Segmentation networks: DeepLab-V2's golden numbers, its starting weights, the light network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from smaf.core.errors import InputError
from smaf.models import (
    DEEPLAB,
    LIGHT,
    Segmenter,
    build_classifier,
    build_network,
    build_segmenter,
    for_inference,
    load_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from smaf.models.deeplab import MEAN
from smaf.models.efficientnet_lite import LITE_NAMES
from smaf.models.timm_backbone import TimmBackbone

SMALL = "test_efficientnet"


@pytest.fixture(scope="module")
def keys(golden: Callable[[str], Path]) -> dict[str, tuple[int, ...]]:
    stored = json.loads(golden("deeplab_v2_msc_keys.json").read_text())
    return {key: tuple(shape) for key, shape in stored.items()}


@pytest.fixture(scope="module")
def deeplab(
    keys: dict[str, tuple[int, ...]], golden_weights: Callable[[str, tuple[int, ...]], Tensor]
) -> Segmenter:
    """DeepLab-V2 with golden weights. The tests share it: do not step an optimiser."""
    with torch.device("meta"):
        model = build_segmenter(DEEPLAB, num_classes=21)
    model.load_state_dict(
        {key: golden_weights(key, shape) for key, shape in keys.items()}, assign=True
    )
    return model


@pytest.fixture
def checkpoint(deeplab: Segmenter, tmp_path: Path) -> Callable[[dict[str, Tensor]], Path]:
    """State dict → a file that is deleted after the test: it has 170 MB."""
    path = tmp_path / "deeplab.pth"

    def write(state: dict[str, Tensor]) -> Path:
        torch.save(state, path)
        return path

    yield write
    path.unlink(missing_ok=True)


def test_deeplab_has_the_published_names_and_numbers(
    deeplab: Segmenter, keys: dict[str, tuple[int, ...]], golden: Callable[[str], Path]
) -> None:
    assert {key: tuple(value.shape) for key, value in deeplab.state_dict().items()} == keys
    assert (deeplab.num_classes, deeplab.output_stride, deeplab.bgr, deeplab.training) == (
        21,
        8,
        True,
        False,
    )
    stored = np.load(golden("deeplab_v2_msc.npz"))
    images = torch.from_numpy(stored["x"])
    with torch.inference_mode():
        base, highest = deeplab.get_submodule("base")(images), deeplab(images)
        np.testing.assert_allclose(base.numpy(), stored["base"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(highest.numpy(), stored["msc"], rtol=1e-4, atol=1e-4)
        every = deeplab.train()(images)
        deeplab.eval()
    assert [tuple(part.shape[2:]) for part in every] == [(13, 17), (7, 9), (10, 13), (13, 17)]
    np.testing.assert_allclose(
        every[0].numpy(), stored["base"], rtol=1e-4, atol=1e-4
    )  # BatchNorm stays frozen
    np.testing.assert_allclose(every[3].numpy(), stored["msc"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_checkpoints_of_deeplab_pytorch(
    deeplab: Segmenter, checkpoint: Callable[[dict[str, Tensor]], Path]
) -> None:
    """Its VOC checkpoint is a whole network; its COCO initialisation has no `base.` and no ASPP."""
    whole = deeplab.state_dict()
    path = checkpoint(whole)
    read = read_checkpoint(path)
    info = read.segmenter
    assert info is not None and (info.name, info.num_classes) == (DEEPLAB, 21)
    assert read.state.keys() == whole.keys()
    again = build_segmenter(DEEPLAB, num_classes=21, pretrained=read).state_dict()
    assert all(torch.equal(again[key], whole[key]) for key in whole)
    with pytest.raises(InputError, match="class count with background 21, the model has 7"):
        build_segmenter(DEEPLAB, num_classes=7, pretrained=path)
    coco = {key.removeprefix("base."): value for key, value in whole.items() if ".aspp." not in key}
    start = build_segmenter(DEEPLAB, num_classes=7, pretrained=checkpoint(coco)).state_dict()
    assert all(torch.equal(start[f"base.{key}"], value) for key, value in coco.items())
    assert (
        0.008 < float(start["base.aspp.c0.weight"].std()) < 0.012
        and not start["base.aspp.c3.bias"].any()
    )
    del coco["layer4.block7.reduce.conv.weight"]
    with pytest.raises(InputError, match=r"base\.layer4\.block7\.reduce\.conv\.weight is missing"):
        build_segmenter(DEEPLAB, num_classes=21, pretrained=checkpoint(coco))


@pytest.mark.slow
def test_torchvisions_imagenet_weights(checkpoint: Callable[[dict[str, Tensor]], Path]) -> None:
    """RGB of ImageNet's statistics before, BGR less DeepLab's mean after: the first layer sees the
    same."""
    torch.manual_seed(0)
    resnet = torchvision.models.resnet101().eval()
    for module in resnet.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
    model = build_segmenter(DEEPLAB, num_classes=21, pretrained=checkpoint(resnet.state_dict()))
    pixels = torch.rand(1, 3, 64, 48)  # RGB
    theirs = (pixels - torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)) / torch.tensor(
        (0.229, 0.224, 0.225)
    ).view(3, 1, 1)
    ours = ((pixels - torch.tensor(MEAN).view(3, 1, 1)) * 255).flip(1)
    with torch.inference_mode():
        a = resnet.bn1(resnet.conv1(theirs))
        stem = model.get_submodule("base.layer1.conv1")
        b = stem.bn(stem.conv(ours))
        torch.testing.assert_close(a[:, :, 2:-2, 2:-2], b[:, :, 2:-2, 2:-2], atol=1e-4, rtol=1e-4)
        # A block without stride is the same block
        x = torch.rand(1, 256, 8, 8)
        torch.testing.assert_close(
            resnet.layer1[2](x), model.get_submodule("base.layer2.block3")(x)
        )
        torch.testing.assert_close(
            resnet.layer3[22].bn3.running_mean,
            model.get_submodule("base.layer4.block23.increase.bn").running_mean,
        )


def test_light_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_segmenter(SMALL, num_classes=4)
    images = torch.randn(2, 3, 65, 98)
    with torch.inference_mode():
        logits = model(images)
        assert logits.shape == (2, 4, 5, 7)
        (learnt,) = model.train()(images)
        torch.testing.assert_close(learnt, logits)
    fine = build_segmenter(SMALL, num_classes=4, output_stride=8)
    assert [conv.dilation[0] for conv in fine.get_submodule("aspp").children()] == [6, 12, 18, 24]
    assert [conv.dilation[0] for conv in model.get_submodule("aspp").children()] == [3, 6, 9, 12]
    path = tmp_path / "s.pth"
    write_checkpoint(path, model, ("a", "b", "c"))
    info = read_checkpoint(path).segmenter
    assert info is not None and (info.name, info.num_classes, info.output_stride) == (SMALL, 4, 16)
    assert info.class_names == ("a", "b", "c")
    again = build_segmenter(SMALL, num_classes=4, pretrained=path)
    with torch.inference_mode():
        torch.testing.assert_close(again(images), logits)


def test_light_network_starts_as_the_classifier_is(tmp_path: Path) -> None:
    """An EPS head becomes the ASPP's first branch: same logits, background first instead of
    last."""
    torch.manual_seed(0)
    classifier = build_classifier(SMALL, num_classes=3, head="eps")
    write_checkpoint(tmp_path / "c.pth", classifier, ("a", "b", "c"))
    model = build_segmenter(SMALL, num_classes=4, pretrained=tmp_path / "c.pth")
    images = torch.randn(1, 3, 64, 80)
    with torch.inference_mode():
        torch.testing.assert_close(
            model(images), classifier.forward_cam(images).roll(1, dims=1), atol=1e-5, rtol=1e-5
        )
    other = build_segmenter(
        SMALL, num_classes=6, pretrained=tmp_path / "c.pth"
    )  # other classes: the backbone alone
    torch.testing.assert_close(
        other.state_dict()["backbone.body.conv_stem.weight"],
        classifier.state_dict()["backbone.body.conv_stem.weight"],
    )
    assert float(other.state_dict()["aspp.c1.weight"].std()) > 0.008


def trained_decoder(model: Segmenter) -> Segmenter:
    """The network with a decoder that adds something."""
    assert model.decoder is not None
    nn.init.normal_(model.decoder.add.weight, generator=torch.Generator().manual_seed(1))
    return model


def test_a_decoder_starts_with_the_logits_of_the_network_without(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_segmenter(LIGHT, num_classes=4)
    write_checkpoint(tmp_path / "s.pth", model, ("a", "b", "c"))
    fine = build_segmenter(LIGHT, num_classes=4, pretrained=tmp_path / "s.pth", decoder=True)
    images = torch.randn(2, 3, 65, 98)
    with torch.inference_mode():
        coarse, logits = model(images), fine(images)
    assert coarse.shape == (2, 4, 5, 7) and logits.shape == (2, 4, 17, 25)
    whole = F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits, whole[:, :, :17, :25])


def test_a_decoders_features_lie_where_its_logits_do() -> None:
    """A cell looks at most 2 pixels away from its place; random weights see some noise."""
    torch.manual_seed(0)
    for stride, height, width in ((16, 375, 240), (8, 120, 121)):
        backbone = TimmBackbone(LIGHT, output_stride=stride).eval()
        images = torch.randn(1, 3, height, width, requires_grad=True)
        _, fine = backbone.with_fine(images)
        assert fine.shape == (1, 24, -(-height // 4), -(-width // 4))
        fine[:, :, 20, 10].square().sum().backward()
        assert images.grad is not None
        seen = images.grad.abs().sum(dim=(0, 1))
        rows, columns = (
            float((seen.sum(dim=1 - axis) * torch.arange(seen.shape[axis])).sum() / seen.sum())
            for axis in (0, 1)
        )
        assert abs(rows - 81.5) < 2.5 and abs(columns - 41.5) < 2.5


def test_a_decoder_starts_with_a_classifiers_maps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = build_classifier(LIGHT, num_classes=3, head="eps")
    write_checkpoint(tmp_path / "c.pth", classifier, ("a", "b", "c"))
    model = build_segmenter(LIGHT, num_classes=4, pretrained=tmp_path / "c.pth", decoder=True)
    images = torch.randn(1, 3, 64, 80)
    with torch.inference_mode():
        maps = classifier.forward_cam(images).roll(1, dims=1)
        maps = F.interpolate(maps, scale_factor=4, mode="bilinear", align_corners=False)
        torch.testing.assert_close(model(images), maps, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", LITE_NAMES)
def test_all_sizes_have_a_decoder(name: str) -> None:
    torch.manual_seed(0)
    model = trained_decoder(build_segmenter(name, num_classes=3, output_stride=8, decoder=True))
    images = torch.randn(1, 3, 33, 50)
    with torch.inference_mode():
        logits, folded = model(images), for_inference(model)(images)
    assert logits.shape == (1, 3, 9, 13)
    scale = logits.abs().max()
    torch.testing.assert_close(folded / scale, logits / scale, atol=5e-5, rtol=0)


@pytest.mark.parametrize("told", [True, False])
def test_a_file_that_tells_of_a_decoder_wrongly_is_refused(told: bool, tmp_path: Path) -> None:
    path = tmp_path / "s.pth"
    write_checkpoint(path, build_segmenter(LIGHT, num_classes=3, decoder=not told), ("a", "b"))
    content = torch.load(path, weights_only=True)
    content["info"]["decoder"] = told
    torch.save(content, path)
    with pytest.raises(InputError, match="decoder, its info says otherwise"):
        read_checkpoint(path)
    plain = build_segmenter(LIGHT, num_classes=3)
    if not told:  # the tensors alone, as a framework keeps them
        torch.save(content["state_dict"], path)
        with pytest.raises(InputError, match="have a decoder, the model has none"):
            load_checkpoint(plain, path)


def test_a_decoder_is_kept_and_folded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = trained_decoder(build_segmenter(LIGHT, num_classes=3, decoder=True))
    path, images = tmp_path / "s.pth", torch.randn(1, 3, 90, 71)
    write_checkpoint(path, model, ("a", "b"))
    again = build_network(read_checkpoint(path))
    assert isinstance(again, Segmenter)
    with torch.inference_mode():
        logits = model(images)
        torch.testing.assert_close(again(images), logits)
        fast = for_inference(model)
        assert fast is not model
        scale = logits.abs().max()
        torch.testing.assert_close(fast(images) / scale, logits / scale, atol=5e-5, rtol=0)
        plain = build_segmenter(LIGHT, num_classes=3)
        with pytest.raises(InputError, match="have a decoder, the model has none"):
            load_checkpoint(plain, path)


@pytest.mark.parametrize(
    ("name", "words"), [(DEEPLAB, "has no decoder"), (SMALL, "the decoder needs one of")]
)
def test_networks_without_a_decoder_say_so(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build_segmenter(name, num_classes=3, decoder=True)


@pytest.mark.parametrize(
    ("name", "classes", "words"),
    [
        ("resnet38", 21, "ResNet-38 is a classifier"),
        ("no_such_net", 21, "neither resnet38 nor a timm model"),
        (SMALL, 1, "expected at least 2, background included"),
    ],
)
def test_bad_names(name: str, classes: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build_segmenter(name, num_classes=classes)


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "s.pth", build_segmenter(SMALL, num_classes=4), ("a", "b", "c"))
    with pytest.raises(InputError, match=f"have the network {SMALL}, the model has resnet18"):
        build_segmenter("resnet18", num_classes=4, pretrained=tmp_path / "s.pth")
    write_checkpoint(
        tmp_path / "c.pth", build_classifier("resnet18", num_classes=3, head="eps"), ("a", "b", "c")
    )
    model = build_segmenter(SMALL, num_classes=4)
    with pytest.raises(InputError, match="a classifier with the backbone resnet18"):
        load_checkpoint(model, tmp_path / "c.pth")


def test_optimiser_groups() -> None:
    """New layers learn ten times as fast; biases twice that, without decay; frozen BatchNorm not at
    all."""
    from smaf.engine.training.optim import OptimSettings, parameter_groups

    model = build_segmenter(LIGHT, num_classes=4)
    groups = {
        g["name"]: g
        for g in parameter_groups(
            model, OptimSettings(lr=1.0, weight_decay=0.5), head=model.head_modules
        )
    }
    assert len(groups["head weights"]["params"]) == len(groups["head biases"]["params"]) == 4
    assert [groups[n]["lr"] for n in ("weights", "head weights", "head biases")] == [
        1.0,
        10.0,
        20.0,
    ]
    assert (
        groups["head biases"]["weight_decay"] == 0.0
        and groups["head weights"]["weight_decay"] == 0.5
    )
    assert not groups["biases"]["params"]  # BatchNorm's
