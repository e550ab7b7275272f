"""A checkpoint is one thing, whatever network it holds: one reader, one writer, one loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from smaf.core.classes import VOC_CLASSES
from smaf.core.errors import InputError
from smaf.core.network_facts import SegmenterInfo
from smaf.core.predict_settings import PredictSettings
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.models import (
    Checkpoint,
    Classifier,
    Segmenter,
    build_classifier,
    build_network,
    build_segmenter,
    load_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

NAMES = ("cat", "cow", "dog")
SMALL = "test_efficientnet"
SETTINGS = PredictSettings((0.5, 1.0), True, 64, 0.3, 0.5)


def classifier(head: str = "eps") -> Classifier:
    return build_classifier(SMALL, num_classes=3, head=head)


def segmenter() -> Segmenter:
    return build_segmenter(SMALL, num_classes=4)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The files that `torch.load` was called with."""
    files: list[Any] = []
    load = torch.load

    def counting(file: Any, *args: Any, **options: Any) -> Any:
        files.append(file)
        return load(file, *args, **options)

    monkeypatch.setattr(torch, "load", counting)
    return files


def test_opening_a_classifier_for_prediction_reads_the_file_once(
    tmp_path: Path, loads: list[Any]
) -> None:
    path = tmp_path / "c.pth"
    write_checkpoint(path, classifier(), NAMES, predict=SETTINGS)
    network = TorchNetwork(path, "cpu")
    assert loads == [path]
    assert network.class_names == NAMES and network.settings == SETTINGS


def test_a_checkpoint_that_was_read_is_not_read_again(tmp_path: Path, loads: list[Any]) -> None:
    path = tmp_path / "c.pth"
    write_checkpoint(path, classifier(), NAMES)
    checkpoint = read_checkpoint(path)
    path.unlink()
    model = build_classifier(SMALL, num_classes=3, head="eps", pretrained=checkpoint)
    network = build_segmenter(SMALL, num_classes=4, pretrained=checkpoint)
    load_checkpoint(model, checkpoint)
    assert len(loads) == 1
    key = "backbone.body.conv_stem.weight"
    for built in (model, network):
        assert torch.equal(built.state_dict()[key], checkpoint.state[key])


@pytest.mark.parametrize("kind", ["smaf", "cls", "segmenter"])
@pytest.mark.parametrize("half", [False, True])
def test_round_trip(tmp_path: Path, kind: str, half: bool) -> None:
    model = segmenter() if kind == "segmenter" else classifier(kind)
    settings = PredictSettings((1.0,), False, None, None, 0.5)
    write_checkpoint(tmp_path / "n.pth", model, NAMES, predict=settings, half=half)
    checkpoint = read_checkpoint(tmp_path / "n.pth")
    assert checkpoint.class_names == NAMES and checkpoint.predict == settings
    assert (checkpoint.segmenter is None) == isinstance(model, Classifier)
    again = build_network(checkpoint)
    assert type(again) is type(model) and not again.training
    for key, value in model.state_dict().items():
        expected = value.half().float() if half and value.is_floating_point() else value
        assert torch.equal(again.state_dict()[key], expected), key


def test_the_files_entries_are_those_of_earlier_versions(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c.pth", classifier(), NAMES, predict=SETTINGS)
    write_checkpoint(tmp_path / "s.pth", segmenter(), NAMES)
    content = torch.load(tmp_path / "c.pth", weights_only=True)
    assert list(content) == ["format", "info", "state_dict", "predict"]
    assert content["format"] == "smaf-classifier-1"
    assert content["info"] == {
        "backbone": SMALL,
        "head": "eps",
        "num_classes": 3,
        "output_stride": 16,
        "class_names": NAMES,
    }
    content = torch.load(tmp_path / "s.pth", weights_only=True)
    assert list(content) == ["format", "info", "state_dict"]
    assert content["format"] == "smaf-segmenter-1"
    assert content["info"] == {
        "name": SMALL,
        "num_classes": 4,
        "output_stride": 16,
        "class_names": NAMES,
    }


def test_class_names_that_prediction_needs() -> None:
    path = Path("deeplab.pth")
    voc = Checkpoint(path, {}, segmenter=SegmenterInfo("deeplab_v2_resnet101", 21, 8, ()))
    assert voc.class_names == () and voc.require_class_names() == VOC_CLASSES
    coco = Checkpoint(path, {}, segmenter=SegmenterInfo("deeplab_v2_resnet101", 91, 8, ()))
    with pytest.raises(InputError, match=r"deeplab\.pth do not name their 90 classes"):
        coco.require_class_names()
    with pytest.raises(InputError, match=r"deeplab\.pth do not name their classes"):
        Checkpoint(path, {}).require_class_names()


def test_a_backbone_alone_describes_no_network() -> None:
    with pytest.raises(InputError, match=r"weights body\.pth: they have no head"):
        build_network(Checkpoint(Path("body.pth"), {}))
