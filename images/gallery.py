"""A grid of pictures with titled columns as one file: what README and docs/ show."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from smaf.core.files import write_bytes

CELL_WIDTH = 240
_GAP = 8
_TITLE_HEIGHT = 36
_TITLE_SIZE = 20
_PAPER, _INK = "white", (28, 36, 48)


def _fitted_font(text: str, room: int) -> ImageFont.FreeTypeFont:
    """The font that ships with matplotlib, small enough for `text` to be at most `room` pixels
    long."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    size = _TITLE_SIZE
    font = ImageFont.truetype(str(path), size)
    while size > 8 and font.getlength(text) > room:
        size -= 1
        font = ImageFont.truetype(str(path), size)
    return font


def _title(text: str, length: int) -> Image.Image:
    """`text` centred on a strip of `length` pixels; what does not fit even in small letters is cut
    with an ellipsis."""
    font = _fitted_font(text, length)
    while len(text) > 1 and font.getlength(text) > length:
        text = text.rstrip("…")[:-1] + "…"
    strip = Image.new("RGB", (length, _TITLE_HEIGHT), _PAPER)
    ImageDraw.Draw(strip).text(
        (length / 2, _TITLE_HEIGHT / 2), text, font=font, fill=_INK, anchor="mm"
    )
    return strip


def _cell(picture: np.ndarray) -> Image.Image:
    """The picture, (H, W, 3) uint8 RGB, scaled to the width of a cell."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(
            f"expected a picture (H, W, 3) of uint8, got {picture.shape} of {picture.dtype}"
        )
    height = max(1, round(picture.shape[0] * CELL_WIDTH / picture.shape[1]))
    return Image.fromarray(np.ascontiguousarray(picture)).resize(
        (CELL_WIDTH, height), Image.Resampling.LANCZOS
    )


def _check(
    rows: Sequence[Sequence[np.ndarray]], columns: Sequence[str], titles: Sequence[str] | None
) -> None:
    lengths = sorted({len(row) for row in rows})
    if not columns or lengths != [len(columns)]:
        raise ValueError(
            f"expected at least one row, each of {len(columns)} pictures (the column titles), "
            f"got rows of {lengths}"
        )
    if titles is not None and len(titles) != len(rows):
        raise ValueError(f"expected {len(rows)} row titles, got {len(titles)}")


def write_gallery(
    path: Path,
    rows: Sequence[Sequence[np.ndarray]],
    column_titles: Sequence[str],
    row_titles: Sequence[str] | None = None,
) -> None:
    """Write `rows` of (H, W, 3) uint8 RGB pictures to `path` (.png or .jpg), titles above columns.

    Every picture is 240 pixels wide and keeps its proportions; a row is as high as its highest
    picture. `row_titles` stand upright at the left of the rows.
    """
    _check(rows, column_titles, row_titles)
    cells = [[_cell(picture) for picture in row] for row in rows]
    heights = [max(cell.height for cell in line) for line in cells]
    left = _GAP if row_titles is None else _TITLE_HEIGHT
    sheet = Image.new(
        "RGB",
        (
            left + len(column_titles) * (CELL_WIDTH + _GAP),
            _TITLE_HEIGHT + sum(heights) + len(heights) * _GAP,
        ),
        _PAPER,
    )
    for column, title in enumerate(column_titles):
        sheet.paste(_title(title, CELL_WIDTH), (left + column * (CELL_WIDTH + _GAP), 0))
    top = _TITLE_HEIGHT
    for index, (line, height) in enumerate(zip(cells, heights, strict=True)):
        if row_titles is not None:
            sheet.paste(
                _title(row_titles[index], height).transpose(Image.Transpose.ROTATE_90), (0, top)
            )
        for column, cell in enumerate(line):
            sheet.paste(
                cell, (left + column * (CELL_WIDTH + _GAP), top + (height - cell.height) // 2)
            )
        top += height + _GAP
    stream = io.BytesIO()
    kind = {".png": "PNG", ".jpg": "JPEG"}[path.suffix]
    sheet.save(stream, format=kind, optimize=True, quality=88)
    write_bytes(path, stream.getvalue())
