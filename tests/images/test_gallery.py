"""The grid of pictures in README: its size, its titles, what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from gallery import write_gallery
from PIL import Image


def test_gallery_has_the_size_of_its_grid_and_the_pictures_in_it(tmp_path: Path) -> None:
    red = np.full((60, 120, 3), (200, 0, 0), dtype=np.uint8)
    tall = np.full((120, 60, 3), (0, 0, 200), dtype=np.uint8)
    write_gallery(tmp_path / "plain.png", [[red, red], [red, tall]], ["photograph", "mask"])
    plain = Image.open(tmp_path / "plain.png")
    assert plain.size == (8 + 2 * (240 + 8), 36 + 120 + 8 + 480 + 8)  # 36 for the titles, gaps of 8
    assert plain.getpixel((8, 36)) == (200, 0, 0) and plain.getpixel((257, 164)) == (0, 0, 200)
    assert plain.getpixel((8, 164)) == (255, 255, 255) and plain.getpixel((8, 164 + 240)) == (
        200,
        0,
        0,
    )
    titles = ["a", "a name that is far too long for a row of a hundred and twenty pixels " * 2]
    write_gallery(tmp_path / "titled.png", [[red, red], [red, red]], ["photograph", "mask"], titles)
    titled = Image.open(tmp_path / "titled.png")
    assert titled.size == (36 + 2 * 248, 36 + 2 * 128)
    assert np.asarray(titled)[36:156, :36].min() < 128  # the title is there
    assert np.asarray(titled)[156:164].min() == 255  # and stays in its row


def test_gallery_refuses_uneven_rows_and_titles(tmp_path: Path) -> None:
    cell = np.zeros((2, 2, 3), dtype=np.uint8)
    for rows, columns, titles in (
        ([[cell], [cell, cell]], ["a"], None),
        ([], ["a"], None),
        ([[cell]], ["a"], []),
        ([[cell[..., 0]]], ["a"], None),
    ):
        with pytest.raises(ValueError, match="expected"):
            write_gallery(tmp_path / "gallery.png", rows, columns, titles)
    assert os.listdir(tmp_path) == []
