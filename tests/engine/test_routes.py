"""The two ways from a photograph to maps, PyTorch's and NumPy's, give the same; so do validation
and the commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small_set import CLASSES, good, run

from smaf import test_seg
from smaf.core.images import read_mask
from smaf.core.tensors import normalise
from smaf.core.views import ONE_VIEW, PAPER_VIEWS, Views
from smaf.data.layout import open_data
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.engine.validation import validation_miou
from smaf.models import Classifier, Segmenter, build_classifier, build_segmenter, write_checkpoint
from smaf.ops import ConfusionMatrix, cams_to_mask, torch_mean_maps, view_logits


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TorchNetwork]:
    """A classifier, a segmentation network, and one that takes BGR."""
    folder = tmp_path_factory.mktemp("routes")
    torch.manual_seed(0)
    classifier = build_classifier("test_efficientnet", num_classes=3, head="eps")
    segmenter = build_segmenter("test_efficientnet", num_classes=4)
    with torch.no_grad():  # maps that differ from pixel to pixel
        classifier.fc8.weight.mul_(20)
        segmenter.get_parameter("aspp.c0.weight").mul_(200)
    write_checkpoint(folder / "classifier.pth", classifier, CLASSES)
    write_checkpoint(folder / "segmenter.pth", segmenter, CLASSES)
    kinds = ("classifier", "segmenter", "segmenter")
    opened = [TorchNetwork(folder / f"{kind}.pth", "cpu") for kind in kinds]
    opened[2].facts, opened[2].model.bgr = replace(opened[2].facts, bgr=True), True
    return dict(zip(("classifier", "segmenter", "bgr"), opened, strict=True))


@pytest.mark.parametrize("kind", ["classifier", "segmenter", "bgr"])
@pytest.mark.parametrize("classes", [None, [2], [0, 2], []])
@pytest.mark.parametrize(
    "views",
    [
        ONE_VIEW,
        PAPER_VIEWS,
        Views((0.75, 1.25), flip=False, label_filter="logits"),
        Views((1.0,), long_side=64),
        Views((0.5, 1.0, 1.5), long_side=150, label_filter="logits"),
    ],
)
def test_both_ways_give_the_same_maps(
    kind: str, classes: list[int] | None, views: Views, networks: dict[str, TorchNetwork]
) -> None:
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (13, 17, 3)).astype(np.uint8)).resize((119, 90))
    network = networks[kind]
    numpy = view_logits(network.cam, photo, mean=network.mean, std=network.std, views=views)
    ours = torch_mean_maps(network.model, photo, classes=classes, views=views)
    theirs = numpy.maps(classes)
    assert ours.shape == theirs.shape == (3 if classes is None else len(classes), 90, 119)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)
    if classes is None:
        assert np.ptp(theirs) > 0.05


def test_a_bgr_network_sees_other_maps(networks: dict[str, TorchNetwork]) -> None:
    photo = Image.new("RGB", (64, 64), (250, 30, 10))
    rgb, bgr = (torch_mean_maps(networks[kind].model, photo) for kind in ("segmenter", "bgr"))
    assert float((rgb - bgr).abs().max()) > 1e-3


@torch.inference_mode()
def validation_by_hand(model: Classifier, root: Path, ids: list[str]) -> float:
    """The release's validation: the photograph as it is, softmax CAM of the labelled classes."""
    data = open_data(root)
    matrix = ConfusionMatrix(4)
    for image_id in ids:
        photo, label = data.photo(image_id), data.all_labels[image_id]
        cam = model.eval().forward_cam(normalise(photo, model.mean, model.std)[None])
        maps = F.interpolate(
            cam.softmax(dim=1)[:, :-1] if cam.shape[1] == 4 else F.relu(cam),
            size=(photo.height, photo.width),
            mode="bilinear",
            align_corners=False,
        )[0].numpy()
        if cam.shape[1] == 3:
            maps = maps / (maps.max(axis=(1, 2), keepdims=True) + 1e-5)
        kept = {c: maps[c] for c in range(3) if label[c]}
        matrix.update(cams_to_mask(kept, threshold=0.2), data.mask(image_id, size=photo.size))
    return float(matrix.compute()["miou"])


@pytest.mark.parametrize("head", ["eps", "smaf", "cls"])
def test_validation_of_a_classifier_is_the_releases(head: str, small: Path) -> None:
    torch.manual_seed(1)
    model = build_classifier("test_efficientnet", num_classes=3, head=head)  # type: ignore[arg-type]
    with torch.no_grad():
        model.fc8.weight.mul_(20)
    ids = open_data(small).ids("train")
    expected = validation_by_hand(model, small, ids)
    assert 0.01 < expected < 0.99
    model.train()
    ours = validation_miou(model, open_data(small), ids, background=0.2)
    assert ours == pytest.approx(expected, abs=1e-4) and model.training


def test_validation_of_a_segmenter_is_test_segs(
    small: Path, networks: dict[str, TorchNetwork], tmp_path: Path
) -> None:
    network, data = networks["segmenter"], open_data(small)
    write_checkpoint(tmp_path / "w.pth", network.model, CLASSES)
    words = ("--data_root", small, "--list", "val", "--weights", tmp_path / "w.pth")
    good(run(test_seg.main, *words, "--out", tmp_path / "out", "--device", "cpu"))
    matrix = ConfusionMatrix(4)
    for image_id in data.ids("val"):
        matrix.update(read_mask(tmp_path / f"out/{image_id}.png"), data.mask(image_id))
    ours = validation_miou(network.model, data, data.ids("val"), background=None)
    assert ours == pytest.approx(float(matrix.compute()["miou"]), abs=1e-4)


def test_the_threshold_must_fit_the_network(small: Path, networks: dict[str, TorchNetwork]) -> None:
    for kind, background in (("classifier", None), ("segmenter", 0.2)):
        model: Classifier | Segmenter = networks[kind].model
        with pytest.raises(ValueError, match="expected a threshold for a classifier"):
            validation_miou(model, open_data(small), ["p0"], background=background)
