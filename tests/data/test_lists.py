"""Lists as data sets and other projects write them: the ids that are read, or one line that says
what is wrong."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from smaf.core.errors import InputError, MissingInputError
from smaf.data.layout import open_data
from smaf.data.lists import read_ids

LISTS = "ImageSets/Segmentation"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a\nb\n", ["a", "b"]),
        (
            "/JPEGImages/a.jpg /SegmentationClassAug/a.png\n/JPEGImages/b.jpg "
            "/SegmentationClassAug/b.png",
            ["a", "b"],
        ),
        ("JPEGImages/a.JPG\tSegmentationClass/a.PNG", ["a"]),
        ("img/my photo 1.jpg,mask/my photo 1.png", ["my photo 1"]),
        ("JPEGImages\\a.jpg SegmentationClass\\a.png", ["a"]),
        ("a.jpg\nb.JPEG\nc.Tif\nd.webp\n", ["a", "b", "c", "d"]),
        ("/JPEGImages/a.jpg\n./b.png", ["a", "b"]),
        ("a.png.jpg\nb.v2", ["a.png", "b.v2"]),
        ("a  1\nb -1\nc  0\n", ["a", "c"]),
        ("a.jpg 1\nb.jpg 1\n", ["a", "b"]),
        (
            "photo 1\nphoto 2\n",
            ["photo 1", "photo 2"],
        ),  # names with spaces: not every line ends in -1, 0 or 1
        ("\ufeffa\r\nb \r\n\r\n", ["a", "b"]),
        ("# train\n#\n#1\na\n", ["#1", "a"]),
        ("Cafe\u0301\nb", ["Caf\u00e9", "b"]),
    ],
)
def test_lists_as_they_lie_about(text: str, ids: list[str], tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    assert read_ids(path) == ids


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\n../b.jpg\n", "'../b.jpg' is not an image id"),
        ("a\n../../etc/passwd\n", "is not an image id"),
        ("/abs\n", "'/abs' is not an image id"),
        ("/JPEGImages/../../b.jpg /Masks/b.png", "is not an image id"),
        ("a.jpg b.png\n", "has the line 'a.jpg b.png', of two ids"),
        ("a.jpg,cat\n", "has the line 'a.jpg,cat', expected an id, or a photograph and its mask"),
        ('["a", "b"]\n', "begins with \\[, as JSON does"),
        ("a -1\n", "is empty"),
        ("# a\n", "is empty"),
        ("a\nb\na\nb\n", "has a, b twice: write each id once"),
        ("a.jpg\nb\na.png\n", "has a \\('a.jpg' and 'a.png'\\) twice"),
        ("x/a.jpg\ny/a.jpg\n", "has a \\('x/a.jpg'"),
        ("Cafe\u0301\nCaf\u00e9\n", "has Caf\u00e9 \\(.* twice"),
        ("a\tb\n", "control character"),
    ],
)
def test_lines_that_cannot_be_ids(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as error:
        read_ids(path)
    assert "list.txt" in str(error.value)


def test_ids_left_out_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cat_train.txt").write_text("a -1\nb  1\nc -1\n")
    with caplog.at_level("INFO", "smaf"):
        assert read_ids(tmp_path / "cat_train.txt") == ["b"]
    assert "2 of 3 ids are left out, marked -1 (the class is absent)" in caplog.text


def test_a_list_is_found_by_name_or_path(
    tiny_voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = open_data(tiny_voc)
    (tmp_path / "own.lst").write_text("two\n")
    (tiny_voc / "below.txt").write_text("three\n")
    for name, ids in (
        ("val", ["four", "five"]),
        ("val.txt", ["four", "five"]),
        (f"{LISTS}/val.txt", ["four", "five"]),
        (tiny_voc / LISTS / "val.txt", ["four", "five"]),
        ("own.lst", ["two"]),
        ("below.txt", ["three"]),
    ):
        assert data.ids(name) == ids
    for name in ("none", "none.txt"):
        with pytest.raises(MissingInputError, match=r"list .*none\.txt does not exist"):
            data.ids(name)


def test_100000_ids(tmp_path: Path) -> None:
    """Linear: a doubled id is named, and labels and files are looked up, in seconds."""
    n, root = 100_000, tmp_path
    for folder in ("JPEGImages", "SALImages", "SegmentationClass", LISTS, "metadata"):
        (root / folder).mkdir(parents=True)
    ids = [f"COCO_train2014_{k:012d}" for k in range(n)]
    (root / "metadata/labels.txt").write_text("cat\ndog\n")
    (root / "labels.csv").write_text(
        "image,labels\n"
        + "".join(f"{i}.jpg,{'cat' if k % 2 else 'dog'}\n" for k, i in enumerate(ids))
    )
    (root / LISTS / "train.txt").write_text("".join(f"{i}\n" for i in ids))
    (root / LISTS / "doubled.txt").write_text("".join(f"{i}\n" for i in [*ids, ids[-1]]))
    data = open_data(root)
    start = time.process_time()
    assert data.ids("train") == ids
    with pytest.raises(InputError, match=f"has {ids[-1]} twice"):
        data.ids("doubled")
    labels = data.labels_of(ids)
    assert np.array_equal(labels.sum(axis=0), [n // 2, n // 2]) and labels[1].tolist() == [1, 0]
    with pytest.raises(
        MissingInputError, match=rf"photograph .*{ids[0]}\.jpg \(and {n - 1} more\) does not exist"
    ):
        data.require(ids)
    assert (
        time.process_time() - start < 15
    )  # some 3 s on a free machine; the quadratic check took minutes
