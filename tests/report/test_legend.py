"""Legends of overlays: every name in reach of the eye, in any script, and no pixel of the picture
hidden."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from smaf.core.images import voc_palette
from smaf.report.legend import _fitted, _rows, add_legend

WHITE, INK = (255, 255, 255), (32, 32, 32)
VOC = """aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike
person pottedplant sheep sofa train tvmonitor"""


def grey(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (128, 128, 128))


def strip(picture: Image.Image, width: int, height: int) -> np.ndarray:
    """The legend's pixels, once it is known that those above it are the picture's."""
    pixels = np.asarray(picture)
    assert pixels.shape[1] == width and (pixels[:height] == 128).all()
    return pixels[height:]


def test_a_row_of_colours_and_names_below_the_picture() -> None:
    """500×412 pixels: a font of 16, so a gap of 7, boxes of 16 and a strip of 16 + 3·7 - 7."""
    legend = strip(add_legend(grey(500, 412), {1: "cat", 3: "dog"}), 500, 412)
    assert len(legend) == 16 + 2 * 7
    first, second = (tuple(voc_palette()[value]) for value in (1, 3))
    assert tuple(legend[7, 7]) == INK and tuple(legend[15, 15]) == first
    (columns,) = np.nonzero((legend[15] == second).all(axis=1))
    assert columns.max() - columns.min() + 1 == 14  # a box without its outline
    assert columns.min() > 7 + 16 + 20  # after the first box and its three letters
    assert (legend[:7] == 255).all() and (legend[-2:] == 255).all()


@pytest.mark.parametrize("width", [120, 250, 333, 500, 640, 1000])
def test_no_name_touches_the_right_edge(width: int) -> None:
    names = dict(enumerate(VOC.split(), start=1))
    legend = strip(add_legend(grey(width, 400), names), width, 400)
    assert (legend[:, -2:] == 255).all()
    for value in names:  # each colour has a box of its own
        assert (legend == voc_palette()[value]).all(axis=-1).sum() >= 9 * 9


@pytest.mark.parametrize(("size", "font"), [((64, 48), 11), ((500, 375), 15), ((4096, 2731), 119)])
def test_letters_grow_with_the_picture_and_take_little_of_it(
    size: tuple[int, int], font: int
) -> None:
    legend = strip(add_legend(grey(*size), {1: "cat"}), *size)
    (column,) = np.nonzero((legend != 255).any(axis=(1, 2)))
    assert column.max() - column.min() + 1 == font  # the box is as high as the font is large
    if size[0] > 100:
        assert len(legend) < 0.09 * size[1]


def test_rows_take_as_many_as_fit_and_at_least_one() -> None:
    assert list(_rows([40, 60, 1, 200, 30], 100)) == [[0, 1], [2], [3], [4]]


def test_nothing_to_say_and_no_room_leave_the_picture() -> None:
    picture = grey(60, 40)
    assert add_legend(picture, {}) is picture
    for size in ((1, 1), (20, 20), (14, 500)):
        assert add_legend(grey(*size), {1: "cat"}).size == size
    assert add_legend(grey(500, 1), {1: "cat"}).height > 1


def test_a_long_name_is_cut_short() -> None:
    text, font = _fitted(1, "x" * 300, 16, 200)
    assert text.endswith("x…") and 180 < font.getlength(text) <= 200
    assert _fitted(1, "cat", 16, 200)[0] == "cat"


@pytest.mark.parametrize(
    "name",
    [
        "кошка",
        "café",
        "猫",
        "قط",
        "बिल्ली",
        "แมว",
        "🐱",
        "👩‍👩‍👧",
        "a\nb",
        "\x00",
        "\ud800",
        "e\u0301",
        " ",
        "\u202e cat",
        "\u2028",
        "\U0010ffff",
        "\ufeff",
    ],
)
def test_names_in_any_script(name: str) -> None:
    """Each is written, or stands by its mask value where no font of this machine has it."""
    text, font = _fitted(5, name, 16, 400)
    assert text and font.getlength(text) <= 400
    legend = strip(add_legend(grey(500, 100), {5: name, 6: "dog"}), 500, 100)
    for value in (5, 6):
        assert (legend == voc_palette()[value]).all(axis=-1).any()


def test_what_no_font_has_stands_by_its_mask_value() -> None:
    assert _fitted(5, "猫\u0378", 16, 400)[0] == "class 5"
    assert _fitted(5, "кошка", 16, 400)[0] == "кошка"  # matplotlib's font has it
