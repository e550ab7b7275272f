"""One HTML file with scores, charts, tables and a gallery, which loads nothing from anywhere.

The template, style and script lie in `templates/`. All that is shown is escaped by the template
engine; the content security policy allows this page's own style and script alone, by their
checksums.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from smaf.core.files import atomic_path
from smaf.report.pictures import mask_colours

GENERATOR = '<meta name="generator" content="SMAF">'  # by which a page is known again
MOST = 2_000  # photographs of a page, which browsers still open at once
_CHUNK = 40  # photographs whose pictures lie in one block, which is read when one of them is seen


@dataclass(frozen=True)
class Table:
    """A table: its heading, the names of its columns, its rows.

    A cell is a text, or a number in 0..1, which is shown in %; None is a dash. `shades` colours
    numbers by their size. Rows that are `folded` are shown when they are asked for.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    shades: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart: its heading, and the `<svg>` element of :func:`smaf.report.svg.svg_of`."""

    title: str
    svg: str


@dataclass(frozen=True)
class Section:
    """A part of the page: its name in addresses, its heading, paragraphs, charts and tables."""

    key: str
    title: str
    notes: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Layer:
    """What the gallery can lay over a photograph; `smooth`: a map, which is enlarged smoothly."""

    key: str
    title: str
    smooth: bool = False


@dataclass(frozen=True)
class Card:
    """A photograph of the gallery.

    Args:
        name: its file's name, with the folders below the one that all photographs share.
        size: (W, H) of its picture.
        photo: its picture, a data URI of :mod:`smaf.report.thumbnails`; None where there is none.
        classes: indices of the classes that it shows.
        pictures: layer key → data URI; a layer that it does not have is left out.
        quality: the estimate of its mask's quality, 0..1, where there is one.
        iou: the mean IoU of its shown classes, where there is a true mask.
        also: another name that it goes by, such as its id; who looks for it finds the card, too.
        fault: what is wrong with its files, in words.
    """

    name: str
    size: tuple[int, int]
    photo: str | None
    classes: Sequence[int]
    pictures: dict[str, str]
    quality: float | None = None
    iou: float | None = None
    also: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Gallery:
    """The photographs, the layers in the order of their keys, and what the gallery says of itself.

    `start` is the key of the layer that is shown first.
    """

    cards: Sequence[Card]
    layers: Sequence[Layer]
    start: str = "photo"
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """What a page shows; class c has the colour of mask value c + 1."""

    title: str
    classes: Sequence[str]
    intro: Sequence[str] = ()
    sections: Sequence[Section] = ()
    gallery: Gallery = field(default_factory=lambda: Gallery((), ()))


def is_replaceable(path: Path) -> bool:
    """Whether a page may be written to `path`: nothing is there, or a page of this project."""
    if not path.exists():
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(2_000)


def write_page(path: Path, page: Page) -> None:
    """Write the page to `path`, whole or not at all."""
    import jinja2  # a tenth of a second that only pages need

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    colours = [(value, _hex(value)) for value in (*range(len(page.classes) + 1), 255)]
    style = environment.get_template("page.css").render(colours=colours)
    script = _template("page.js")
    cards = page.gallery.cards
    stream = environment.get_template("page.html").stream(
        page=page,
        style=style,
        script=script,
        style_hash=_checksum(style),
        script_hash=_checksum(script),
        facts=_facts(page),
        chunks=[cards[i : i + _CHUNK] for i in range(0, len(cards), _CHUNK)],
    )
    stream.enable_buffering(64)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(stream)


def _template(name: str) -> str:
    return resources.files("smaf.report").joinpath("templates", name).read_text(encoding="utf-8")


def _checksum(text: str) -> str:
    """What the content security policy calls an inline style or script."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _hex(value: int) -> str:
    return "#" + bytes(int(part) for part in mask_colours()[value]).hex()


def _percent(value: float | None) -> str:
    """A score in %, or a dash.

    Example:
        >>> _percent(0.5), _percent(float("nan")), _percent(None)
        ('50.0', '–', '–')
    """
    return "–" if value is None or value != value else f"{100 * value:.1f}"


def _facts(page: Page) -> dict[str, Any]:
    """What the script must know of the gallery before pictures are seen."""
    gallery = page.gallery
    return {
        "chunk": _CHUNK,
        "classes": list(page.classes),
        "start": gallery.start,
        "layers": [
            {"key": layer.key, "title": layer.title, "smooth": layer.smooth}
            for layer in gallery.layers
        ],
        "cards": [
            {
                "name": card.name,
                "size": list(card.size),
                "classes": list(card.classes),
                "quality": _rounded(card.quality),
                "iou": _rounded(card.iou),
                "layers": list(card.pictures),
                "also": card.also,
                "fault": card.fault,
            }
            for card in gallery.cards
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 4)
