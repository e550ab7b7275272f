"""Charts as they lie in a page: what they show, and what they must not hold."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from smaf.report.charts import Curve, bars, curves, smoothed

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_bars_tell_their_values_and_leave_out_what_is_not_known() -> None:
    svg = bars("a", "mIoU", ["one", "two $x$ <b>"], {"A": [0.5, float("nan")], "B": [0.25, 1.0]})
    told = words(svg)
    assert {"50.0", "25.0", "100.0", "one", "two $x$ <b>", "A", "B"} <= set(told)
    assert "nan" not in told and svg.count("stroke-series") + svg.count("fill-series") >= 4


def test_curves_have_their_points_and_a_dot_at_the_best() -> None:
    svg = curves("b", "mIoU", [Curve("run", [0, 1, 2], [1.0, 3.0, 2.0], best=1)], x="t", y="mIoU")
    paths = ElementTree.fromstring(svg).iter(f"{SVG}path")
    lines = [p.get("d", "") for p in paths if p.get("class") == "stroke-series0"]
    line = max((re.findall(r"[ML] ([\d.]+) ([\d.]+)", d) for d in lines), key=len)
    xs, ys = np.array(line, dtype=float).T
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], rel=1e-3)
    assert ys[0] - ys[1] == pytest.approx(2 * (ys[2] - ys[1]), rel=1e-3)  # y points down
    assert {"t", "mIoU", "run"} <= set(words(svg))


def test_a_chart_keeps_the_pages_rules() -> None:
    """No style attributes, no addresses, colours of the page alone, ids of its own."""
    first, second = (bars(name, 'a "b" <c>', ["x"], {"A": [0.5]}) for name in ("one", "two"))
    for svg in (first, second):
        root = ElementTree.fromstring(svg)
        assert all("style" not in element.attrib for element in root.iter())
        assert "xlink" not in svg and "<style" not in svg and "<metadata" not in svg
        assert root.get("aria-label") == 'a "b" <c>' and root.get("role") == "img"
        named = {element.get("id") for element in root.iter()} - {None}
        used = {link[1:] for element in root.iter() if (link := element.get("href"))}
        used |= set(re.findall(r"url\(#([^)]+)\)", svg))
        assert used and used <= named
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert not ids[0] & ids[1]
    assert not re.search(r'(fill|stroke)="#0[1-4]', first)


def test_smoothing_keeps_the_length() -> None:
    assert smoothed([0.0, 3.0, 6.0, 9.0], 3).tolist() == [1.5, 3.0, 6.0, 7.5]
    assert smoothed([1.0, 2.0], 1).tolist() == [1.0, 2.0] and len(smoothed([], 3)) == 0
