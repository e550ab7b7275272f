"""The documentation's pages: links lead somewhere, messages are those of the code, all is named."""

from __future__ import annotations

import ast
import json
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


def link_faults(text: str) -> list[str]:
    """What is wrong in the form of a page's links; blocks and code in a line are no links."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", "code", text)
    faults = [f"broken Markdown: {found}" for found in re.findall(_BROKEN, text)]
    for url in re.findall(r"\b\w+://[^\s<>()\[\]]*", text):
        rest = url.removeprefix("https://")
        doubtful = re.search(r"[\\\"|{}^]|//|\.\.", rest)
        if rest == url or doubtful or not re.match(r"([\w-]+\.)+[a-z]{2,}(?=[/?#]|$)", rest):
            faults.append(f"not https://host/…: {url}")
    return faults


# [words](), [words](a b), [words](… without an end, [words] (address), (words)[address]
_BROKEN = re.compile(
    r"\]\(\s*\)|\]\([^)\s]*[ \t][^)\"]*\)|\]\([^)\n]*$|\[[^]\n]+\]\s+\(\w+://[^)]*\)"
    r"|\([^()\n]+\)\[\w+://[^]]*\]|\[\]\([^)]*\)",
    re.M,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("[a](https://example.org/x?y=1#z), <https://example.org> and `http://localhost:8080`", 0),
        ("[a](page.md#part) and ![a picture](a.png) (aside) [1, 2]", 0),
        ("```bash\ncurl http://x\n```\n", 0),
        ("[a](http://example.org)", 1),
        ("[a](https://example)", 1),
        ("[a](https:///example.org)", 1),
        ("[a](https://example.org//x)", 1),
        ("[a](ftp://example.org/x)", 1),
        ("[a]()", 1),
        ("[](https://example.org)", 1),
        ("[a](https://example.org/a b)", 1),
        ("[a](https://example.org/a", 1),
        ("[a] (https://example.org)", 1),
        ("(a)[https://example.org]", 1),
        ("see http://example.org today", 1),
    ],
)
def test_faults_in_the_form_of_links_are_found(text: str, count: int) -> None:
    assert len(link_faults(text)) == count, link_faults(text)


@pytest.mark.parametrize("page", [*LINKED, "CHANGELOG.md"])
def test_external_links_have_the_form_of_links(page: str) -> None:
    """Whether somebody answers there `bash script/docs.sh --links` asks, which needs the web."""
    assert link_faults((ROOT / page).read_text(encoding="utf-8")) == []


def test_links_of_the_notebook_have_the_form_of_links() -> None:
    cells = json.loads((ROOT / "docs/first_steps.ipynb").read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    assert texts and [fault for text in texts for fault in link_faults(text)] == []


def test_links_in_docstrings_have_the_form_of_links() -> None:
    """The reference is made of them."""
    for path in (ROOT / "smaf").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found = re.findall(r"https?://[^\s\"'`<>)]+", ast.get_docstring(node) or "")
                assert [fault for url in found for fault in link_faults(url)] == [], path


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
