"""Checkpoints as frameworks wrap them load as the network they hold; where two could be meant, that
is said."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from smaf.core.errors import InputError
from smaf.models import (
    Classifier,
    build_classifier,
    build_segmenter,
    load_checkpoint,
    read_checkpoint,
)

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> Classifier:
    torch.manual_seed(3)
    return build_classifier("test_efficientnet", num_classes=3, head="eps")


@pytest.fixture(scope="module")
def state(network: Classifier) -> State:
    return network.state_dict()


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def optimiser(network: Classifier) -> dict[str, Any]:
    adam = torch.optim.Adam(network.parameters())
    sum(parameter.sum() for parameter in network.parameters()).backward()
    adam.step()
    return adam.state_dict()


def check(path: Path, value: Any, network: Classifier) -> None:
    """The checkpoint gives the original's CAMs."""
    torch.save(value, path)
    torch.manual_seed(4)
    other = build_classifier("test_efficientnet", num_classes=3, head="eps")
    images = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert not torch.equal(other.forward_cam(images), network.forward_cam(images))
        load_checkpoint(other, path)
        assert torch.equal(other.forward_cam(images), network.forward_cam(images))


@pytest.mark.parametrize(
    "names",
    [
        ("state_dict",),
        ("model",),
        ("model_state_dict",),
        ("net",),
        ("network",),
        ("ema",),
        ("weights",),
        ("anything",),
        ("Net", "model_state"),
        ("student", "model"),
        ("a", "b", "c"),
    ],
)
def test_nested(tmp_path: Path, network: Classifier, state: State, names: tuple[str, ...]) -> None:
    value: Any = state
    for name in reversed(names):
        value = {
            name: value,
            "epoch": 7,
            "best": 0.5,
            "note": "text",
            "classes": ["a"],
            "scores": torch.zeros(3),
        }
    check(tmp_path / "w.pth", value, network)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "model.",
        "_orig_mod.",
        "module._orig_mod.",
        "module.model.",
        "net.",
        "_orig_mod.module.",
        "student.backbone_and_head.",
        "_forward_module.model.",
    ],
)
def test_prefixes(tmp_path: Path, network: Classifier, state: State, prefix: str) -> None:
    check(tmp_path / "w.pth", under(prefix, state), network)
    check(tmp_path / "w.pth", {"state_dict": under(prefix, state)}, network)


def test_compiled_parts(tmp_path: Path, network: Classifier, state: State) -> None:
    check(
        tmp_path / "w.pth",
        {key.replace("backbone.", "backbone._orig_mod."): v for key, v in state.items()},
        network,
    )
    with pytest.raises(InputError, match="hold a network twice, compiled and as it is"):
        check(tmp_path / "w.pth", {**state, **under("_orig_mod.", state)}, network)


def test_lightning(tmp_path: Path, state: State) -> None:
    """A Lightning checkpoint, whose optimiser holds tensors, too."""
    torch.manual_seed(3)
    network = build_classifier("test_efficientnet", num_classes=3, head="eps")
    images = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    value = {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": under("model.", state),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "optimizer_states": [optimiser(network)],
        "optimizer_state": {"exp_avg": under("model.", state)},
        "lr_schedulers": [{"base_lrs": [0.1], "last_epoch": 3}],
        "hyper_parameters": {"lr": 0.1, "name": "eps"},
    }
    torch.save(value, tmp_path / "last.ckpt")
    fresh = build_classifier("test_efficientnet", num_classes=3, head="eps")
    load_checkpoint(fresh, tmp_path / "last.ckpt")
    torch.manual_seed(3)
    with torch.inference_mode():
        expected = build_classifier("test_efficientnet", num_classes=3, head="eps").forward_cam(
            images
        )
        assert torch.equal(fresh.forward_cam(images), expected)


def test_known_networks_are_found_by_their_keys(tmp_path: Path) -> None:
    eps = {"conv1a.weight": torch.ones(4, 3, 3, 3), "fc8.weight": torch.ones(21, 8, 1, 1)}
    for value in (
        under("model.", eps),
        {"net": under("some.thing.", eps)},
        {"a": {"b": under("module.", eps)}},
    ):
        torch.save(value, tmp_path / "eps.pth")
        checkpoint = read_checkpoint(tmp_path / "eps.pth")
        info = checkpoint.classifier
        assert set(checkpoint.state) == set(eps)
        assert info is not None and (info.backbone, info.head, info.num_classes) == (
            "resnet38",
            "eps",
            20,
        )


def test_timm_backbones_below_a_prefix(tmp_path: Path, network: Classifier, state: State) -> None:
    """A backbone that was trained by other code, alone: below `encoder.`; its head is dropped in
    silence."""
    body = {
        k.removeprefix("backbone.body."): v
        for k, v in state.items()
        if k.startswith("backbone.body.")
    }
    whole = under(
        "encoder.",
        {**body, "classifier.weight": torch.zeros(9, 256), "classifier.bias": torch.zeros(9)},
    )
    torch.save({"model": whole}, tmp_path / "body.pth")
    torch.manual_seed(5)
    classifier = build_classifier("test_efficientnet", num_classes=5, head="smaf")
    segmenter = build_segmenter("test_efficientnet", num_classes=4)
    load_checkpoint(classifier, tmp_path / "body.pth")
    load_checkpoint(segmenter, tmp_path / "body.pth")
    for model in (classifier, segmenter):
        own = model.state_dict()
        assert all(torch.equal(own[f"backbone.body.{key}"], value) for key, value in body.items())


def test_of_several_the_known_one_is_taken_with_a_word(
    tmp_path: Path, network: Classifier, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    zeros = {key: value * 0 for key, value in state.items()}
    with caplog.at_level(logging.WARNING, "smaf"):
        check(
            tmp_path / "w.pth",
            {"discriminator": zeros, "state_dict_ema": dict(zeros), "model": state},
            network,
        )
    assert (
        "hold several state dicts (discriminator, state_dict_ema, model): model is taken"
        in caplog.text
    )
    for value in (
        {"generator": state, "discriminator": zeros},
        {"a": {"model": state}, "b": {"model": zeros}},
    ):
        with pytest.raises(
            InputError, match=r"hold several state dicts .*: save one of them alone"
        ):
            check(tmp_path / "w.pth", value, network)


def test_what_is_no_tensor_among_tensors_is_named(
    tmp_path: Path, network: Classifier, state: State
) -> None:
    check(tmp_path / "w.pth", {**state, "epoch": 3, "best": "0.5"}, network)
    with pytest.raises(InputError, match=r"hold \[1, 2\] for fc8\.weight, expected a tensor"):
        check(tmp_path / "w.pth", {**state, "fc8.weight": [1, 2]}, network)
    with pytest.raises(InputError, match="cannot be read as tensors"):
        check(tmp_path / "w.pth", {"state_dict": state, "args": Namespace(lr=0.1)}, network)
    shared: Any = {"x": 1}
    for _ in range(60):  # 2**60 ways through it
        shared = {"a": shared, "b": shared}
    with pytest.raises(InputError, match="hold no state dict"):
        check(tmp_path / "w.pth", shared, network)


def test_weights_of_a_larger_network_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ResNet-34's first blocks have the names and shapes of ResNet-18."""
    large = build_classifier("resnet34", num_classes=3).state_dict()
    body = {
        k.removeprefix("backbone.body."): v
        for k, v in large.items()
        if k.startswith("backbone.body.")
    }
    torch.save(
        {**body, "fc.weight": torch.zeros(9, 512), "fc.bias": torch.zeros(9)}, tmp_path / "r34.pth"
    )
    with caplog.at_level(logging.WARNING, "smaf"):
        build_classifier("resnet34", num_classes=3, pretrained=tmp_path / "r34.pth")
    assert not caplog.text
    with caplog.at_level(logging.WARNING, "smaf"):
        build_classifier("resnet18", num_classes=3, pretrained=tmp_path / "r34.pth")
    assert (
        "tensors that the backbone resnet18 with head smaf and 3 classes has no place for"
        in caplog.text
    )
