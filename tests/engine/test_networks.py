"""What prediction asks of a network is the same whatever runs it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from smaf.core.errors import InputError
from smaf.core.network_facts import NetworkFacts
from smaf.core.predict_settings import PredictSettings
from smaf.engine.predicting import Network, open_network, shipped_weights
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.models import build_classifier, build_segmenter, facts_of

SHIPPED = sorted(shipped_weights())


class Echo(Network):
    """Its logits are the images that it is given: red, green, blue or the other way round."""

    def __init__(self, *, segments: bool, bgr: bool) -> None:
        self.facts = NetworkFacts(
            ("cat", "dog"), (0.5, 0.5, 0.5), (0.1, 0.2, 0.3), segments, bgr, None
        )

    def logits(self, images: np.ndarray) -> np.ndarray:
        return images


@pytest.mark.parametrize(
    ("segments", "bgr", "expected"),
    [
        (False, False, [1, 2, 3]),
        (True, False, [2, 3, 1]),  # background comes last, whatever the network has
        (True, True, [2, 1, 3]),  # the network sees 3, 2, 1
    ],
)
def test_cam_by_hand(segments: bool, bgr: bool, expected: list[int]) -> None:
    images = np.float32([1, 2, 3]).reshape(1, 3, 1, 1)
    network = Echo(segments=segments, bgr=bgr)
    assert network.cam(images).ravel().tolist() == expected
    assert images.ravel().tolist() == [1, 2, 3]
    assert network.class_names == ("cat", "dog") and network.settings is None
    assert (network.mean, network.std) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))


def test_facts_are_read_off_the_network() -> None:
    settings = PredictSettings((1.0,), True, None, 0.3, 0.5)
    classifier = build_classifier("resnet18", num_classes=2, head="eps")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    names = ("cat", "dog")
    assert facts_of(classifier, names, settings) == NetworkFacts(
        names, mean, std, segments=False, bgr=False, settings=settings
    )
    with torch.device("meta"):
        deeplab = build_segmenter("deeplab_v2_resnet101", num_classes=3)
    facts = facts_of(deeplab, names, None)
    assert facts.segments and facts.bgr and facts.settings is None
    assert facts.std == (1 / 255,) * 3 and facts.mean[0] == 122.675 / 255


@pytest.mark.skipif(not SHIPPED, reason="no weights are shipped")
def test_shipped_weights_are_opened_without_pytorch() -> None:
    code = (
        "from smaf.engine.predicting import open_network; import sys; "
        f"network = open_network({SHIPPED[0]!r}); "
        "assert network.class_names and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not SHIPPED, reason="no weights are shipped")
def test_file_and_device_choose_the_runtime() -> None:
    onnx = shipped_weights()[SHIPPED[0]]
    assert isinstance(open_network(str(onnx.with_suffix(".pth")), "cpu"), TorchNetwork)
    with pytest.raises(InputError, match="ONNX files run on the CPU"):
        open_network(str(onnx), "cuda")
