"""What saliency networks say of themselves, and the maps that are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smaf.core.errors import InputError
from smaf.core.saliency_facts import PRESETS, SaliencyFacts, facts_for, parse_props, write_props
from smaf.core.saliency_maps import made_here, read_saliency, write_saliency

FACTS = SaliencyFacts((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 384, keeps_aspect=True)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def facts(props: dict[str, str], preset: str | None = None, stem: str = "mine") -> object:
    return facts_for(props, preset, stem=stem, where=f"saliency network {stem}.onnx")


def test_presets_are_those_of_the_published_networks() -> None:
    values = {
        name: (preset.mean, preset.std, preset.side, preset.sigmoid)
        for name, preset in PRESETS.items()
    }
    assert values == {
        "u2net": (*IMAGENET, 320, False),
        "isnet": ((0.5,) * 3, (1.0,) * 3, 1024, False),
        "birefnet": (*IMAGENET, 1024, True),
    }


@pytest.mark.parametrize(
    ("stem", "preset"),
    [
        ("u2net", "u2net"),
        ("u2netp", "u2net"),
        ("silueta", "u2net"),
        ("isnet-general-use", "isnet"),
        ("birefnet-general", "birefnet"),
        ("BiRefNet-general-lite", "birefnet"),
    ],
)
def test_the_name_says_the_preset_and_an_option_comes_first(stem: str, preset: str) -> None:
    assert facts({}, stem=stem) == (PRESETS[preset], preset)
    assert facts({}, "isnet", stem=stem) == (PRESETS["isnet"], "isnet")


def test_what_a_file_says_is_read_as_it_is_written() -> None:
    props = write_props(FACTS)
    assert props["side"] == "384" and parse_props(props, "x.onnx") == FACTS
    assert facts({**props, "author": "me"}, stem="u2net") == (FACTS, None)
    assert parse_props({"mean": "[0, 0, 0]"}, "x.onnx") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": "[0.5, 0.5]"}, "mean is"),
        ({"mean": "[123, 116, 103]"}, "mean is"),
        ({"std": "[0, 1, 1]"}, "std is"),
        ({"std": "0.5 0.5 0.5"}, "its std is not valid JSON"),
        ({"side": "0"}, "side is 0"),
        ({"side": "100000"}, "side is 100000"),
        ({"side": "100"}, "expected a multiple of 32"),
        ({"side": "1e3"}, "side is 1000.0"),
    ],
)
def test_wrong_properties_are_named(change: dict[str, str], words: str) -> None:
    with pytest.raises(InputError) as caught:
        facts({**write_props(FACTS), **change})
    assert words in str(caught.value) and "mine.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_known_and_said_twice() -> None:
    with pytest.raises(InputError, match=r"mine\.onnx does not say .* add --preset u2net"):
        facts({})
    with pytest.raises(InputError, match="leave --preset u2net out"):
        facts(write_props(FACTS), "u2net")


@pytest.mark.parametrize(
    ("photograph", "size"),
    [
        ((500, 375), (384, 288)),
        ((375, 500), (288, 384)),
        ((60, 60), (384, 384)),
        ((1000, 10), (384, 32)),
        ((1, 9000), (32, 384)),
        ((400, 300), (384, 288)),
        ((500, 333), (384, 256)),
    ],
)
def test_the_aspect_is_kept_in_multiples_of_32(
    photograph: tuple[int, int], size: tuple[int, int]
) -> None:
    assert FACTS.size(photograph) == size and PRESETS["u2net"].size(photograph) == (320, 320)


def test_a_map_says_who_made_it_until_a_program_changes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    values = np.arange(48, dtype=np.uint8).reshape(6, 8)
    write_saliency(path, Image.fromarray(values))
    assert made_here(path) and np.array_equal(read_saliency(path, size=(8, 6)), values)
    Image.open(path).save(path)
    assert not made_here(path) and np.array_equal(read_saliency(path), values)
    (tmp_path / "empty.png").touch()
    assert not made_here(tmp_path / "empty.png")


@pytest.mark.parametrize(("highest", "read"), [(1, 0), (2, 2), (0, 0)])
def test_nearly_nothing_is_not_read_as_a_mask_of_0_and_1(
    highest: int, read: int, tmp_path: Path
) -> None:
    write_saliency(tmp_path / "a.png", Image.fromarray(np.array([[0, highest]], dtype=np.uint8)))
    assert np.asarray(read_saliency(tmp_path / "a.png")).tolist() == [[0, read]]
