"""One self-contained HTML page: scores, the legend, and a row of pictures for each image."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smaf.core.classes import IGNORE
from smaf.core.files import write_text
from smaf.report.pictures import mask_colours

PICTURE_WIDTH = 240
_FLAT_COLOURS = 64  # pictures with no more colours are masks: PNG keeps their edges
_SCORES = (
    ("miou", "mIoU"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("accuracy", "pixel accuracy"),
)
_STYLE = """\
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d5dae1; --paper: #fff; --grey: #e7eaee; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --soft: #9aa6b5; --line: #38414d; --paper: #14181e; --grey: #272e38; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 112rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
p { max-width: 46rem; } h1, p, li, th, h3 { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.ladder { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.ladder th, .ladder td { padding: .35rem .9rem; border-bottom: 1px solid var(--line); text-align: right; }
.ladder th:first-child { text-align: left; min-width: 9rem; padding-left: 0; }
.ladder thead th { color: var(--soft); font-weight: 500; white-space: nowrap; }
.ladder tbody th { font-weight: 500; } .ladder td:nth-child(2) { font-weight: 650; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: 0; padding: 0; list-style: none; }
.swatch { display: inline-block; width: .9em; height: .9em; margin-right: .4em; border: 1px solid #8888;
  border-radius: 3px; vertical-align: -.08em; }
.row { width: max-content; min-width: 100%; padding: .7rem 0 .9rem; border-top: 1px solid var(--line); }
.row h3 { position: sticky; left: 0; width: fit-content; max-width: min(100%, 92vw); margin: 0 0 .5rem;
  font-size: 1rem; }
.row h3 span { margin-left: 1rem; font-weight: 400; color: var(--soft); white-space: nowrap; }
.cells { display: grid; grid-template-columns: repeat(var(--columns), clamp(150px, calc(88vw / var(--columns)), 240px));
  gap: .6rem; align-items: start; }
figure { margin: 0; } img { display: block; width: 100%; height: auto; border-radius: 4px; }
figcaption { margin-top: .25rem; font-size: .85rem; color: var(--soft); text-align: center; }
.missing { display: flex; align-items: center; justify-content: center; padding: .5rem;
  border-radius: 4px; background: var(--grey); color: var(--soft); font-size: .85rem; text-align: center; }
"""


@dataclass(frozen=True)
class Row:
    """The pictures of one image, each with its caption.

    A picture is (H, W, 3) uint8 RGB, or None where it could not be made.
    """

    image_id: str
    labels: tuple[str, ...]
    pictures: Sequence[tuple[str, np.ndarray | None]]


def _data_uri(picture: np.ndarray) -> str:
    """The picture, at most 240 px wide, as a data URI: PNG where it has few colours, else JPEG."""
    image = Image.fromarray(np.ascontiguousarray(picture, dtype=np.uint8)).convert("RGB")
    flat = image.getcolors(_FLAT_COLOURS) is not None
    if image.width > PICTURE_WIDTH:
        height = max(1, round(image.height * PICTURE_WIDTH / image.width))
        image = image.resize(
            (PICTURE_WIDTH, height), Image.Resampling.NEAREST if flat else Image.Resampling.LANCZOS
        )
    stream = io.BytesIO()
    if flat:
        image.save(stream, format="PNG", optimize=True)
    else:
        image.save(stream, format="JPEG", quality=88)
    return f"data:image/{'png' if flat else 'jpeg'};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _swatch(value: int) -> str:
    red, green, blue = (int(part) for part in mask_colours()[value])
    return f'<i class="swatch" style="background:rgb({red},{green},{blue})"></i>'


def _legend(classes: Sequence[str]) -> str:
    entries = [(0, "background"), *enumerate(classes, start=1), (IGNORE, "left out (255)")]
    items = "".join(f"<li>{_swatch(value)}{escape(name)}</li>" for value, name in entries)
    return f'<h2>Classes</h2>\n<ul class="legend">{items}</ul>\n'


def _percent(score: float | np.ndarray | None) -> str:
    """Return a score in %, or the mean over the classes of a score per class.

    Classes without a score are left out; where none has one it is a dash.
    """
    values = np.asarray(np.nan if score is None else score, dtype=np.float64)
    return "–" if np.isnan(values).all() else f"{100.0 * np.nanmean(values):.2f}"


def _ladder(ladder: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    if not ladder:
        return ""
    head = "".join(f'<th scope="col">{title}</th>' for _, title in _SCORES)
    lines = "".join(
        f'<tr><th scope="row">{escape(stage)}</th>'
        + "".join(f"<td>{_percent(scores.get(key))}</td>" for key, _ in _SCORES)
        + "</tr>\n"
        for stage, scores in ladder
    )
    return (
        f'<h2>Scores, %</h2>\n<div class="scroll"><table class="ladder">\n<thead><tr><th scope="col">stage</th>'
        f"{head}</tr></thead>\n<tbody>\n{lines}</tbody></table></div>\n"
    )


def _cell(image_id: str, caption: str, picture: np.ndarray | None, size: tuple[int, int]) -> str:
    """Return a picture over its caption.

    A missing one is a grey cell in the proportions of `size` (width, height).
    """
    if picture is None:
        shown = f'<div class="missing" style="aspect-ratio:{size[0]}/{size[1]}">not available</div>'
    else:
        shown = f'<img src="{_data_uri(picture)}" alt="{escape(f"{caption} of {image_id}")}">'
    return f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>"


def _image_row(row: Row, captions: Sequence[str], classes: Sequence[str]) -> str:
    """One image's line of the grid: a cell for each caption, in the page's order."""
    pictures = dict(row.pictures)
    if len(pictures) < len(row.pictures):
        raise ValueError(
            f"the row of {row.image_id} has two pictures under one caption: "
            f"{', '.join(caption for caption, _ in row.pictures)}"
        )
    labels = "".join(
        f"<span>{_swatch(classes.index(label) + 1) if label in classes else ''}{escape(label)}</span>"
        for label in row.labels or ("none of the classes",)
    )
    size = next(
        ((shown.shape[1], shown.shape[0]) for shown in pictures.values() if shown is not None),
        (4, 3),
    )
    cells = "".join(
        _cell(row.image_id, caption, pictures.get(caption), size) for caption in captions
    )
    return (
        f'<section class="row">\n<h3>{escape(row.image_id)}{labels}</h3>\n<div class="cells">{cells}</div>\n'
        "</section>\n"
    )


def _image_rows(rows: Sequence[Row], classes: Sequence[str]) -> str:
    if not rows:
        return ""
    captions = list(dict.fromkeys(caption for row in rows for caption, _ in row.pictures))
    lines = "".join(_image_row(row, captions, classes) for row in rows)
    return (
        '<h2>Images</h2>\n<div class="scroll" '
        f'style="--columns:{max(1, len(captions))}">\n{lines}</div>\n'
    )


def write_page(
    path: Path,
    *,
    title: str,
    intro: Sequence[str],
    ladder: Sequence[tuple[str, Mapping[str, Any]]],
    rows: Sequence[Row],
    classes: Sequence[str],
) -> None:
    """Write the report to `path`: one HTML file without scripts that loads nothing from elsewhere.

    `intro` are paragraphs of plain text. `ladder` is (stage, scores), the scores in 0..1 under the
    keys `miou`, `precision`, `recall` and `accuracy`, shown in %: a number, or one a class (NaN
    where a class has none), of which the mean is shown; a missing one is a dash. The columns of the
    picture grid are the captions of `rows` in the order in which they first occur; a picture that
    is None or not in its row becomes a grey cell. `classes` are the foreground names, class c in
    the colour of mask value c + 1.
    """
    classes = list(classes)
    paragraphs = "".join(f"<p>{escape(text)}</p>\n" for text in intro)
    write_text(
        path,
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{paragraphs}{_ladder(ladder)}{_legend(classes)}{_image_rows(rows, classes)}</body>
</html>
""",
    )
