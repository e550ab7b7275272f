"""The legend of an overlay: a strip below the picture with each class's colour and name."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from smaf.core.errors import printable
from smaf.report.pictures import mask_colours

_SMALLEST = 11  # pixels: still legible
_SHARE = 28  # the root of the picture's area is so many times the font's size
_PAPER, _INK = (255, 255, 255), (32, 32, 32)
# Fonts for what Pillow's own lacks: matplotlib's, then what systems have for many scripts
_WIDE_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "malgun.ttf",
    "DroidSansFallbackFull.ttf",
    "wqy-microhei.ttc",
)
_NO_CHARACTER = "\U0010ffff"


def add_legend(picture: Image.Image, names: Mapping[int, str]) -> Image.Image:
    """Return an RGB picture with a legend below it: for each mask value its colour and its name.

    The font grows with the picture. Names that are wider than the picture are cut short; one that
    no font here can write stands as `class 3`, by its mask value. Without names, or where the
    picture is narrower than a letter, the picture is returned as it is.
    """
    size = max(_SMALLEST, round(math.sqrt(picture.width * picture.height) / _SHARE))
    gap = max(2, round(0.45 * size))
    room = picture.width - size - 3 * gap
    entries = [(value, *_fitted(value, name, size, room)) for value, name in names.items()]
    if not entries or room < 0 or not all(text for _, text, _ in entries):
        return picture
    widths = [size + gap + round(font.getlength(text)) + gap for _, text, font in entries]
    rows = list(_rows([width + gap for width in widths], picture.width))
    line = size + gap
    result = Image.new("RGB", (picture.width, picture.height + len(rows) * line + gap), _PAPER)
    result.paste(picture)
    draw, colours = ImageDraw.Draw(result), mask_colours()
    for number, row in enumerate(rows):
        left, top = gap, picture.height + gap + number * line
        for index in row:
            value, text, font = entries[index]
            colour = tuple(int(level) for level in colours[value])
            box = (left, top, left + size - 1, top + size - 1)
            draw.rectangle(box, fill=colour, outline=_INK)
            place = (left + size + round(0.6 * gap), top + size / 2)
            draw.text(place, text, fill=_INK, font=font, anchor="lm")
            left += widths[index] + gap
    return result


def _rows(widths: Sequence[int], whole: int) -> Iterator[list[int]]:
    """Indices of the entries of each row, as many as fit into `whole` pixels, at least one."""
    row: list[int] = []
    left = whole
    for index, width in enumerate(widths):
        if row and width > left:
            yield row
            row, left = [], whole
        row.append(index)
        left -= width
    yield row


def _fitted(value: int, name: str, size: int, room: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """A name as the legend writes it in `room` pixels, and the font that can; empty: no room."""
    text = printable(name)
    font = _font_for(text, size)
    if font is None:
        text, font = f"class {value}", _own_font(size)
    if font.getlength(text) <= room:
        return text, font
    while text and font.getlength(text + "…") > room:
        text = text[:-1].rstrip()
    return text and text + "…", font


def _font_for(text: str, size: int) -> ImageFont.FreeTypeFont | None:
    """The first font that has every character of a text; None where none has."""
    if _can_write(own := _own_font(size), text):
        return own
    return next((font for font in _wide_fonts(size) if _can_write(font, text)), None)


def _can_write(font: ImageFont.FreeTypeFont, text: str) -> bool:
    """Whether no character of a text looks like the font's sign for characters that it lacks."""
    lacking = _picture_of(font, _NO_CHARACTER)
    return all(c.isspace() or _picture_of(font, c) != lacking for c in set(text))


def _picture_of(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


@cache
def _own_font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # given a size
    return font


@cache
def _wide_fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    """Fonts of many scripts that this machine has."""
    spec = importlib.util.find_spec("matplotlib")  # half a second to import, which is not needed
    folders = [] if spec is None else spec.submodule_search_locations or []
    own = [Path(folder) / "mpl-data/fonts/ttf" / _WIDE_FONTS[0] for folder in folders]
    fonts = []
    for name in (*own, *_WIDE_FONTS):
        try:
            fonts.append(ImageFont.truetype(str(name), size))
        except OSError:  # not on this machine
            continue
    return tuple(fonts)
