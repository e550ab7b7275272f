"""Segmentation networks as ONNX files and `torch.export` programs; programs that are not
trusted."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import CLASSES, needs_export

from smaf.core.errors import InputError
from smaf.core.views import Views
from smaf.engine.predicting import shipped_weights
from smaf.engine.predicting.onnx_network import OnnxNetwork
from smaf.engine.predicting.predictor import Predictor
from smaf.engine.predicting.program_network import ProgramNetwork
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.models import LIGHT, PredictSettings, build_segmenter, write_checkpoint
from smaf.models.deeplab import MultiScaleDeepLabV2
from smaf.models.export import can_export, export_onnx, export_program

SETTINGS = PredictSettings(
    Views((1.0,), False, label_filter="logits"), None, 0.2, score_share=0.02, min_share=0.2
)


@needs_export
@pytest.mark.slow
@pytest.mark.parametrize("decoder", [False, True])
def test_exports_are_the_same_network(decoder: bool, tmp_path: Path) -> None:
    """ONNX and the program against PyTorch, odd sizes and any batch."""
    torch.manual_seed(0)
    model = build_segmenter(
        LIGHT if decoder else "test_efficientnet", num_classes=4, decoder=decoder
    )
    if model.decoder is not None:
        torch.nn.init.normal_(model.decoder.add.weight)
    stride = 4 if decoder else 16
    write_checkpoint(tmp_path / "s.pth", model, CLASSES, predict=SETTINGS)
    export_onnx(tmp_path / "s.onnx", model, CLASSES, predict=SETTINGS)
    export_program(tmp_path / "s.pt2", model, CLASSES, predict=SETTINGS)
    networks = [
        TorchNetwork(tmp_path / "s.pth", "cpu"),
        OnnxNetwork(tmp_path / "s.onnx"),
        ProgramNetwork(tmp_path / "s.pt2", "cpu"),
    ]
    assert all(n.segments and n.settings == SETTINGS and n.class_names == CLASSES for n in networks)
    for shape in ((1, 3, 97, 131), (3, 3, 64, 50), (2, 3, 128, 96)):
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        with torch.inference_mode():
            expected = model(torch.from_numpy(images)).numpy()
        for network in networks:
            logits = network.cam(images)
            assert logits.shape == (shape[0], 4, -(-shape[2] // stride), -(-shape[3] // stride))
            np.testing.assert_allclose(
                np.roll(logits, 1, axis=1), expected, atol=1e-4 * max(1, np.abs(expected).max())
            )
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    photo = Image.fromarray(np.kron(pixels[:4, :6], np.ones((15, 15, 1), dtype=np.uint8)))
    first, *others = (Predictor(network, SETTINGS)(photo) for network in networks)
    for other in others:
        assert first.scores == pytest.approx(other.scores, abs=1e-4)
        assert (first.mask != other.mask).mean() < 1e-3
    assert all((first.mask == c + 1).mean() >= 0.2 for c in first.scores)


@needs_export
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
        np.testing.assert_allclose(
            np.roll(network.cam(images), 1, axis=1),
            expected,
            atol=1e-4 * max(1, np.abs(expected).max()),
        )


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole program, exported from a network in channels_last, as prediction keeps it."""
    if not can_export():
        pytest.skip("this release of PyTorch does not export")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("program") / "good.pt2"
    model = build_segmenter("test_efficientnet", num_classes=4).to(
        memory_format=torch.channels_last
    )
    export_program(path, model, CLASSES, predict=SETTINGS)
    stem = model.state_dict()["backbone.body.conv_stem.weight"]
    assert not stem.is_contiguous() and stem.is_contiguous(
        memory_format=torch.channels_last
    )  # as it was
    return path


def rewritten(
    source: Path,
    path: Path,
    change: Callable[[str, bytes], bytes],
    *,
    method: int = zipfile.ZIP_STORED,
    more: Sequence[tuple[str, bytes]] = (),
) -> Path:
    """A copy of a program with other contents."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, content in more:
            new.writestr(name, content)
    return path


def in_model(old: str, new: str) -> Callable[[str, bytes], bytes]:
    """Replace text in the JSON of the graph; it must be there."""

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return change


def in_facts(**facts: Any) -> Callable[[str, bytes], bytes]:
    return lambda name, content: (
        json.dumps({**json.loads(content), **facts}).encode()
        if name.endswith("smaf.json")
        else content
    )


def same(_: str, content: bytes) -> bytes:
    return content


@pytest.mark.slow
def test_a_program_of_another_memory_order_is_read(program: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_segmenter("test_efficientnet", num_classes=4)
    images = np.random.default_rng(0).normal(size=(1, 3, 65, 98)).astype(np.float32)
    network = ProgramNetwork(rewritten(program, tmp_path / "copy.pt2", same), "cpu")
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    assert network.settings == SETTINGS
    np.testing.assert_allclose(np.roll(network.cam(images), 1, axis=1), expected, atol=1e-4)


@pytest.mark.slow
def test_programs_that_could_run_code_are_refused(program: Path, tmp_path: Path) -> None:
    hit, conv = tmp_path / "hit", "torch.ops.aten.conv2d.default"
    code = f"__import__('pathlib').Path('{hit}').touch()"
    expression = re.search(r'"expr_str": ?"([^"]*)"', model_json(program))
    assert expression is not None
    changes: list[tuple[Callable[[str, bytes], bytes], str]] = [
        (in_model(expression[1], code), "which is no arithmetic"),
        (in_model(expression[1], "9**9**9**9"), "which is no arithmetic"),
        (in_model(expression[1], "Pow(9, Pow(9, 9))"), "which is no arithmetic"),
        (in_model('"guards_code": []', '"guards_code": ["open(1)"]'), "it holds code"),
        (
            in_model(
                '\\"builtins.dict\\", \\"context\\": \\"[]\\"',
                '\\"collections.defaultdict\\", \\"context\\": \\"[]\\"',
            ),
            "not of plain tuples",
        ),
        (
            in_model('{"graph_module"', '{"a":' * 50_000 + '{"graph_module"'),
            "nested too deeply|not valid JSON",
        ),
        (
            in_model('{"graph_module"', '{"huge": ' + "9" * 5000 + ', "graph_module"'),
            "not valid JSON",
        ),
    ]
    changes += [
        (in_model(conv, other), "which is no operator of this project's networks")
        for other in (
            "torch.serialization.os.system",
            "torch.ops.aten.save.default",
            "torch.ops.aten.from_file.default",
            "_operator.attrgetter",
            "_operator.methodcaller",
            "torch.ops.prims.device_put.default",
            "math.prod",
            "torch.ops.higher_order.cond",
            "os.system",
            "system",
            "torch.ops.aten.conv2d.default.__class__",
        )
    ]
    for change, words in changes:
        with pytest.raises(InputError, match=words) as caught:
            ProgramNetwork(rewritten(program, tmp_path / "bad.pt2", change), "cpu")
        assert "bad.pt2" in str(caught.value) and "\n" not in str(caught.value)
    assert not hit.exists()


def model_json(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(
            next(n for n in archive.namelist() if n.endswith("models/model.json"))
        ).decode()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_hold_other_things_are_refused(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt2"
    for name, words in (
        ("archive/data/constants/custom_obj_0", "more than a program"),
        ("a/../../x", "path out of"),
        ("archive/data/aotinductor/model/x.so", "more than a program"),
        ("archive/code.py", "more than a program"),
        ("archive/models/model.json", "twice"),
    ):
        with pytest.raises(InputError, match=words):
            ProgramNetwork(rewritten(program, path, same, more=[(name, b"{}")]), "cpu")
    with pytest.raises(InputError, match="packed by deflate"):
        ProgramNetwork(rewritten(program, path, same, method=zipfile.ZIP_DEFLATED), "cpu")
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if not name.endswith("smaf.json"):
                new.writestr(name, old.read(name))
    with pytest.raises(InputError, match=r"has no smaf\.json: it was not exported by this project"):
        ProgramNetwork(path, "cpu")
    for content in (b"", b"PK", program.read_bytes()[:5000]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.pt2"):
            ProgramNetwork(path, "cpu")


@pytest.mark.slow
def test_wrong_facts_of_a_program_are_named(program: Path, tmp_path: Path) -> None:
    def broken(name: str, content: bytes) -> bytes:
        nan = np.full(len(content) // 4, np.nan, np.float32)
        return nan.tobytes() if name.endswith("weights/weight_0") else content

    cases = [
        (in_facts(classes=["a"] * 3), "the name 'a' twice"),
        (in_facts(mean=[0.5]), "expected 3 numbers"),
        (
            in_facts(classes=list("abcdefgh")),
            "the network has 4 channels, what the file says of it asks for 9",
        ),
        (in_facts(predict={}), "predict has no scales"),
        (in_facts(std=[0, 1, 1]), "expected 3 numbers"),
        (in_facts(extra=1), "unknown entry 'extra'"),
        (broken, "holds NaN, infinite or too large values"),
    ]
    for change, words in cases:
        with pytest.raises(InputError, match=words) as caught:
            ProgramNetwork(rewritten(program, tmp_path / "bad.pt2", change), "cpu")
        assert "bad.pt2" in str(caught.value)


@needs_export
@pytest.mark.slow
def test_what_no_program_can_hold_is_refused_when_it_is_written(tmp_path: Path) -> None:
    class Sorting(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.sort(dim=1).values

    model = build_segmenter("test_efficientnet", num_classes=4)
    model.aspp = Sorting()
    with pytest.raises(
        InputError, match=r"a\.pt2: test_efficientnet cannot be written as a program \(.*sort"
    ):
        export_program(tmp_path / "a.pt2", model, CLASSES)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_wrong_onnx_files_are_named(tmp_path: Path) -> None:
    import onnx

    good = onnx.load(shipped_weights()["animals_lite0"])
    facts = json.loads(next(entry.value for entry in good.metadata_props if entry.key == "smaf"))

    def refused(words: str, change: Callable[[Any], None]) -> None:
        proto = onnx.ModelProto()
        proto.CopyFrom(good)
        change(proto)
        (tmp_path / "bad.onnx").write_bytes(proto.SerializeToString())
        with pytest.raises(InputError, match=words) as caught:
            OnnxNetwork(tmp_path / "bad.onnx")
        assert "bad.onnx" in str(caught.value) and "\n" not in str(caught.value)

    def says(**change: Any) -> Callable[[Any], None]:
        def edit(proto: Any) -> None:
            next(e for e in proto.metadata_props if e.key == "smaf").value = json.dumps(
                {**facts, **change}
            )

        return edit

    def nan(proto: Any) -> None:
        tensor = proto.graph.initializer[0]
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[0] = np.nan
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    def fixed(proto: Any) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 96

    def no_facts(proto: Any) -> None:
        del proto.metadata_props[:]

    refused(
        "the network has 7 channels, what the file says of it asks for 4",
        says(classes=["a", "b", "c"]),
    )
    refused(
        "the network has 7 channels, what the file says of it asks for 9",
        says(classes=list("abcdefgh")),
    )
    refused("have cam .*, expected logits", says(segments=True, predict=None))
    refused("mean is .*, expected 3 numbers", says(mean=[0.5]))
    refused(
        "scales is .*, expected 1 to 16 numbers",
        says(predict={**facts["predict"], "scales": [1e6]}),
    )
    refused("holds values that are not finite", nan)
    refused("expected any number of 3 channels and any size", fixed)
    refused("were not exported by this project", no_facts)
    refused("cannot be read as ONNX", lambda proto: proto.graph.ClearField("node"))
    for cut in (0, 100, 50_000):
        (tmp_path / "bad.onnx").write_bytes(shipped_weights()["animals_lite0"].read_bytes()[:cut])
        with pytest.raises(InputError, match=r"bad\.onnx"):
            OnnxNetwork(tmp_path / "bad.onnx")


def test_releases_of_pytorch_that_cannot_export_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", "2.6.0+cu124")
    model = build_segmenter("test_efficientnet", num_classes=4)
    for export in (export_onnx, export_program):
        with pytest.raises(
            InputError, match=r"exports need PyTorch 2\.13 or newer, this is 2\.6\.0"
        ):
            export(tmp_path / "a", model, CLASSES)
    assert not list(tmp_path.iterdir())
