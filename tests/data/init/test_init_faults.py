"""`smaf init` on bad folders and tables: a row in the table of faults, or one line and no files."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folders import coco, faults, labels, photo, photos, rows, smaf_init, table, write_coco
from PIL import Image
from small_set import good, stamps

from smaf.core import image_files
from smaf.core.errors import InputError
from smaf.core.images import write_mask
from smaf.data.init import writing
from smaf.data.layout import open_data

GOOD = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
ROWS = "image,labels\na,cat\nb,dog\nc,cat;dog\nd,\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photographs of two classes and their table, without a fault but their number."""
    folder = photos(tmp_path / "photos", *GOOD)
    table(folder / "labels.csv", ROWS)
    return folder


def more_rows(folder: Path, text: str) -> None:
    with (folder / "labels.csv").open("a", encoding="utf-8") as file:
        file.write(text)


def empty_file(folder: Path) -> None:
    (folder / "b.jpg").write_bytes(b"")


def text_file(folder: Path) -> None:
    (folder / "b.jpg").write_text("<html>not found</html>")


def half_a_jpeg(folder: Path) -> None:
    data = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(data[: len(data) // 2])


def half_a_png(folder: Path) -> None:
    photo(folder / "b.png")
    data = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(data[: len(data) // 2])
    (folder / "b.jpg").unlink()


def dead_link(folder: Path) -> None:
    (folder / "b.jpg").unlink()
    (folder / "b.jpg").symlink_to(folder / "gone.jpg")


def no_row(folder: Path) -> None:
    photo(folder / "e.jpg")


def row_too_many(folder: Path) -> None:
    more_rows(folder, "gone.jpg,cat\n")


def other_folder(folder: Path) -> None:
    photo(folder / "one/e.jpg")
    more_rows(folder, "two/e.jpg,cat\n")


def ambiguous(folder: Path) -> None:
    photos(folder, "one/e.jpg", "two/e.jpg")
    more_rows(folder, "e.jpg,cat\none/e.jpg,cat\ntwo/e.jpg,cat\n")


def two_suffixes(folder: Path) -> None:
    photo(folder / "a.png")
    more_rows(folder, "a.png,cat\na.jpg,cat\n")


def empty_and_not(folder: Path) -> None:
    more_rows(folder, "b,\n")


def twice(folder: Path) -> None:
    shutil.copy(folder / "b.jpg", folder / "z.jpg")
    more_rows(folder, "z,dog\n")


def twice_with_other_labels(folder: Path) -> None:
    shutil.copy(folder / "b.jpg", folder / "z.jpg")
    more_rows(folder, "z,cat\n")


def tiny(folder: Path) -> None:
    photo(folder / "b.jpg", (40, 31))


def heic(folder: Path) -> None:
    (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0 ftypheic")


def line_in_a_name(folder: Path) -> None:
    photo(folder / "two\nlines.jpg")


def space_before_a_name(folder: Path) -> None:
    photo(folder / " e.jpg")


def everywhere(folder: Path) -> None:
    table(folder / "labels.csv", ROWS.replace("d,", "d,cat").replace("b,dog", "b,cat"))


def transparent(folder: Path) -> None:
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(folder / "b.jpg", format="PNG")


@pytest.mark.parametrize(
    ("spoil", "kind", "left_out", "about"),
    [
        (empty_file, "unreadable", 1, "b.jpg: cannot be read (it is empty)"),
        (text_file, "unreadable", 1, "it is none of BMP"),
        (transparent, "unreadable", 1, "is transparent everywhere"),
        (dead_link, "unreadable", 1, "does not exist"),
        (half_a_jpeg, "truncated", 1, "b.jpg: cannot be read (image file is truncated"),
        (half_a_png, "truncated", 1, "b.png"),
        (no_row, "unlabelled", 1, "e.jpg"),
        (row_too_many, "row without photograph", 0, "gone.jpg: labels.csv, line 6"),
        (other_folder, "row without photograph", 1, "two/e.jpg: labels.csv, line 6"),
        (ambiguous, "ambiguous row", 0, "e.jpg: labels.csv, line 6: one/e.jpg or two/e.jpg"),
        (two_suffixes, "ambiguous row", 0, "a: labels.csv, line 2: a.jpg or a.png"),
        (empty_and_not, "conflicting rows", 1, "b.jpg: labels.csv, line 3 and labels.csv, line 6"),
        (twice, "duplicate", 1, "z.jpg: the same as b.jpg"),
        (twice_with_other_labels, "duplicate with other labels", 2, "z.jpg: the same as b.jpg"),
        (tiny, "tiny", 0, "b.jpg: 40×31 pixels"),
        (heic, "unknown format", 1, "IMG_1.HEIC"),
        (line_in_a_name, "file name", 1, r"two\nlines.jpg"),
        (space_before_a_name, "file name", 1, " e.jpg: it begins with a space"),
        (everywhere, "on every photograph", 0, "cat: all 4"),
    ],
)
def test_the_table_says_what_is_wrong(
    spoil: Callable[[Path], None],
    kind: str,
    left_out: int,
    about: str,
    folder: Path,
    tmp_path: Path,
) -> None:
    if sys.platform == "win32" and spoil in {dead_link, line_in_a_name}:
        pytest.skip("Windows has no such names, and links for administrators alone")
    spoil(folder)
    total = sum(p.suffix.lower() in {".jpg", ".png", ".heic"} for p in folder.rglob("*"))
    out = tmp_path / "data"
    done = good(smaf_init(folder, out))
    found = faults(out)
    assert found.pop("few photographs") >= 1 or kind == "on every photograph"
    if spoil is other_folder:  # nor has its photograph a row
        assert found.pop("unlabelled") == 1
    assert found == {kind: 1}
    assert kind in done.out and about in done.out
    assert f"left out: {left_out};" in done.out and len(labels(out)) == total - left_out
    each = [row for row in rows(out / "faults_each.csv") if row["fault"] == kind]
    assert len(each) == 1
    strict = smaf_init(folder, tmp_path / "strict", "--strict")
    assert strict.status == 2 and strict.err.splitlines()[-1].startswith("error: --strict: ")
    assert kind in strict.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "photos"]


def test_too_large_photographs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "MAX_PIXELS", 1600)
    photo(folder / "b.jpg", (41, 40))
    good(smaf_init(folder, tmp_path / "data"))
    assert faults(tmp_path / "data")["huge"] == 1 and "b.jpg" not in labels(tmp_path / "data")


def no_photographs(folder: Path) -> tuple[object, ...]:
    for name in GOOD:
        (folder / name).unlink()
    return ()


def no_labels(folder: Path) -> tuple[object, ...]:
    (folder / "labels.csv").unlink()
    return ()


def labels_gone(folder: Path) -> tuple[object, ...]:
    return ("--labels", "none.csv")


def labels_of_excel(folder: Path) -> tuple[object, ...]:
    return ("--labels", table(folder / "labels.xlsx", "PK"))


def labels_are_a_folder(folder: Path) -> tuple[object, ...]:
    return ("--labels", folder)


def two_kinds(folder: Path) -> tuple[object, ...]:
    table(folder / "metadata.jsonl", "{}")
    return ()


def no_columns(folder: Path) -> tuple[object, ...]:
    table(folder / "labels.csv", "width,height\n1,2\n")
    return ()


def empty_table(folder: Path) -> tuple[object, ...]:
    table(folder / "labels.csv", "")
    return ()


def binary_table(folder: Path) -> tuple[object, ...]:
    (folder / "labels.csv").write_bytes(b"\xff\xd8\xff\xe0\0\x10")
    return ()


def open_quote(folder: Path) -> tuple[object, ...]:
    table(folder / "labels.csv", 'image,labels\na,"cat\nb,dog\n')
    return ()


def no_class(folder: Path) -> tuple[object, ...]:
    table(folder / "labels.csv", "image,labels\na,\nb,none\n")
    return ()


def captions(folder: Path) -> tuple[object, ...]:
    lines = [f"{name},a photograph of thing {name}\n" for name in ["a", *range(300)]]
    table(folder / "labels.csv", "image,labels\n" + "".join(lines))
    return ()


def other_photographs(folder: Path) -> tuple[object, ...]:
    table(folder / "labels.csv", "image,labels\nx,cat\ny,dog\n")
    return ()


def all_damaged(folder: Path) -> tuple[object, ...]:
    for name in GOOD:
        (folder / name).write_bytes(b"")
    return ()


def only_negatives_left(folder: Path) -> tuple[object, ...]:
    for name in GOOD[:3]:
        (folder / name).write_bytes(b"")
    return ()


def unknown_class_kept(folder: Path) -> tuple[object, ...]:
    return ("--classes", "cat,dgo")


def names_do_not_fit(folder: Path) -> tuple[object, ...]:
    return ("--class_names", table(folder / "names.txt", "cat\nhorse\n"))


def broken_json(folder: Path) -> tuple[object, ...]:
    return ("--labels", table(folder / "x.json", "{"))


def json_of_another_kind(folder: Path) -> tuple[object, ...]:
    return ("--labels", write_coco(folder / "x.json", [1, 2]))


def broken_line(folder: Path) -> tuple[object, ...]:
    return ("--labels", table(folder / "m.jsonl", '{"file_name": "a.jpg", "label": "cat"}\n{\n'))


def numbers_for_names(folder: Path) -> tuple[object, ...]:
    return ("--labels", table(folder / "m.jsonl", '{"file_name": "a.jpg", "label": 3}\n'))


def mask_outside(folder: Path) -> tuple[object, ...]:
    line = {"file_name": "a.jpg", "label": "cat", "mask_file_name": "../../a.png"}
    return ("--labels", table(folder / "m.jsonl", json.dumps(line)))


def twice_in_coco(folder: Path) -> tuple[object, ...]:
    paths = [folder / "instances_train2017.json", folder / "instances_val2017.json"]
    for path in paths:
        write_coco(path, coco({"a.jpg": [(1, [0, 0, 2, 2])]}))
    return ("--labels", *paths)


def other_categories(folder: Path) -> tuple[object, ...]:
    paths = [folder / "one.json", folder / "two.json"]
    more = {"categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "horse"}]}
    write_coco(paths[0], coco({"a.jpg": [(1, [0, 0, 2, 2])]}))
    write_coco(paths[1], coco({"b.jpg": [(1, [0, 0, 2, 2])]}, **more))
    return ("--labels", *paths)


def two_tables(folder: Path) -> tuple[object, ...]:
    return ("--labels", folder / "labels.csv", table(folder / "more.csv", ROWS))


def no_mask_fits(folder: Path) -> tuple[object, ...]:
    write_mask(folder.parent / "photos/masks/x_mask.png", np.zeros((36, 40), dtype=np.uint8))
    return ("--masks", folder / "masks")


def voc_layout(folder: Path) -> tuple[object, ...]:
    photo(folder / "JPEGImages/a.jpg")
    table(folder / "ImageSets/Segmentation/train.txt", "a\n")
    return ()


def share_of_all(folder: Path) -> tuple[object, ...]:
    return ("--val_share", 1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_photographs, "has no photographs (.jpg, .jpeg"),
        (no_labels, "has no folder a class, and no labels are named"),
        (labels_gone, "labels none.csv do not exist: expected a table"),
        (labels_of_excel, "labels.xlsx are of an unknown kind: expected a table"),
        (labels_are_a_folder, "are a folder: expected a table"),
        (two_kinds, "has labels of several kinds"),
        (no_columns, "must have the columns image and labels in its first line"),
        (empty_table, "labels.csv is empty"),
        (binary_table, "labels.csv is not a text file"),
        (open_quote, "is not a CSV table"),
        (no_class, "labels.csv name no class"),
        (captions, "have 301 classes, such as a photograph of thing"),
        (other_photographs, "row without photograph, x: labels.csv, line 2"),
        (all_damaged, "can be used"),
        (only_negatives_left, "no photograph shows any of the classes cat, dog"),
        (unknown_class_kept, "unknown class names dgo (did you mean 'dog'?)"),
        (names_do_not_fit, "unknown class name 'dog'"),
        (broken_json, "is not valid JSON"),
        (json_of_another_kind, "has no list 'categories' of records: have the tool that"),
        (broken_line, "m.jsonl, line 2 is not JSON"),
        (numbers_for_names, "m.jsonl, line 1: the label is 3, expected a class name"),
        (mask_outside, "expected a file below the folder of photographs"),
        (twice_in_coco, "a.jpg is there twice, or in another of the files"),
        (other_categories, "two.json has other categories than"),
        (two_tables, "expected one file, or several of COCO's"),
        (no_mask_fits, "has no mask"),
        (voc_layout, "is a data set in VOC layout already"),
        (share_of_all, "--val_share 1.0: expected a value from 0 to below 1"),
    ],
)
def test_what_stops_leaves_nothing(
    spoil: Callable[[Path], tuple[object, ...]], message: str, folder: Path, tmp_path: Path
) -> None:
    words = spoil(folder)
    before = stamps(folder)
    done = smaf_init(folder, tmp_path / "data", *words)
    assert done.status == 2 and message in done.lines[-1], done.err
    assert done.lines[-1].startswith("error: ") and len(done.lines[-1]) < 600
    assert [path.name for path in tmp_path.iterdir()] == ["photos"] and stamps(folder) == before


def stopped(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["write_class_names", "write_files", "write_pointers"])
def test_a_stopped_run_leaves_nothing(
    where: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(writing, where, stopped)
        assert smaf_init(folder, tmp_path / "data").status == 130
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    good(smaf_init(folder, tmp_path / "data"))
    before = stamps(tmp_path / "data")
    with monkeypatch.context() as patch:
        patch.setattr(writing, where, stopped)
        assert smaf_init(folder, tmp_path / "data", "--seed", 1, "--overwrite").status == 130
    assert stamps(tmp_path / "data") == before


def test_a_data_set_half_replaced_is_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lists go first and come last; the next run makes it whole."""
    out = tmp_path / "data"
    good(smaf_init(folder, out))
    more_rows(folder, "a,dog\n")
    real = os.replace

    def until_the_pointers(source: Path, target: Path) -> None:
        if Path(target) == out / "dataset.json":
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", until_the_pointers)
        assert smaf_init(folder, out).status == 130
    assert not (out / "ImageSets").exists()
    with pytest.raises(InputError, match=r"all\.txt does not exist"):
        open_data(out).ids("all")
    good(smaf_init(folder, out))
    assert labels(out)["a.jpg"] == "cat;dog" and open_data(out).ids("all") == list("abcd")


def test_places_that_are_refused(folder: Path, tmp_path: Path) -> None:
    """A data set never lies around its photographs, and never takes the place of other files."""
    other = table(tmp_path / "other/notes.txt", "mine").parent
    before = stamps(tmp_path)
    for out, message in (
        (folder, "which it is made of"),
        (tmp_path, "which it is made of"),
        (folder / "labels.csv", "which it is made of"),
        (other, "holds other files than a data set of `smaf init`"),
        (other / "notes.txt", "is a file: name a folder"),
    ):
        done = smaf_init(folder, out, "--overwrite")
        assert done.status == 2 and message in done.err, done.err
    assert stamps(tmp_path) == before
    assert smaf_init(tmp_path / "none", tmp_path / "data").status == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_folder_that_may_not_be_written(folder: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        done = smaf_init(folder, tmp_path / "data")
    finally:
        tmp_path.chmod(0o755)
    assert done.status == 2 and "not writable" in done.err
