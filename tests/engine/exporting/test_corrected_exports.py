"""What somebody corrected in the folder of an export is not lost to another export."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from runs import corrected, smaf_export, smaf_import
from small_set import Done, good

from smaf.engine.exporting.folders import MARK

Made = tuple[Path, Path]


@pytest.fixture
def out(own: Made, tmp_path: Path) -> Path:
    """An export for labelme, in which people correct."""
    good(smaf_export(own[1], "--to", "labelme", "--out", tmp_path / "out"))
    return tmp_path / "out"


def again(own: Made, out: Path) -> Done:
    return smaf_export(own[1], "--to", "labelme", "--out", out, "--overwrite")


def correct(path: Path, *, age: float = 0.0) -> str:
    """Take the first shape away, `age` seconds ago; the text that the file has then."""
    value = json.loads(path.read_text())
    del value["shapes"][0]
    path.write_text(json.dumps(value))
    time = path.stat().st_mtime - age
    os.utime(path, (time, time))
    return path.read_text()


def refused(done: Done, name: str, what: str = "was changed") -> None:
    assert done.status == 2 and len([line for line in done.lines if "error" in line]) == 1
    assert f": {name} {what} since the export was written: `smaf import` it first" in done.lines[-1]


def test_the_newest_change_is_named_and_kept(own: Made, out: Path) -> None:
    text = correct(out / "p4.json")
    correct(out / "p3.json", age=9)
    refused(again(own, out), "p4.json and 1 more")
    assert (out / "p4.json").read_text() == text
    other = good(smaf_export(own[1], "--to", "labelme", "--out", out.parent / "other"))
    assert "exported 8 masks" in other.out


def test_what_was_not_changed_is_replaced_also_as_a_copy(own: Made, out: Path) -> None:
    good(again(own, out))
    copy = shutil.copytree(out, out.parent / "copy", copy_function=shutil.copyfile)  # new times
    good(again(own, copy))
    for path in copy.iterdir():
        os.utime(path)
    good(again(own, copy))


def test_what_was_imported_is_replaced(own: Made, out: Path) -> None:
    correct(out / "p3.json")
    (out / ".DS_Store").write_text("a file manager's")
    good(smaf_import(out, own[0]))
    mask = corrected(own[0], "p3")
    good(again(own, out))
    # what was exported then has the correction
    good(smaf_import(out, own[0]))
    assert (corrected(own[0], "p3") == mask).all()


def test_one_imported_file_does_not_stand_for_the_others(own: Made, out: Path) -> None:
    correct(out / "p3.json")
    correct(out / "p4.json")
    good(smaf_import(out / "p3.json", own[0]))
    refused(again(own, out), "p4.json")
    done = smaf_import(out / "p4.json", own[0], "--from", "coco")
    assert done.status == 2
    refused(again(own, out), "p4.json")
    good(smaf_import(out / "p4.json", own[0]))
    good(again(own, out))


def test_files_that_came_or_went(own: Made, out: Path) -> None:
    (out / "p3.json").unlink()
    refused(again(own, out), "p3.json", "was removed")
    good(smaf_import(out, own[0]))
    good(again(own, out))
    (out / "mine.zip").write_text("an archive of the tool")
    refused(again(own, out), "mine.zip")


@pytest.mark.parametrize(("form", "file"), [
    ("cvat", "annotations.xml"),
    ("coco", "train/_annotations.coco.json"),
    ("yolo-seg", "labels/train/p3.txt"),
    ("ultralytics", "masks/train/p3.png"),
])  # fmt: skip
def test_files_in_folders_below(form: str, file: str, own: Made, tmp_path: Path) -> None:
    out = tmp_path / form
    words = ("--to", form, "--out", out)
    good(smaf_export(own[1], *words))
    path = out / file
    if path.suffix == ".png":
        shutil.copyfile(out / "masks/train/p0.png", path)
    else:
        path.write_text(path.read_text() + ("" if path.suffix == ".txt" else "\n"))
        path.write_text(path.read_text() + "\n")
    refused(smaf_export(own[1], *words, "--overwrite"), file)
    source = out / "data.yaml" if (out / "data.yaml").exists() else path
    good(smaf_import(source, own[0]))
    good(smaf_export(own[1], *words, "--overwrite"))


def test_a_link_out_of_the_folder(own: Made, out: Path, tmp_path: Path) -> None:
    """A link counts as the file that it leads to; a link to the export as the export."""
    shutil.move(out / "p3.json", tmp_path / "p3.json")
    (out / "p3.json").symlink_to(tmp_path / "p3.json")
    correct(tmp_path / "p3.json")
    refused(again(own, out), "p3.json")
    good(smaf_import(out / "p3.json", own[0]))
    correct(out / "p4.json")
    (tmp_path / "link").symlink_to(out, target_is_directory=True)
    refused(again(own, out), "p4.json")
    good(smaf_import(tmp_path / "link", own[0]))
    good(again(own, out))


def test_a_damaged_record_of_an_export(own: Made, out: Path) -> None:
    (out / MARK).write_text("{")
    good(smaf_import(out, own[0]))
    done = again(own, out)
    assert done.status == 2 and f"record of an export {out / MARK} is not valid" in done.lines[-1]


def test_an_export_of_an_earlier_version_goes_by_time(own: Made, out: Path) -> None:
    mark = out / MARK
    value = json.loads(mark.read_text())
    del value["files"]
    mark.write_text(json.dumps(value))
    time = mark.stat().st_mtime
    os.utime(out / "p3.json", (time + 5, time + 5))
    refused(again(own, out), "p3.json")
    os.utime(out / "p3.json", (time - 5, time - 5))
    good(again(own, out))
