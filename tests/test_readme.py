"""README's examples from Python run as they stand, with fewer steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smaf.core.images import read_mask
from smaf.data.demo.demo_set import render_demo_set

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


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
