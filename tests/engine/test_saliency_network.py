"""Saliency networks in ONNX files: their maps, worked out by hand, and files that do not serve."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from saliency_graphs import ANY, PROPS, RGB, mean_graph

from smaf.core.errors import InputError
from smaf.engine.predicting.opening import shipped_saliency, shipped_weights
from smaf.engine.predicting.saliency_network import SaliencyNetwork, find_model, open_saliency

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COLOUR = (102, 51, 204)  # 0.4, 0.2, 0.8


def map_of(network: SaliencyNetwork, photograph: Image.Image) -> np.ndarray:
    images = network.images(photograph, network.size(photograph.size))
    return network.map(images, "photograph x.jpg")


def flat(size: tuple[int, int] = (50, 40)) -> Image.Image:
    return Image.new("RGB", size, COLOUR)


def test_isnet_takes_the_mean_a_half(tmp_path: Path) -> None:
    """Mean of 0.4, 0.2 and 0.8 less a half is -1/30; its double and 0.6 are 0.5333, 136 of 255."""
    path = mean_graph(tmp_path / "isnet-general-use.onnx", scale=2, bias=0.6)
    values = map_of(SaliencyNetwork(path), flat())
    assert values.shape == (32, 32) and values.dtype == np.uint8 and set(values.flat) == {136}


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16"])
def test_u2net_takes_imagenets_mean_and_its_output_as_it_is(kind: str, tmp_path: Path) -> None:
    path = mean_graph(tmp_path / "silueta.onnx", scale=0.25, bias=0.25, kind=kind)
    normal = sum((c / 255 - m) / s for c, m, s in zip(COLOUR, MEAN, STD, strict=True)) / 3
    assert set(map_of(SaliencyNetwork(path), flat()).flat) == {round(255 * (normal / 4 + 0.25))}


def test_birefnet_gets_a_sigmoid(tmp_path: Path) -> None:
    """The logit ln 3 is 0.75, 191 of 255; one of -200 is 0 without a word of NumPy's."""
    for bias, value in ((math.log(3), 191), (-200, 0), (200, 255)):
        path = mean_graph(tmp_path / "birefnet-general.onnx", scale=0, bias=bias)
        assert set(map_of(SaliencyNetwork(path), flat()).flat) == {value}
    path = mean_graph(tmp_path / "birefnet-general-lite.onnx", scale=-1)
    normal = sum((c / 255 - m) / s for c, m, s in zip(COLOUR, MEAN, STD, strict=True)) / 3
    expected = round(255 / (1 + math.exp(normal)))
    assert set(map_of(SaliencyNetwork(path), flat()).flat) == {expected}


@pytest.mark.parametrize(
    ("shape", "preset", "size"),
    [
        (ANY, "u2net", (320, 320)),
        (ANY, "isnet", (1024, 1024)),
        (ANY, "birefnet", (1024, 1024)),
        (RGB, "isnet", (32, 32)),
        ((1, 3, 24, 40), "u2net", (40, 24)),
        (("n", "c", "h", "w"), "u2net", (320, 320)),
    ],
)
def test_the_side_is_the_graphs_else_the_presets(
    shape: tuple[Any, ...], preset: str, size: tuple[int, int], tmp_path: Path
) -> None:
    network = SaliencyNetwork(mean_graph(tmp_path / "any.onnx", shape), preset)
    assert network.size((500, 375)) == size and network.preset == preset


def test_a_file_that_says_itself_keeps_the_aspect(tmp_path: Path) -> None:
    """(128/255 - 0.5) / 0.25 · 0.25 + 0.5 is 128/255 again; 96×32 becomes 64×32."""
    path = mean_graph(tmp_path / "own.onnx", ANY, scale=0.25, bias=0.5, props=PROPS)
    network = SaliencyNetwork(path)
    values = map_of(network, Image.new("RGB", (96, 32), (128, 128, 128)))
    assert network.preset is None and values.shape == (32, 64) and set(values.flat) == {128}


def test_what_is_bright_stays_in_its_place_without_a_stretch(tmp_path: Path) -> None:
    pixels = np.full((40, 90, 3), 51, dtype=np.uint8)
    pixels[:10, 60:] = 153
    network = SaliencyNetwork(mean_graph(tmp_path / "m.onnx", bias=0.5), "isnet")
    values = map_of(network, Image.fromarray(pixels))
    assert values[2, 29] == 153 and values[30, 29] == values[2, 2] == 51


@pytest.mark.parametrize("axes", [[], [1], [0, 1]])
def test_one_map_of_any_number_of_dimensions(axes: list[int], tmp_path: Path) -> None:
    """[1, 1, h, w] as most networks give it, and squeezed."""
    import onnx

    path = mean_graph(tmp_path / "isnet-general-use.onnx", bias=0.5, nodes=[("Abs", "map", "y")])
    if axes:
        model = onnx.load(path)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(axes), "axes"))
        step = model.graph.node[-1]
        step.op_type, step.input[:] = "Squeeze", ["map", "axes"]
        path.write_bytes(model.SerializeToString())
    assert set(map_of(SaliencyNetwork(path), flat()).flat) == {119}


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"inputs": ("photo", "other")}, "expected one input"),
        ({"shape": (1, 3, 32)}, "expected one input"),
        ({"kind": "DOUBLE"}, "expected one input"),
        ({"shape": (1, 1, 32, 32)}, "expected [1, 3, height, width]"),
        ({"shape": (1, 32, 32, 3)}, "expected [1, 3, height, width]"),
        ({"shape": (4, 3, 32, 32)}, "expected [1, 3, height, width]"),
        ({"shape": (1, 3, 32, 9000)}, "9000×32 pixels"),
        ({"nodes": [("NoSuch", "map", "y")], "domain": "mine"}, "cannot be read as ONNX"),
        ({"props": {**PROPS, "side": "7"}}, "side is 7"),
    ],
)
def test_graphs_that_do_not_serve_are_named(
    about: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = mean_graph(tmp_path / "u2net.onnx", **about)
    with pytest.raises(InputError) as caught:
        SaliencyNetwork(path)
    said = str(caught.value)
    assert words in said and str(path) in said and "\n" not in said and ": take " in said


@pytest.mark.parametrize(
    ("preset", "about", "words"),
    [
        ("u2net", {"bias": 3}, "try --preset birefnet"),
        ("isnet", {"bias": -3}, "try --preset birefnet"),
        ("birefnet", {"scale": 0, "bias": 0.5}, "try --preset u2net or --preset isnet"),
        (None, {"props": PROPS, "shape": ANY, "bias": 9}, "export it with its sigmoid"),
        ("isnet", {"bias": -3, "nodes": [("Sqrt", "map", "y")]}, "not finite"),
        ("birefnet", {"bias": -3, "nodes": [("Log", "map", "y")]}, "not finite"),
        ("isnet", {"nodes": [("Flatten", "map", "y")]}, "gives [1, 1024] first, expected one map"),
        ("isnet", {"nodes": [("GlobalMaxPool", "map", "y")]}, "gives [1, 1, 1, 1] first"),
    ],
)
def test_outputs_that_are_no_map_are_named(
    preset: str | None, about: dict[str, Any], words: str, tmp_path: Path
) -> None:
    network = SaliencyNetwork(mean_graph(tmp_path / "x.onnx", **about), preset)
    with pytest.raises(InputError) as caught:
        map_of(network, flat())
    said = str(caught.value)
    assert words in said and "x.onnx" in said and "\n" not in said


def test_a_map_for_each_class_is_none_of_what_is_salient(tmp_path: Path) -> None:
    import onnx

    path = mean_graph(tmp_path / "u2net.onnx")
    model = onnx.load(path)
    model.graph.output[0].name = "photo2"
    model.graph.node.append(onnx.helper.make_node("Abs", ["photo"], ["photo2"]))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"gives \[1, 3, 32, 32\] first, expected one map"):
        map_of(SaliencyNetwork(path), flat())


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = mean_graph(tmp_path / "u2net.onnx").read_bytes()
    for content in (b"", b"no network", whole[: len(whole) // 2], whole[:-3]):
        (tmp_path / "u2net.onnx").write_bytes(content)
        with pytest.raises(InputError, match=r"saliency network .*u2net\.onnx") as caught:
            SaliencyNetwork(tmp_path / "u2net.onnx")
        assert "\n" not in str(caught.value)


def test_weights_in_another_file_are_not_looked_for(tmp_path: Path) -> None:
    import onnx

    path = mean_graph(tmp_path / "u2net.onnx")
    model = onnx.load(path)
    onnx.external_data_helper.convert_model_to_external_data(model, size_threshold=0)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="lies in another file"):
        SaliencyNetwork(path)


def test_rembgs_cache_is_searched_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("U2NET_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    places = [tmp_path / "home/.u2net", tmp_path / "data/.u2net", tmp_path / "cache"]
    for place, setting in zip(places, ("", "XDG_DATA_HOME", "U2NET_HOME"), strict=True):
        if setting:
            monkeypatch.setenv(setting, str(place.parent if "DATA" in setting else place))
        with pytest.raises(InputError) as caught:
            find_model("u2net")
        assert str(place / "u2net.onnx") in str(caught.value) and setting in str(caught.value)
        place.mkdir(parents=True)
        mean_graph(place / "u2net.onnx")
        assert find_model("u2net") == place / "u2net.onnx"
    assert open_saliency("u2net").preset == "u2net"
    with pytest.raises(InputError, match="did you mean 'u2netp'"):
        find_model("u2nettp")
    for name in ("no/such", "such.onnx"):
        with pytest.raises(InputError, match=f"--model {name} does not exist"):
            find_model(name)
    (tmp_path / "u2net").write_bytes(b"")  # a file comes before the cache
    assert find_model("u2net") == Path("u2net")


def test_threads_are_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mean_graph(tmp_path / "u2net.onnx")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for threads, expected in ((1, 1), (None, 3)):
        network = SaliencyNetwork(path, threads=threads)
        assert network.session.get_session_options().intra_op_num_threads == expected


@pytest.mark.parametrize("name", sorted(shipped_saliency()))
def test_shipped_networks(name: str) -> None:
    path = shipped_saliency()[name]
    assert path.stat().st_size <= 8e6 and name not in shipped_weights()
    values = map_of(open_saliency(name), flat((500, 375)))
    assert min(values.shape) >= 32
