"""Segmentation networks as ONNX files and `torch.export` programs; programs that are not trusted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from small_set import CLASSES

from smaf.core.errors import InputError
from smaf.engine.networks import OnnxNetwork, ProgramNetwork, TorchNetwork
from smaf.models import PredictSettings, build_segmenter, save_segmenter
from smaf.models.deeplab import MultiScaleDeepLabV2
from smaf.models.export import export_onnx, export_program

SETTINGS = PredictSettings((1.0,), False, None, background=None, score=0.3, label_filter="logits")


@pytest.mark.slow
def test_exports_are_the_same_network(tmp_path: Path) -> None:
    """ONNX and the program against PyTorch, odd sizes and any batch."""
    torch.manual_seed(0)
    model = build_segmenter("test_efficientnet", num_classes=4)
    save_segmenter(tmp_path / "s.pth", model, CLASSES, predict=SETTINGS)
    export_onnx(tmp_path / "s.onnx", model, CLASSES, predict=SETTINGS)
    export_program(tmp_path / "s.pt2", model, CLASSES, predict=SETTINGS)
    networks = [TorchNetwork(tmp_path / "s.pth", "cpu"), OnnxNetwork(tmp_path / "s.onnx"),
                ProgramNetwork(tmp_path / "s.pt2", "cpu")]
    assert all(n.segments and n.settings == SETTINGS and n.class_names == CLASSES for n in networks)
    for shape in ((1, 3, 97, 131), (3, 3, 64, 50), (2, 3, 128, 96)):
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        with torch.inference_mode():
            expected = model(torch.from_numpy(images)).numpy()
        for network in networks:
            logits = network.cam(images)
            assert logits.shape == (shape[0], 4, -(-shape[2] // 16), -(-shape[3] // 16))
            np.testing.assert_allclose(np.roll(logits, 1, axis=1), expected, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.slow
def test_deeplab_exports(tmp_path: Path) -> None:
    """The multi-scale network, whose pyramid rounds odd sizes down."""
    torch.manual_seed(0)
    model = MultiScaleDeepLabV2(3, blocks=(1, 1, 2, 1)).eval()  # the whole one takes a minute
    export_onnx(tmp_path / "d.onnx", model, CLASSES[:2])
    network = OnnxNetwork(tmp_path / "d.onnx")
    for shape in ((1, 3, 97, 131), (2, 3, 66, 81)):
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        with torch.inference_mode():
            expected = model(torch.from_numpy(images[:, ::-1].copy())).numpy()
        np.testing.assert_allclose(np.roll(network.cam(images), 1, axis=1), expected,
                                   atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["size", "operator", "guards", "object", "twice"])
def test_programs_that_could_run_code_are_refused(fault: str, tmp_path: Path) -> None:
    model = build_segmenter("test_efficientnet", num_classes=4)
    good_path, path, hit = tmp_path / "good.pt2", tmp_path / "bad.pt2", tmp_path / "hit"
    export_program(good_path, model, CLASSES)
    with zipfile.ZipFile(good_path) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("models/model.json"):
                text = content.decode()
                facts = json.loads(text)
                if fault == "size":
                    first = text.index('"expr_str": "') + len('"expr_str": "')
                    end = text.index('"', first)
                    text = text[:first] + f"__import__('pathlib').Path('{hit}').touch()" + text[end:]
                if fault == "operator":
                    text = text.replace("torch.ops.aten.conv2d.default", "torch.serialization.os.system")
                if fault == "guards":
                    text = json.dumps({**facts, "guards_code": ["open('x')"]})
                content = text.encode()
            new.writestr(name, content)
        if fault == "twice":
            with pytest.warns(UserWarning, match="Duplicate name"):
                new.writestr("archive/models/model.json", b"{}")
        if fault == "object":
            new.writestr("archive/data/constants/custom_obj_0", b"x")
    with pytest.raises(InputError, match=r"bad\.pt2"):
        ProgramNetwork(path, "cpu")
    assert not hit.exists()
