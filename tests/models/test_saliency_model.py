"""The saliency network: what it trains, its size, and the same numbers in ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_set import needs_export

from smaf.models.saliency import SaliencyNetwork, export_saliency


@pytest.fixture(scope="module")
def network() -> SaliencyNetwork:
    torch.manual_seed(0)
    network = SaliencyNetwork()
    network.load_imagenet()
    return network.eval()


def test_a_logit_for_each_pixel(network: SaliencyNetwork) -> None:
    with torch.inference_mode():
        logits = network(torch.zeros(2, 3, 64, 96))
        levels = network.features(torch.zeros(1, 3, 64, 96))
    assert logits.shape == (2, 1, 64, 96)
    assert [tuple(level.shape[1:]) for level in levels] == [
        (16, 32, 48),
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (320, 2, 3),
    ]
    assert sum(p.numel() for p in network.parameters()) == 3_039_025  # 6.4 MB in float16


def test_first_layers_and_statistics_stay() -> None:
    network = SaliencyNetwork()
    network.freeze()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network(torch.randn(2, 3, 64, 64)).mean().backward()
    learned = {name for name, p in network.named_parameters() if p.grad is not None}
    assert not any(n.startswith(("body.conv_stem", "body.bn1", "body.blocks.0")) for n in learned)
    assert "body.blocks.2.0.conv_pw.weight" in learned and "head.weight" in learned
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all(k.startswith("smooth.") for k in changed)  # the decoder's own statistics


@needs_export
@pytest.mark.slow
def test_the_file_gives_the_same(network: SaliencyNetwork, tmp_path: Path) -> None:
    import onnxruntime

    export_saliency(tmp_path / "s.onnx", network, side=384)
    session = onnxruntime.InferenceSession(tmp_path / "s.onnx")
    props = session.get_modelmeta().custom_metadata_map
    assert props["side"] == "384" and props["mean"] == "[0.5, 0.5, 0.5]"
    for shape in ((1, 3, 64, 160), (3, 3, 128, 96)):
        images = torch.randn(shape)
        with torch.inference_mode():
            ours = torch.sigmoid(network(images)).numpy()
        [theirs] = session.run(None, {"image": images.numpy()})
        assert float(np.abs(ours - theirs).max()) < 5e-3  # weights in float16
