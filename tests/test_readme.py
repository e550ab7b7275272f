"""The examples from Python in README and docs run as they stand, with fewer steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smaf.core.images import read_mask
from smaf.data.demo.demo_set import render_demo_set

ROOT = Path(__file__).resolve().parents[1]


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


BLOCKS = blocks("README.md")


def test_a_photograph_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48), "white").save("photo.jpg")
    names: dict[str, Any] = {}
    exec(BLOCKS[0], names)
    mask = names["result"].mask
    assert mask.shape == (48, 64) and np.array_equal(read_mask(tmp_path / "masks/photo.png"), mask)
    assert Image.open("overlay.png").width >= 64


@pytest.mark.slow
def test_a_whole_training_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(BLOCKS[1].splitlines()) <= 15
    render_demo_set(tmp_path / "demo/data", train=6, test=1, size=(96, 64))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(BLOCKS[1].replace("steps=60", "steps=1, batch_size=2, num_workers=0"), names)
    masks = sorted((tmp_path / "run/masks").glob("train_*.png"))
    assert len(masks) == 6 and read_mask(masks[0]).shape == (64, 96)
    assert names["network"] == Path("run/net/segmenter.pth") and names["network"].is_file()


def test_the_dense_crf_on_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.zeros((24, 32, 3), dtype=np.uint8)
    pixels[:, 16:] = 255
    Image.fromarray(pixels).save("photo.jpg", quality=95)
    probability = np.full((2, 24, 32), 0.4)
    probability[1, :, 12:] = 0.6  # four columns too far to the left
    probability[0] = 1 - probability[1]
    np.save("probability.npy", probability)
    names: dict[str, Any] = {}
    (block,) = blocks("docs/speed.md")
    exec(block, names)
    expected = np.zeros((24, 32))
    expected[:, 16:] = 1
    np.testing.assert_array_equal(names["mask"], expected)
