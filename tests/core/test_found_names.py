"""Class names read off a table that nobody has listed them for."""

from __future__ import annotations

from pathlib import Path

import pytest

from smaf.core.found_names import in_order, table_names


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (["cat", "dog", "chair dog", "chair cat"], ["cat", "chair", "dog"]),
        (["cat dog", "cat", "dog"], ["cat", "dog"]),
        (["dog", "hot dog", "cat"], ["cat", "dog", "hot dog"]),
        (["red car", "green car", "red bus"], ["green car", "red bus", "red car"]),
        (["traffic light;cat", "cat", "traffic light"], ["cat", "traffic light"]),
        (["cat dog", "cat", "dog", "cat|bird"], ["bird", "cat", "cat dog", "dog"]),
        (["Cat", "cat", "cat", "CAT dog", "dog"], ["cat", "dog"]),
        (["none", "background", "", "Bär"], ["Bär"]),
    ],
)
def test_names_of_cells(cells: list[str], names: list[str], tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    lines = [f"{k}.jpg\t{cell}" for k, cell in enumerate(cells)]
    path.write_text("\n".join(["image\tlabels", *lines]), encoding="utf-8")
    assert list(table_names(path, "fix")) == names
    path.write_text("\n".join(lines), encoding="utf-8")  # without headings
    assert list(table_names(path, "fix")) == names


def test_columns_of_marks(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(",file,hot dog,cat,none\n0,a,1,0,0\n1,b,0,1.0,0\n2,c,False,True,0\n")
    assert table_names(path, "fix") == ("cat", "hot dog")


def test_order_does_not_depend_on_the_rows() -> None:
    names = ["b", "B", "a", "b", "C_1", "c 1"]
    assert in_order(names) == in_order(reversed(names)) == ("a", "b", "C_1")
