"""Matplotlib's charts as SVG that lies in a page: its colours are the page's, its ids its own.

A strict content security policy allows no `style` attributes, so that these become attributes of
the same meaning, and colours become classes of the page's style sheet.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# What a chart is drawn in, and the classes of page.css that take its place
INK, SOFT, GRID = "#010101", "#020202", "#030303"
SERIES = tuple(f"#0400{number:02x}" for number in range(6))
_NAMES = {INK: "ink", SOFT: "soft", GRID: "grid"} | {
    colour: f"series{number}" for number, colour in enumerate(SERIES)
}
_SVG, _LINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
_FONT = re.compile(r"(?:\w+ )*?([\d.]+)px")
_KEPT = {"fill", "stroke", "opacity", "text-anchor", "clip-path", "stroke-width"} | {
    f"stroke-{name}" for name in ("dasharray", "dashoffset", "linecap", "linejoin", "opacity")
}


@contextmanager
def plain_text() -> Iterator[None]:
    """A block in which a `$` in a chart's text is a `$`; figures must be made within it."""
    with matplotlib.rc_context({"text.parse_math": False}):
        yield


def svg_of(figure: Figure, name: str, alt: str) -> str:
    """The figure as an `<svg>` element; `name` begins its ids, `alt` says what it shows."""
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})
    root = ElementTree.fromstring(stream.getvalue().encode())  # our own, not a user's
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:
                parent.remove(child)
    for element in root.iter():
        _adapt(element, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"class": "chart", "role": "img", "aria-label": alt}
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element, name: str) -> None:
    """Make an element's style attributes, its ids one of the page, its references plain."""
    styled = element.attrib.pop("style", "")
    for part in filter(None, (part.strip() for part in styled.split(";"))):
        key, value = (word.strip() for word in part.split(":", 1))
        if key in {"font", "font-size"} and (size := _FONT.match(value)):
            element.set("font-size", size[1])
        elif key in _KEPT:
            element.set(key, value)
    classes = []
    for key in ("fill", "stroke"):
        if (colour := element.get(key, "").lower()) in _NAMES:
            del element.attrib[key]
            classes.append(f"{key}-{_NAMES[colour]}")
    if classes:
        element.set("class", " ".join(classes))
    if "id" in element.attrib:
        element.set("id", f"{name}-{element.attrib['id']}")
    link = element.attrib.pop(_LINK, None) or element.attrib.pop("href", None)
    if link is not None:
        element.set("href", f"#{name}-{link.removeprefix('#')}")
    for key in ("clip-path",):
        if key in element.attrib:
            element.set(key, element.attrib[key].replace("url(#", f"url(#{name}-"))
