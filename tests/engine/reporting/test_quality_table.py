"""The table of quality: what is written is read, and what is wrong in it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from smaf.core.errors import InputError
from smaf.engine.reporting.quality import Estimate, read_quality, write_quality


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    both = Estimate(scales=0.5, crf=0.8)  # (4 × 0.5 + 2 × 0.8) / 6
    write_quality(path, {"a": both, "not known": Estimate(), "b,c": Estimate(scales=0.25)})
    assert read_quality(path) == {"a": 0.6, "b,c": 0.25}


def test_as_a_spreadsheet_writes_it(tmp_path: Path) -> None:
    """Columns in another order, a mark of the encoding, names as a Mac writes them."""
    path = tmp_path / "quality.csv"
    text = "Quality;scales;Image\r\n0.2;;p1\r\n;1;p2\r\n1;1;e\u0301\r\n"
    path.write_bytes(text.encode("utf-8-sig"))
    assert read_quality(path) == {"p1": 0.2, "\u00e9": 1.0}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image,worth\np0,1\n", "quality.csv must have the columns image and quality: make it"),
        ("", "quality.csv must have the columns"),
        ("image,quality\np0,0.1\np1,1.5\n", "line 3: quality '1.5', expected a number from 0 to 1"),
        ("image,quality\np0,nan\n", "line 2: quality 'nan', expected a number from 0 to 1: make"),
        ("image,quality\np0,good\n", "line 2: quality 'good', expected a number from 0 to 1"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "quality.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_quality(tmp_path / "quality.csv")
    assert told in str(caught.value) and "\n" not in str(caught.value)
