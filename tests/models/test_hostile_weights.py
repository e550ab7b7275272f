"""Checkpoints whose facts contradict each other or their tensors, and tensors that no network has:
one line each."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from smaf.core.errors import InputError
from smaf.core.views import Views
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.models import (
    DEEPLAB,
    PredictSettings,
    build_classifier,
    build_segmenter,
    load_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from smaf.models.state_dicts import load_torch

NAMES = ("cat", "cow", "dog")
SMALL = "test_efficientnet"
SETTINGS = PredictSettings(Views((1.0,)), 0.3, 0.5)
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A classifier's file, as it is in memory."""
    path = tmp_path_factory.mktemp("whole") / "c.pth"
    write_checkpoint(
        path, build_classifier(SMALL, num_classes=3, head="eps"), NAMES, predict=SETTINGS
    )
    value: dict[str, Any] = load_torch(path)
    return value


def refused(path: Path, value: Any, words: str) -> None:
    torch.save(value, path)
    for read in (read_checkpoint, lambda p: TorchNetwork(p, "cpu")):
        with pytest.raises(InputError) as caught:
            read(path)
        message = str(caught.value)
        assert (
            str(path) in message and words in message and "\n" not in message and len(message) < 600
        ), message


def test_the_whole_file_is_read(tmp_path: Path, whole: dict[str, Any]) -> None:
    torch.save(whole, tmp_path / "c.pth")
    weights = read_checkpoint(tmp_path / "c.pth")
    assert weights.classifier is not None and weights.classifier.class_names == NAMES
    assert weights.segmenter is None and weights.predict == SETTINGS
    assert TorchNetwork(tmp_path / "c.pth", "cpu").settings == SETTINGS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"info": None}, "info is None, expected entries with names"),
        ({"info": [1]}, "info is [1], expected entries"),
        ({"predict": "fast"}, "predict is 'fast', expected entries"),
        ({"predct": {}}, "unknown entry 'predct' (did you mean 'predict'?)"),
        ({"state_dict": None}, "hold no state dict"),
        (
            {"format": "smaf-classifier-2"},
            "have the format 'smaf-classifier-2', this version reads smaf-classifier-1 and",
        ),
        ({"format": 1}, "have the format 1, this version reads"),
        ({"format": None}, "have the format None, this version reads"),
    ],
)
def test_wrong_files_of_this_project(
    tmp_path: Path, whole: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    refused(tmp_path / "c.pth", {**whole, **change}, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"class_names": ("a", "b", "c", "d", "e", "f", "g", "h")},
            "class_names has 8 names, num_classes asks for 3",
        ),
        (
            {"num_classes": 6, "class_names": tuple("abcdef")},
            "has 4 channels, what the file says of it asks for 7",
        ),
        ({"head": "cls"}, "has 4 channels, what the file says of it asks for 3"),
        ({"head": "big"}, "expected one of smaf, eps, cls"),
    ],
)
def test_facts_against_the_networks_channels(
    tmp_path: Path, whole: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    refused(tmp_path / "c.pth", {**whole, "info": {**whole["info"], **change}}, words)


def test_facts_that_only_building_finds_wrong_name_the_file(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    for change, words in (
        ({"backbone": "no_such_net"}, "neither resnet38 nor a timm model"),
        ({"backbone": "resnet18"}, "not of the backbone resnet18"),
        ({"backbone": "resnet38"}, "ResNet-38 runs at 8"),
        ({"head": "smaf"}, "is missing"),
        ({"class_names": ()}, "do not name their classes"),
    ):
        torch.save({**whole, "info": {**whole["info"], **change}}, tmp_path / "c.pth")
        with pytest.raises(InputError, match=words) as caught:
            TorchNetwork(tmp_path / "c.pth", "cpu")
        assert "c.pth" in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.tensor([1.0, NAN]), "holds NaN, infinite or too large values"),
        (torch.tensor([1.0, -INF]), "holds NaN, infinite or too large values"),
        (torch.tensor([7e4]).half(), "holds NaN, infinite or too large values"),
        (torch.tensor([NAN], dtype=torch.bfloat16), "holds NaN, infinite or too large values"),
        (torch.tensor([1e300], dtype=torch.float64), "holds NaN, infinite or too large values"),
        (torch.zeros(2, dtype=torch.complex64), "is a dense tensor of complex64, expected"),
        (torch.zeros(2, dtype=torch.float8_e5m2), "is a dense tensor of float8_e5m2, expected"),
        (
            torch.zeros(1).expand(10**12),
            "claims the shape (1000000000000,), for which the file has too few values",
        ),
        (torch.eye(4).to_sparse(), "is a sparse_coo tensor of float32, expected"),
    ],
)
def test_tensors_that_no_network_can_have(
    tmp_path: Path, whole: dict[str, Any], tensor: Tensor, words: str
) -> None:
    key = "backbone.body.conv_stem.weight"
    refused(
        tmp_path / "c.pth",
        {**whole, "state_dict": {**whole["state_dict"], key: tensor}},
        f"{key} {words}",
    )
    plain = {
        "conv1a.weight": tensor,
        "fc8.weight": torch.zeros(21, 8, 1, 1),
    }  # EPS's, SMAF's, timm's
    for value in (plain, {"Net": {"model_state": plain}}, {"layer1.0.conv1.weight": tensor}):
        refused(tmp_path / "other.pth", value, words)


@pytest.mark.filterwarnings("ignore")  # PyTorch's: such tensors are going away
def test_quantised_tensors_are_named(tmp_path: Path) -> None:
    tensor = torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8)
    refused(
        tmp_path / "q.pth",
        {"layer1.0.conv1.weight": tensor},
        "is a dense tensor of qint8, expected a dense one",
    )


def test_tensors_that_this_network_cannot_have(tmp_path: Path, whole: dict[str, Any]) -> None:
    state = whole["state_dict"]
    stem, variance = "backbone.body.conv_stem.weight", "backbone.body.bn1.running_var"
    model = build_classifier(SMALL, num_classes=3, head="eps")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for key, tensor, words in (
        (stem, state[stem].long(), "is of int64, expected floating point"),
        (variance, -state[variance], f"{variance} is a variance below 0"),
        (stem, torch.tensor(1.0), r"conv_stem\.weight is \(\), expected \(24, 3, 3, 3\)"),
    ):
        torch.save({**whole, "state_dict": {**state, key: tensor}}, tmp_path / "c.pth")
        with pytest.raises(InputError, match=words):
            load_checkpoint(model, tmp_path / "c.pth")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "shape", [(), (21,), (21, 8), (21, 8, 3, 3), (1, 8, 1, 1), (21, 8, 1, 1, 1)]
)
def test_heads_of_releases_of_another_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    state = {"conv1a.weight": torch.zeros(4, 3, 3, 3), "fc8.weight": torch.zeros(shape)}
    refused(tmp_path / "eps.pth", state, "head")


def test_half_a_deeplab_or_resnet101(tmp_path: Path) -> None:
    refused(
        tmp_path / "d.pth",
        {"base.aspp.c0.bias": torch.zeros(2, 3), "x.y": torch.zeros(1)},
        "expected the head's",
    )
    model = build_segmenter(DEEPLAB, num_classes=3)
    stem = {"layer4.2.conv3.weight": torch.zeros(1)}
    for part in (
        {"conv1.weight": torch.zeros(5)},
        {"conv1.weight": torch.zeros(64, 3, 7, 7)},
        {"conv1.weight": torch.zeros(64, 3, 7, 7), "layerX.y.z": torch.zeros(1)},
        {"conv1.weight": torch.zeros(64, 3, 7, 7), "layer1.x": torch.zeros(1)},
        {"conv1.weight": torch.zeros(64, 3, 7, 7), "bn1.running_mean": torch.zeros(3)},
    ):
        torch.save({**stem, **part}, tmp_path / "r.pth")
        with pytest.raises(InputError, match=r"r\.pth are not of") as caught:
            load_checkpoint(model, tmp_path / "r.pth")
        assert "\n" not in str(caught.value)


def test_wrong_segmenters(tmp_path: Path) -> None:
    path = tmp_path / "s.pth"
    write_checkpoint(path, build_segmenter(SMALL, num_classes=4), NAMES)
    value = load_torch(path)
    info = value["info"]
    refused(
        path,
        {**value, "info": {**info, "num_classes": 7, "class_names": tuple("abcdef")}},
        "the network has 4 channels, what the file says of it asks for 7",
    )
    refused(
        path,
        {**value, "info": {**info, "class_names": ("background", *NAMES)}},
        "class_names has 4 names",
    )
    refused(
        path,
        {**value, "state_dict": {**value["state_dict"], "aspp.c0.bias": torch.tensor(0.0)}},
        "aspp.c0.bias is (), expected the head's (channels,)",
    )


def test_half_precision_that_overflows_is_not_written(tmp_path: Path) -> None:
    model = build_classifier(SMALL, num_classes=3, head="eps")
    with torch.no_grad():
        model.fc8.weight[0, 0] = 7e4
    with pytest.raises(InputError, match=r"c\.pth: fc8\.weight has values beyond float16"):
        write_checkpoint(tmp_path / "c.pth", model, NAMES, half=True)
    assert not (tmp_path / "c.pth").exists()
    write_checkpoint(tmp_path / "c.pth", model, NAMES)
    assert float(read_checkpoint(tmp_path / "c.pth").state["fc8.weight"].max()) == np.float32(7e4)


def test_packed_archives_are_refused_before_they_are_unpacked(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    torch.save(whole, tmp_path / "c.pth")
    with (
        zipfile.ZipFile(tmp_path / "c.pth") as old,
        zipfile.ZipFile(tmp_path / "p.pth", "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(
        InputError, match=r"p\.pth cannot be read as tensors \(.* is packed by deflate\)"
    ):
        read_checkpoint(tmp_path / "p.pth")
