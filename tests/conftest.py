"""Fixtures that several rooms' tests share: golden numbers, networks with golden weights, small
data sets."""

from __future__ import annotations

import json
import math
import signal
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from smaf.core.images import write_mask
from smaf.models import Classifier, build_classifier

torch.set_num_threads(1)
if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # started in the background: what the tests start must hear it
    signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).resolve().parent
TINY_CLASSES = ("cat", "dog", "cow")
# id: width, height, mask value → box (left, top, right, bottom)
TINY = {
    "one": (40, 30, {1: (4, 4, 20, 22)}),
    "two": (33, 41, {2: (8, 10, 25, 33)}),
    "three": (48, 32, {1: (2, 2, 18, 20), 3: (24, 8, 44, 28)}),
    "four": (30, 30, {3: (6, 6, 24, 24)}),
    "five": (36, 28, {2: (4, 4, 16, 24), 1: (18, 6, 32, 24)}),
}
COLOURS = {1: (220, 60, 40), 2: (50, 200, 70), 3: (60, 80, 230)}


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Name → path of a golden file."""
    return lambda name: HERE / "golden" / name


def golden_tensor(key: str, shape: tuple[int, ...]) -> Tensor:
    """The weights that the golden numbers were made with, by the rule of the golden files."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    a = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if key.endswith("running_var"):
        a = 0.5 + np.abs(a)
    elif key.endswith("running_mean"):
        a = 0.1 * a
    elif len(shape) == 4:
        a = a * np.float32(math.sqrt(1.0 / math.prod(shape[1:])))
    else:
        a = 1.0 + 0.1 * a if key.endswith("weight") else 0.1 * a
    return torch.from_numpy(a.astype(np.float32))


@pytest.fixture(scope="session")
def golden_weights() -> Callable[[str, tuple[int, ...]], Tensor]:
    """Key and shape → the golden weights."""
    return golden_tensor


@pytest.fixture(scope="session")
def golden_keys(golden: Callable[[str], Path]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published state dict, ResNet-38 with SMAF's head."""
    stored = json.loads(golden("resnet38_smaf_head_keys.json").read_text())
    return {key: tuple(shape) for key, shape in stored.items()}


@pytest.fixture(scope="session")
def golden_state(golden_keys: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """ResNet-38's golden weights with SMAF's head, 20 classes."""
    return {key: golden_tensor(key, shape) for key, shape in golden_keys.items()}


@pytest.fixture(scope="session")
def golden_resnet38(golden_state: dict[str, Tensor]) -> Callable[[str], Classifier]:
    """Head → ResNet-38 with golden weights and 20 classes. The networks share memory: do not step
    an optimiser."""
    shapes = {"smaf": (21, 128, 1, 1), "eps": (21, 4096, 1, 1), "cls": (20, 4096, 1, 1)}

    def build(head: str) -> Classifier:
        with torch.device("meta"):  # no time for initial values that are overwritten
            model = build_classifier("resnet38", num_classes=20, head=head)
        state = {**golden_state, "fc8.weight": golden_tensor("fc8.weight", shapes[head])}
        model.load_state_dict({key: state[key] for key in model.state_dict()}, assign=True)
        return model

    return build


@pytest.fixture(scope="session")
def smaf38(golden_resnet38: Callable[[str], Classifier]) -> Classifier:
    """ResNet-38 with SMAF's head and golden weights, in evaluation mode."""
    return golden_resnet38("smaf")


@pytest.fixture(scope="session")
def eps38(golden_resnet38: Callable[[str], Classifier]) -> Classifier:
    """ResNet-38 with EPS's head and golden weights, in evaluation mode."""
    return golden_resnet38("eps")


@pytest.fixture(scope="session")
def animals() -> Path:
    """The animals of PASCAL VOC 2012 in small, beside the repository."""
    root = HERE.parents[1] / "shared" / "voc12_animals"
    if not root.is_dir():
        pytest.skip("shared/voc12_animals is not beside the repository")
    return root


@pytest.fixture
def tiny_voc(tmp_path: Path) -> Path:
    """A data set in VOC layout: five small pictures of coloured boxes, three classes, lists train,
    val, train_aug."""
    root = tmp_path / "tiny_voc"
    for folder in (
        "JPEGImages",
        "SegmentationClassAug",
        "SALImages",
        "ImageSets/Segmentation",
        "metadata/tiny",
    ):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for image_id, (w, h, boxes) in TINY.items():
        pixels = rng.integers(90, 130, (h, w, 3)).astype(np.uint8)
        mask = np.zeros((h, w), dtype=np.uint8)
        for value, (left, top, right, bottom) in boxes.items():
            pixels[top:bottom, left:right] = COLOURS[value]
            mask[top:bottom, left:right] = value
        saliency = np.where(mask > 0, 255, 0).astype(np.uint8)
        mask[0] = 255
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{image_id}.png")
        Image.fromarray(saliency).save(root / "SALImages" / f"{image_id}.png")
        write_mask(root / "SegmentationClassAug" / f"{image_id}.png", mask)
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("one\ntwo\nthree\n")
    (lists / "val.txt").write_text("four\nfive\n")
    (lists / "train_aug.txt").write_text("".join(f"{image_id}\n" for image_id in TINY))
    (root / "metadata/tiny/labels.txt").write_text("0 background\n1 cat\n2 dog\n3 cow\n")
    rows = [
        f"{i}.png,{';'.join(TINY_CLASSES[v - 1] for v in sorted(boxes))}"
        for i, (_, _, boxes) in TINY.items()
    ]
    (root / "labels.csv").write_text("image,labels\n" + "\n".join(rows) + "\n")
    return root
