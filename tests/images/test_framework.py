"""The picture of the pipeline in README: its size, and nothing cut off at its margin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from framework import HEIGHT, draw_framework
from PIL import Image


def test_framework_is_1800_pixels_wide_and_within_its_sheet(tmp_path: Path) -> None:
    draw_framework(tmp_path / "framework.png")
    picture = np.asarray(Image.open(tmp_path / "framework.png").convert("L"))
    assert picture.shape == (HEIGHT, 1800)
    margin = picture.copy()
    margin[20:-20, 20:-20] = 255
    assert (
        margin.min() == 255 and picture.min() < 60
    )  # nothing reaches the margin, so nothing is clipped
