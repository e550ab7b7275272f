"""The documentation's pages: links lead somewhere, messages are those of the code, all is named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from doc_blocks import PAGES, ROOT

import smaf.models
import smaf.ops


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, of plain words alone: GitHub and MyST agree on these."""
    text = page.read_text(encoding="utf-8")
    return {h.lower().replace(" ", "-") for h in re.findall(r"^#+ ([\w -]+)$", text, re.M)}


LINKED = [*PAGES, "CONTRIBUTING.md", "benchmarks/README.md", "dataset/README.md"]


@pytest.mark.parametrize("page", LINKED)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), f"{page} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page} links to {target}"


def texts() -> list[str]:
    """All texts in the source, with a zero byte for each value that is filled in."""
    found = [path.read_text(encoding="utf-8") for path in (ROOT / "script").glob("*.sh")]
    for path in (ROOT / "smaf").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "\0" for v in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_messages_in_troubleshooting_are_those_of_the_code() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    messages, known = re.findall(r"^\| `(.+?)` \|", page, re.M), texts()
    assert len(messages) > 30
    for message in messages:
        pattern = re.compile(".*?".join(map(re.escape, message.split("…"))), re.S)
        assert any(pattern.search(text) for text in known), message


def test_the_reference_names_everything_public() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    named = set(re.findall(r":: smaf\.(?:ops|models)\.(\w+)$", page, re.M))
    assert set(smaf.ops.__all__) <= named
    assert named - set(smaf.ops.__all__) <= set(smaf.models.__all__)


def test_readme_is_a_screen_and_a_half() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_pictures_of_the_pages_are_small_and_described() -> None:
    for page in PAGES:
        for words, file in re.findall(r"!\[(.*?)\]\((.+?)\)", (ROOT / page).read_text("utf-8")):
            assert len(words) > 10, f"{page}: {file} needs a text for who cannot see it"
            if Path(file).name.startswith("method_"):
                assert (ROOT / "docs" / file).stat().st_size <= 100_000, file


def test_what_builds_the_pages_is_pinned_within_its_bounds() -> None:
    wanted = re.findall(r"^([\w-]+)>=([\d.]+)$", (ROOT / "requirements-docs.txt").read_text(), re.M)
    lines = (ROOT / "requirements-docs-pinned.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(wanted) == 5 and all(re.match(r"[\w.-]+==[\w.]+( ; .+)?$", pin) for pin in pins)
    for name, least in wanted:
        found = [re.split("==| ;", pin)[1] for pin in pins if pin.startswith(f"{name}==")]
        assert found and all(numbers(release) >= numbers(least) for release in found), name


def numbers(release: str) -> list[int]:
    return [int(part) for part in release.split(".")]
