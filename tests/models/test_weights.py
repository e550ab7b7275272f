"""Checkpoints of every format are read alike; those that do not fit, or would run code, are refused
by name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from smaf.core.errors import InputError, MissingInputError
from smaf.models import (
    Classifier,
    ClassifierInfo,
    build_classifier,
    load_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

NAMES = ("cat", "cow", "dog")
SMALL = {"conv1a.weight": (4, 3, 3, 3), "b2.bn_branch2a.weight": (4,), "bn7.bias": (8,)}


def small(head: str, outputs: int = 21) -> dict[str, Tensor]:
    """A state dict with the published names, narrow: reading is the same."""
    shapes = {**SMALL, "fc8.weight": (outputs, 8 if head == "eps" else 128, 1, 1)}
    if head == "smaf":
        shapes["cov_feat.weight"] = (128, 8, 1, 1)
    generator = torch.Generator().manual_seed(len(head))
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return set(a) == set(b) and all(torch.equal(a[key], b[key]) for key in a)


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


@pytest.fixture
def light() -> Classifier:
    torch.manual_seed(1)
    return build_classifier("resnet18", num_classes=3, head="smaf")


def test_eps_checkpoint(tmp_path: Path) -> None:
    state = small("eps")
    for prefix in ("", "module."):
        path = saved(tmp_path / "eps.pth", {prefix + key: value for key, value in state.items()})
        assert same(read_checkpoint(path).state, state)
        assert read_checkpoint(path).classifier == ClassifierInfo("resnet38", "eps", 20, 8, ())


def test_smaf_checkpoint(tmp_path: Path) -> None:
    state = small("smaf")
    wrapped = {"module." + key: value for key, value in state.items()}
    path = saved(
        tmp_path / "smaf.pth",
        {"Net": {"model_state": wrapped, "objective_vectors": torch.zeros(21, 128)}, "iter": 20000},
    )
    assert same(read_checkpoint(path).state, state)
    assert read_checkpoint(path).classifier == ClassifierInfo("resnet38", "smaf", 20, 8, ())


def test_imagenet_weights_have_no_head(tmp_path: Path) -> None:
    state = {key: value for key, value in small("eps").items() if key != "fc8.weight"}
    assert read_checkpoint(saved(tmp_path / "body.pth", state)).classifier is None


@pytest.mark.parametrize("head", ["smaf", "eps", "cls"])
def test_own_file_round_trip(tmp_path: Path, head: str) -> None:
    torch.manual_seed(2)
    model = build_classifier("resnet18", num_classes=3, head=head, output_stride=8)
    path = tmp_path / "model.pth"
    write_checkpoint(path, model, NAMES)
    assert read_checkpoint(path).classifier == ClassifierInfo("resnet18", head, 3, 8, NAMES)
    assert same(read_checkpoint(path).state, model.state_dict())
    again = build_classifier("resnet18", num_classes=3, head=head, output_stride=8, pretrained=path)
    image = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(again.forward_cam(image), model.forward_cam(image))


def test_timm_state_dict_fills_the_backbone_only(tmp_path: Path, light: Classifier) -> None:
    body = {
        k.removeprefix("backbone.body."): v * 0 + 0.5
        for k, v in light.state_dict().items()
        if "body" in k
    }
    path = saved(
        tmp_path / "resnet18.pth", {"state_dict": {**body, "fc.weight": torch.zeros(1000, 512)}}
    )
    head = light.fc8.weight.clone()
    load_checkpoint(light, path)
    assert float(light.state_dict()["backbone.body.layer4.1.conv2.weight"].mean()) == 0.5
    assert torch.equal(light.fc8.weight, head)


def test_misfits_are_named(tmp_path: Path, light: Classifier) -> None:
    path = tmp_path / "light.pth"
    write_checkpoint(path, light, NAMES)
    cases = {
        r"head smaf, the model has eps: build the model with head smaf": {
            "backbone": "resnet18",
            "head": "eps",
        },
        r"class count 3, the model has 5": {"backbone": "resnet18", "num_classes": 5},
        r"backbone resnet18, the model has tf_efficientnet_lite0": {
            "backbone": "tf_efficientnet_lite0"
        },
    }
    for message, options in cases.items():
        with pytest.raises(InputError, match=message):
            build_classifier(**{"num_classes": 3, "pretrained": path, **options})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="backbone resnet38, the model has resnet18"):
        load_checkpoint(light, saved(tmp_path / "eps.pth", small("eps")))
    bodies = {
        k: v
        for k, v in build_classifier("resnet34", num_classes=3).state_dict().items()
        if "body" in k
    }
    with pytest.raises(InputError, match=r"not of the backbone tf_efficientnet_lite0 .* missing"):
        build_classifier(
            "tf_efficientnet_lite0", num_classes=3, pretrained=saved(tmp_path / "r34.pth", bodies)
        )
    wide = {**light.state_dict(), "fc8.weight": torch.zeros(9, 128, 1, 1)}
    with pytest.raises(
        InputError, match=r"fc8\.weight is \(9, 128, 1, 1\), expected \(4, 128, 1, 1\)"
    ):
        load_checkpoint(light, saved(tmp_path / "wide.pth", wide))


def test_a_refused_file_leaves_the_model_as_it_was(tmp_path: Path, light: Classifier) -> None:
    before = {key: value.clone() for key, value in light.state_dict().items()}
    state = {key: value + 1 for key, value in light.state_dict().items()}
    del state["fc8.weight"]
    with pytest.raises(InputError, match=r"fc8\.weight is missing"):
        load_checkpoint(light, saved(tmp_path / "half.pth", state))
    assert same(light.state_dict(), before)


def test_unknown_names_are_refused() -> None:
    for options, message in (
        ({"backbone": "resnet18", "head": "big"}, "expected one of smaf, eps, cls"),
        ({"backbone": "resnet18", "num_classes": 0}, "expected at least 1"),
        ({"backbone": "resnet18", "output_stride": 4}, "expected 8, 14 or 16"),
        ({"backbone": "resnet38", "output_stride": 16}, "ResNet-38 runs at 8"),
        ({"backbone": "resnet_38"}, "neither resnet38 nor a timm model"),
        ({"backbone": "vit_tiny_patch16_224", "output_stride": 8}, "cannot run at output stride 8"),
        ({"backbone": "resnet18", "pretrained": "/none/there.pth"}, "does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            build_classifier(**{"num_classes": 3, **options})  # type: ignore[arg-type]
    with pytest.raises(MissingInputError, match="does not exist"):
        read_checkpoint("/none/there.params")


def test_a_file_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            import os

            return os.system, (f"touch {mark}",)

    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"w": Bomb()}, protocol=2))
    torch.save({"state_dict": {"w": torch.zeros(1)}, "x": Bomb()}, tmp_path / "zip.pth")
    for name in ("plain.pth", "zip.pth"):
        with pytest.raises(InputError, match=rf"{name} cannot be read as tensors") as caught:
            read_checkpoint(tmp_path / name)
        assert "weights_only" not in str(caught.value)  # PyTorch's advice would run it
        assert name == "plain.pth" or "posix.system" in str(caught.value)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore")  # PyTorch's, about the damage
def test_damaged_files_are_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.pth", small("eps")).read_bytes()
    old = tmp_path / "old.pth"
    torch.save(small("eps"), old, _use_new_zipfile_serialization=False)
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.pth"
    contents = [b"", b"not weights", rng.bytes(999), b"\x80\x02}q\x00."]
    for data in (whole, old.read_bytes()):
        contents += [data[: int(n)] for n in np.linspace(1, len(data) - 1, 30)]
        for _ in range(60):
            broken = bytearray(data)
            for place in rng.integers(0, min(len(data), 900), 4):
                broken[place] = int(rng.integers(0, 256))
            contents.append(bytes(broken))
    refused = 0
    for content in contents:
        path.write_bytes(content)
        try:
            read_checkpoint(path)
        except InputError as error:
            assert "damaged.pth" in str(error)
            refused += 1
    assert refused > 100


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    for value in (
        [1, 2],
        {},
        {"iter": 3},
        torch.zeros(3),
        {"Net": {"objective_vectors": torch.zeros(1)}},
    ):
        with pytest.raises(InputError, match="hold no state dict"):
            read_checkpoint(saved(tmp_path / "other.pth", value))
