"""The page as a file that a browser would open: what it says, and that it loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import Mock

import pytest

from smaf.report.charts import bars
from smaf.report.page import (
    GENERATOR,
    Card,
    Chart,
    Gallery,
    Layer,
    Page,
    Section,
    Table,
    write_page,
)

EVIL = "</script><script>alert(1)</script>"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
VOID = {"meta", "input", "br", "path", "use", "rect"}


class Read(HTMLParser):
    """Collects tags, text and scripts; complains where the tags do not match."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words, self.inline = "", dict[str, list[str]]()
        self.feed(self.html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"script", "style"}:
            self.inline.setdefault(self.open[-1], []).append(data)
        else:
            self.words += data

    def data(self, name: str) -> list[dict[str, object]] | dict[str, object]:
        """The JSON of a block of data."""
        found = re.search(
            rf'<script type="application/json" id="{name}">(.*?)</script>', self.html, re.S
        )
        assert found is not None
        value: list[dict[str, object]] | dict[str, object] = json.loads(found[1])
        return value


def page() -> Page:
    chart = Chart("mIoU", bars("ladder", "a chart", ["CAM"], {"mIoU": [0.5]}))
    table = Table("Scores", ["stage", "mIoU", "note"], [["CAM", 0.47051, "one"], [EVIL, None, "–"]])
    shades = Table("Confusion", ["true", "cat"], [["cat", 0.96], ["dog", 0.0]], shades=True)
    folded = Table("All settings", ["", "run"], [["seed", "1337"]], folded=True)
    cards = [
        Card(f"p{n}", (4, 3), PIXEL, [n % 2], {"crf": PIXEL}, quality=n / 100) for n in range(90)
    ] + [Card(EVIL, (4, 3), PIXEL, [], {}, iou=float("nan"), also=EVIL, fault=EVIL)]
    sections = [
        Section("scores", "Scores & more", ["one < two"], [chart], [table]),
        Section("rest", "Rest", (), (), [shades, folded]),
    ]
    return Page("A & B", ("cat", EVIL), ["three"], sections, Gallery(cards, [Layer("crf", "mask")]))


def test_it_says_what_it_is_given(tmp_path: Path) -> None:
    write_page(tmp_path / "report/index.html", page())
    read = Read(tmp_path / "report/index.html")
    for text in ("A & B", "one < two", "three", "Scores & more", "47.1", "96.0", "seed", "cat"):
        assert text in read.words
    assert '<td class="shade10">96.0</td>' in read.html and '<td class="shade0">0.0' in read.html
    assert read.html.count("<details>") == 1 and GENERATOR in read.html
    assert os.listdir(tmp_path / "report") == ["index.html"]


def test_pictures_lie_in_blocks_beside_the_facts(tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", page())
    read = Read(tmp_path / "a.html")
    facts = read.data("facts")
    assert (
        isinstance(facts, dict)
        and facts["chunk"] == 40
        and facts["layers"] == [{"key": "crf", "title": "mask", "smooth": False}]
    )
    cards = facts["cards"]
    assert isinstance(cards, list) and len(cards) == 91 and cards[7]["quality"] == 0.07
    assert cards[90] == {
        "name": EVIL, "size": [4, 3], "classes": [], "quality": None, "iou": None, "layers": [],
        "also": EVIL, "fault": EVIL,
    }  # fmt: skip
    blocks = [read.data(f"pictures-{n}") for n in range(3)]
    assert [len(block) for block in blocks] == [40, 40, 11]
    assert blocks[0][0] == {"crf": PIXEL, "photo": PIXEL}  # type: ignore[index]


def test_it_loads_nothing_and_runs_its_own_script_alone(tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", page())
    read = Read(tmp_path / "a.html")
    (policy,) = [
        found["content"] or ""
        for tag, found in read.tags
        if tag == "meta" and found.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    scripts = re.findall(r"<script>(.*?)</script>", read.html, re.S)
    assert len(scripts) == 1 and "unsafe" not in policy
    for rule, text in (("script-src", scripts[0]), ("style-src", read.inline["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert all("style" not in found and "src" not in found for _, found in read.tags)
    assert all("on" not in {key[:2] for key in found} for _, found in read.tags)
    addresses = {found["href"] or "" for tag, found in read.tags if tag in {"a", "use", "link"}}
    assert all(address.startswith("#") for address in addresses)


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", page())
    read = Read(tmp_path / "a.html")
    assert EVIL in read.words and EVIL not in read.html and "<script>alert" not in read.html


def test_a_page_without_photographs_has_no_gallery(tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", Page("empty", ("cat",)))
    read = Read(tmp_path / "a.html")
    assert "gallery" not in {found.get("id") for _, found in read.tags}
    assert 'id="pictures-0"' not in read.html


def test_it_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.html"
    write_page(path, Page("first", ()))
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_page(path, page())
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.html"]
