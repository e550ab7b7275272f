"""Data sets whose photographs lie elsewhere: dataset.json and files.csv, and their faults."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from small_set import make_set

from smaf.core.errors import InputError, MissingInputError
from smaf.data.layout import MASK_FOLDERS, open_data
from smaf.data.pointers import folder_name, read_pointers, write_files, write_pointers


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set whose photographs and masks lie beside it, in folders of their own."""
    root = make_set(tmp_path / "set")
    photos, masks = tmp_path / "photos", tmp_path / "truth"
    (photos / "sub").mkdir(parents=True)
    rows = []
    for path in sorted((root / "JPEGImages").iterdir()):
        place = f"sub/my {path.stem}.JPG" if path.stem in {"p1", "p6"} else path.name
        shutil.move(path, photos / place)
        rows.append((path.stem, place, f"{path.stem}.png" if path.stem != "p7" else ""))
    shutil.move(root / "SegmentationClassAug", masks)
    shutil.copytree(masks, root / "elsewhere")
    write_files(root, rows, masks=True)
    write_pointers(root, folder_name(photos, root), folder_name(masks, root))
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_photographs_and_masks_are_found_where_they_lie(root: Path) -> None:
    assert json.loads((root / "dataset.json").read_text())["photographs"] == "../photos"
    data = open_data(root)
    data.require(data.ids("train"), labels=True, saliency=True, masks=True)
    assert data.photo_path("p1") == root.parent / "photos/sub/my p1.JPG"
    assert data.photo("p1").size == (48, 60) and data.mask("p1", size=(48, 60))[20, 10] == 2
    assert data.missing("mask", ["p1", "p7"]) == ["p7"]
    assert data.mask_path("p7") == root / MASK_FOLDERS[0] / "p7.png"
    chosen = open_data(root, mask_folder="elsewhere")
    assert chosen.mask_path("p1") == root / "elsewhere/p1.png"


def test_ids_without_an_entry_lie_in_the_usual_folders(root: Path) -> None:
    shutil.move(root.parent / "photos/p0.jpg", root / "JPEGImages/p0.jpg")
    lines = (root / "files.csv").read_text().splitlines(keepends=True)
    (root / "files.csv").write_text("".join(line for line in lines if not line.startswith("p0,")))
    data = open_data(root)
    data.require(data.ids("all"))
    assert data.photo_path("p0") == root / "JPEGImages/p0.jpg"


def test_what_is_gone_is_named(root: Path) -> None:
    (root.parent / "photos/sub/my p6.JPG").unlink()
    data = open_data(root)
    assert data.missing("photograph", data.ids("all")) == ["p6"]
    said = r"photograph .*my p6\.JPG does not exist: .*files\.csv names it: .*run `smaf init` again"
    with pytest.raises(MissingInputError, match=said):
        data.require(data.ids("all"))
    (root.parent / "photos").rename(root.parent / "moved")
    said = r"dataset\.json: the folder of photographs, .*photos, does not exist: write where it is"
    with pytest.raises(MissingInputError, match=said):
        open_data(root).require(["p0"])
    assert open_data(root).mask("p0").shape == (48, 60)  # evaluation needs no photographs
    edit(root / "dataset.json", "../photos", "../moved")
    open_data(root).require(["p0"])


def test_both_may_move_together(root: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for name in ("set", "photos", "truth"):
        (tmp_path / name).rename(tmp_path / "new" / name)
    open_data(tmp_path / "new/set").require(["p1"], masks=True)
    if os.name == "posix":  # opened through a link, too
        (tmp_path / "link").symlink_to(tmp_path / "new/set")
        open_data(tmp_path / "link").require(["p1"], masks=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("p0.jpg", "../p0.jpg"),
        ("p0.jpg", "sub/../../p0.jpg"),
        ("p0.jpg", "/etc/passwd"),
        ("p0.jpg", "sub//p0.jpg"),
        ("p0.jpg", ""),
        ("p0.png", "../p0.png"),
        ("p0,", "a/p0,"),
        ("p0,", "p1,"),
        ("image,photograph", "id,path"),
    ],
)
def test_bad_entries_are_refused(old: str, new: str, root: Path) -> None:
    edit(root / "files.csv", old, new)
    with pytest.raises(InputError, match=r"files\.csv") as caught:
        open_data(root).photo_path("p0")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", 'must have "photographs"'),
        ('{"photographs": 3, "masks": null}', 'must have "photographs"'),
        ('{"photographs": "", "masks": null}', 'must have "photographs"'),
        ('{"photographs": "../photos", "masks": 1}', 'must have "photographs"'),
        ('{"photographs": "../photos", "masks": null}', "names masks"),
    ],
)
def test_bad_data_set_files_are_refused(text: str, message: str, root: Path) -> None:
    (root / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=message):
        open_data(root).photo_path("p0")


def test_folders_are_relative_where_they_lie_near(tmp_path: Path) -> None:
    root = tmp_path / "a/b/data"
    assert folder_name(root / "inside", root) == "inside"
    assert folder_name(tmp_path / "a/b", root) == ".."
    assert folder_name(tmp_path / "a/photos", root) == "../../photos"
    assert folder_name(tmp_path / "photos", root) == str(tmp_path / "photos")
    assert folder_name(Path("/photos"), Path("/data")) == os.path.abspath("/photos")


def test_many_entries_are_read_once(tmp_path: Path) -> None:
    rows = [(f"d__{k:06d}", f"d/{k:06d}.jpg", "") for k in range(30_000)]
    write_files(tmp_path, rows, masks=False)
    (tmp_path / "d").mkdir()
    write_pointers(tmp_path, ".", None)
    data = open_data(tmp_path)
    started = time.perf_counter()
    assert data.photo_path("d__029999") == tmp_path / "d/029999.jpg"
    first = time.perf_counter() - started
    started = time.perf_counter()
    assert len({data.photo_path(row[0]) for row in rows}) == len(rows)
    assert first < 10 and time.perf_counter() - started < 10
    assert len(data.missing("photograph", [row[0] for row in rows])) == len(rows)


def test_other_data_sets_have_none(tiny_voc: Path) -> None:
    assert read_pointers(tiny_voc) is None
