"""The curve of corrections: its section of the page, and what is wrong in its file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from chromium import needs_chromium, opened, started
from made_run import make_run
from small_set import good, run

from smaf import gen_report
from smaf.core.errors import InputError
from smaf.engine.pipeline import RunPlaces
from smaf.engine.reporting.correction_curve import read_corrections

ROWS = [
    {"n": 0, "masks": 80.7, "network": 66.2, "network_known": 75.4, "seconds": 900.0},
    {"n": 20, "masks": 82, "network": 68.5, "network_known": 100.0, "seconds": 0},
]
CURVE = {
    "n": [0, 20, 50],
    "list": "val",
    "photographs": 225,
    "trained_on": 1038,
    "chosen": "lowest quality",
    "seed": 1337,
    "threshold": 0.38,
    "rows": ROWS,
}


@pytest.fixture
def made(tmp_path: Path) -> RunPlaces:
    """A run without a curve."""
    return make_run(tmp_path / "run", tmp_path / "set")


def put(at: RunPlaces, **changed: Any) -> Path:
    path = at.logdir / "corrections.json"
    path.write_text(json.dumps({**CURVE, **changed}))
    return path


def reported(*runs: RunPlaces) -> str:
    page = runs[0].logdir / "report.html"
    good(run(gen_report.main, *(at.logdir for at in runs), "--num_workers", 0))
    return page.read_text(encoding="utf-8")


def cells(text: str) -> list[list[str]]:
    table = text.split('id="corrections"')[1].split("<tbody>")[1].split("</tbody>")[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("</tr>")[:-1]]


def test_the_section(made: RunPlaces) -> None:
    assert 'id="corrections"' not in reported(made)
    put(made)
    text = reported(made)
    assert cells(text) == [["0", "80.7", "66.2", "75.4"], ["20", "82.0", "68.5", "100.0"]]
    assert (
        "mIoU on the 225 photographs of list val, after true masks took the place of corrections "
        "of up to 20 of 1,038 photographs trained on, those of the lowest quality; seed 1337, "
        "background threshold 0.38. 2 of 3 points are done." in text
    )
    assert "network, labels unknown 66.2 % with 0, 68.5 % with 20; " in text
    put(made, rows=[])
    assert 'id="corrections"' not in reported(made)


def test_of_two_runs_each_has_its_own(made: RunPlaces, tmp_path: Path) -> None:
    other = make_run(tmp_path / "second", made.data_root)
    put(other, n=[0, 20], chosen="a seeded sample", list="a <b>")
    text = reported(made, other)
    told = "second: mIoU on the 225 photographs of list a &lt;b&gt;, after"
    assert told in text and "a sample drawn by the seed; seed" in text
    assert "points are done" not in text and "<h3>second: mIoU on list a &lt;b&gt;, %</h3>" in text
    assert "run: mIoU" not in text.split('id="corrections"')[1]


def _box(found: Any) -> dict[str, float]:
    box: dict[str, float] = found.bounding_box()
    return box


@needs_chromium
def test_the_chart_in_a_browser(made: RunPlaces) -> None:
    """Three curves, each marked at its two points and in the legend; whole numbers below."""
    put(made)
    reported(made)
    with started() as browser, opened(browser, made.logdir / "report.html") as page:
        page.locator("nav a", has_text="Corrections").click()
        chart = page.locator("#corrections .chart")
        for number in range(3):
            assert chart.locator(f"g[id*=line2d] use.fill-series{number}").count() == 3
        texts = chart.locator("text").all_text_contents()
        assert {"corrected photographs", "mIoU, %", "0", "20"} <= set(texts)
        assert "pseudo masks, with CRF" in texts and "2.5" not in texts
        right = [box["x"] + box["width"] for box in map(_box, chart.locator("text").all())]
        whole = _box(chart)
        assert whole["width"] > 200 and max(right) <= whole["x"] + whole["width"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"n": [0, 0]}, "n is [0, 0], expected rising whole numbers from 0 to 1038"),
        ({"n": [True]}, "n is [True], expected"),
        ({"n": [0, 2000]}, "n is [0, 2000], expected"),
        ({"n": []}, "n is [], expected"),
        ({"n": [0]}, "rows is [{"),
        ({"rows": {}}, "rows is {}, expected a list of at most 3 rows"),
        ({"rows": [7]}, "row 1 is 7, expected entries with names"),
        ({"rows": ROWS[1:]}, "row 1: n is 20, expected a whole number from 0 to 0"),
        ({"rows": [{**ROWS[0], "masks": 100.1}]}, "row 1: masks is 100.1, expected a number from"),
        ({"rows": [{**ROWS[0], "network": None}]}, "row 1: network is None, expected a number"),
        ({"rows": [{**ROWS[0], "seconds": -1}]}, "row 1: seconds is -1, expected a number from 0"),
        ({"rows": [{"n": 0}]}, "row 1 has no masks"),
        ({"list": 3}, "list is 3, expected the name of a list"),
        ({"photographs": 0}, "photographs is 0, expected a whole number from 1"),
        ({"chosen": "by hand"}, "expected one of lowest quality, a seeded sample"),
        ({"seed": 1.5}, "seed is 1.5, expected a whole number"),
        ({"threshold": 1}, "threshold is 1, expected a number between 0 and 1"),
        ({"extra": 1}, "holds the unknown entry 'extra'"),
    ],
)
def test_what_is_wrong_is_one_line(changed: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = put(RunPlaces(tmp_path, tmp_path), **changed)
    with pytest.raises(InputError) as caught:
        read_corrections(path)
    line = str(caught.value)
    assert told in line and line.startswith(f"curve of corrections {path}") and "\n" not in line
    assert line.endswith("make it again with benchmarks/corrections.py, or delete it")


def test_a_damaged_file_stops_the_report_before_it_works(made: RunPlaces) -> None:
    (made.logdir / "corrections.json").write_text('{"n": [0, NaN]}')
    done = run(gen_report.main, made.logdir, "--num_workers", 0)
    assert done.status == 2 and len(done.lines) == 1
    assert "corrections.json is not valid JSON (it holds NaN): make it again" in done.lines[0]
    assert not (made.logdir / "quality.csv").exists()
