"""`smaf export`: what is exported of which run, and where photographs lie."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from runs import make_run, smaf_export
from small_set import CLASSES, PICTURES, good

from smaf.core.images import read_mask, write_mask
from smaf.data.formats import FORMATS

Made = tuple[Path, Path]


@pytest.mark.parametrize("form", FORMATS)
def test_all_masks_of_a_run(form: str, made: Made, tmp_path: Path) -> None:
    done = good(smaf_export(made[1], "--to", form, "--out", tmp_path / "out"))
    lines = done.out.splitlines()
    assert lines.pop(0) == f"exported 8 masks of {made[1]} to {tmp_path / 'out'}, as {form}"
    photographs = {p.stem: p for p in (tmp_path / "out").rglob("*.jpg")}
    assert set(photographs) == (set() if form == "masks" else set(PICTURES))
    for path in photographs.values():  # a copy, which a tool may write to
        mine = made[0] / "JPEGImages" / path.name
        assert not path.samefile(mine) and path.read_bytes() == mine.read_bytes()
    if form != "masks":
        megabytes = sum(path.stat().st_size for path in photographs.values()) / 1e6
        told = f"8 photographs were copied, {megabytes:.1f} MB (--link_photos takes no room)"
        assert lines.pop(0) == told
    if not FORMATS[form].ignores:
        told = f"8 photographs have ignored pixels (255), which {form} cannot say"
        assert lines.pop(0).startswith(told)
    assert lines == []


def test_coco_as_pycocotools_reads_it(made: Made, tmp_path: Path) -> None:
    good(smaf_export(made[1], "--to", "coco", "--out", tmp_path / "out"))
    for folder, ids in {"train": list(PICTURES)[:6], "valid": ["p6", "p7"]}.items():
        coco = COCO(tmp_path / "out" / folder / "_annotations.coco.json")
        assert [one["file_name"] for one in coco.loadImgs(coco.getImgIds())] == [
            f"{i}.jpg" for i in ids
        ]
        assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(CLASSES)
        for image in coco.loadImgs(coco.getImgIds()):
            mask = read_mask(made[1] / "pseudo_mask" / image["file_name"].replace("jpg", "png"))
            drawn = np.zeros(mask.shape, dtype=np.uint8)
            for one in coco.loadAnns(coco.getAnnIds(image["id"])):
                region = coco.annToMask(one)
                x, y, w, h = one["bbox"]
                assert one["area"] == region.sum() and one["iscrowd"] == 0
                assert region[y : y + h, x : x + w].sum() == one["area"]
                assert region[y].any() and region[y + h - 1].any()
                drawn[region > 0] = one["category_id"]
            np.testing.assert_array_equal(drawn, np.where(mask == 255, 0, mask))


def test_a_list_and_parts(made: Made, tmp_path: Path) -> None:
    words = ("--list", "val", "--split", "--out", tmp_path / "out")
    good(smaf_export(made[1], "--to", "coco", *words))
    value = json.loads((tmp_path / "out/valid/_annotations.coco.json").read_text())
    assert [image["file_name"] for image in value["images"]] == ["p6.jpg", "p7.jpg"]
    # the cut rows make two parts of each of p6's one and p7's two objects
    assert [a["image_id"] for a in value["annotations"]] == [1, 1, 2, 2, 2, 2]
    assert not (tmp_path / "out/train").exists()


def test_the_most_uncertain_come_first(own: Made, tmp_path: Path) -> None:
    (own[1] / "quality.csv").write_text(
        "image,quality,scales\np0,0.9,1\np1,0.2,\np2,,1\np3,0.1,1\np4,0.5,1\n"
    )
    words = ("--only", "uncertain:3", "--out", tmp_path / "out")
    good(smaf_export(own[1], "--to", "coco", *words))
    value = json.loads((tmp_path / "out/train/_annotations.coco.json").read_text())
    assert [image["file_name"] for image in value["images"]] == ["p3.jpg", "p1.jpg", "p4.jpg"]


def test_what_was_corrected_goes_out_as_it_was_corrected(own: Made, tmp_path: Path) -> None:
    mine = np.full((48, 60), 3, dtype=np.uint8)
    mine[:, :30] = 1
    write_mask(own[0] / "CorrectedMasks/p3.png", mine)
    done = good(smaf_export(own[1], "--to", "masks", "--out", tmp_path / "out"))
    assert done.out.splitlines()[1] == "1 of them are corrected masks of the data set"
    np.testing.assert_array_equal(read_mask(tmp_path / "out/p3.png"), mine)
    # in the values of a run of some classes
    some = make_run(own[0], tmp_path / "some", (CLASSES[2], CLASSES[0]))
    good(smaf_export(some, "--to", "masks", "--out", tmp_path / "named"))
    np.testing.assert_array_equal(read_mask(tmp_path / "named/p3.png"), np.where(mine == 3, 1, 2))
    # who asks for what is uncertain gets others
    (own[1] / "quality.csv").write_text("image,quality\np3,0.1\np1,0.2\np0,0.9\n")
    words = ("--only", "uncertain:1", "--out", tmp_path / "next")
    assert len(good(smaf_export(own[1], "--to", "masks", *words)).out.splitlines()) == 1
    assert [path.name for path in (tmp_path / "next").glob("*.png")] == ["p1.png"]
    (own[0] / "ImageSets/Segmentation/one.txt").write_text("p3\n")
    done = smaf_export(own[1], "--to", "masks", *words[:2], "--list", "one")
    assert done.status == 2 and "all 1 photographs have a corrected mask" in done.lines[-1]
    # a folder of masks is written as it is
    words = ("--masks", own[1] / "pseudo_mask", "--out", tmp_path / "made")
    good(smaf_export(own[1], "--to", "masks", *words))
    assert set(np.unique(read_mask(tmp_path / "made/p3.png"))) != {1, 3}


def test_a_run_of_some_classes_is_named_by_them(own: Made, tmp_path: Path) -> None:
    run = make_run(own[0], tmp_path / "some", ("tent", "ball"))
    good(smaf_export(run, "--to", "masks", "--out", tmp_path / "out"))
    assert (tmp_path / "out/classes.txt").read_text().split() == ["background", "tent", "ball"]
    assert set(np.unique(read_mask(tmp_path / "out/p4.png"))) == {0, 1, 255}  # the box is 255


def test_true_masks_by_their_folder(made: Made, tmp_path: Path) -> None:
    folder = made[0] / "SegmentationClassAug"
    words = ("--masks", folder, "--out", tmp_path / "out")
    good(smaf_export(made[1], "--to", "masks", *words))
    np.testing.assert_array_equal(read_mask(tmp_path / "out/p3.png"), read_mask(folder / "p3.png"))
    # a folder of masks is a run, too, where the data set is named
    words = ("--data_root", made[0], "--out", tmp_path / "again")
    good(smaf_export(folder, "--to", "masks", *words))
    assert (tmp_path / "again/classes.txt").read_text().split() == ["background", *CLASSES]


def test_predictions(made: Made, tmp_path: Path) -> None:
    folder, photographs = tmp_path / "predictions", made[0] / "JPEGImages"
    entries = []
    for name in ("p0", "p1"):
        mask = read_mask(made[1] / f"pseudo_mask/{name}.png")
        write_mask(folder / f"set/{name}.png", mask)
        photo = str(photographs / f"{name}.jpg")
        quality = {"p0": 0.7, "p1": 0.4}[name]
        entry = {"photograph": photo, "mask": f"set/{name}.png", "overlay": "x.jpg"}
        entries.append({**entry, "quality": quality})
    record = {"classes": ["background", *CLASSES], "photographs": entries}
    (folder / "predictions.json").write_text(json.dumps(record))
    good(smaf_export(folder, "--to", "cvat", "--out", tmp_path / "out"))
    assert sorted(os.listdir(tmp_path / "out/images")) == ["set__p0.jpg", "set__p1.jpg"]
    words = ("--only", "uncertain:1", "--out", tmp_path / "worst")  # by their own record
    good(smaf_export(folder, "--to", "cvat", *words))
    assert os.listdir(tmp_path / "worst/images") == ["set__p1.jpg"]


def test_a_photograph_that_exif_turns_is_written_upright(own: Made, tmp_path: Path) -> None:
    path = own[0] / "JPEGImages/p0.jpg"
    upright = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: turned by 90 degrees to stand
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=100)
    good(smaf_export(own[1], "--to", "cvat", "--out", tmp_path / "out"))
    written = Image.open(tmp_path / "out/images/p0.jpg")
    assert written.size == (60, 48) and 0x0112 not in written.getexif()
    error = np.abs(np.asarray(written, dtype=int) - np.asarray(upright, dtype=int))
    assert error.mean() < 6


def test_links_and_an_earlier_export(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = good(smaf_export(made[1], "--to", "labelme", "--out", out, "--link_photos"))
    assert (out / "p0.jpg").samefile(made[0] / "JPEGImages/p0.jpg") and "copied" not in done.out
    done = smaf_export(made[1], "--to", "coco", "--out", out)
    assert done.status == 2 and "holds an export: name a new folder, or replace" in done.lines[-1]
    good(smaf_export(made[1], "--to", "coco", "--out", out, "--overwrite"))
    assert not (out / "p0.json").exists() and (out / "train").is_dir()
    assert [name for name in os.listdir(tmp_path) if name.startswith(".smaf")] == []


def test_a_photograph_that_is_gone_is_left_out(own: Made, tmp_path: Path) -> None:
    (own[0] / "JPEGImages/p3.jpg").unlink()
    done = good(smaf_export(own[1], "--to", "labelme", "--out", tmp_path / "out"))
    told = f"1 of 8 photographs is gone, {own[0] / 'JPEGImages/p3.jpg'} first: their masks are"
    assert [told in line for line in done.lines if "warning" in line] == [True]
    assert len(list((tmp_path / "out").glob("p*.json"))) == 7
    for path in (own[0] / "JPEGImages").iterdir():
        path.unlink()
    done = smaf_export(own[1], "--to", "labelme", "--out", tmp_path / "none")
    assert done.status == 2 and "8 of 8 photographs are gone" in done.lines[-1]


def test_no_export_takes_the_place_of_the_folder_that_it_runs_in(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in (".", ".."):
        done = smaf_export(made[1].absolute(), "--to", "masks", "--out", out)
        told = f"error: --out {out} is the folder that this runs in: name a new one"
        assert done.status == 2 and done.lines == [told]
    assert os.listdir(tmp_path) == ["here"]


BAD = [
    ("no --data_root", ("--to", "coco"), "does not say which data set it is of"),
    ("no quality", ("--to", "coco", "--only", "uncertain:2"), "`smaf report` estimates"),
    ("only what", ("--to", "coco", "--only", "worst"), "--only worst: expected uncertain:50"),
    ("polygons", ("--to", "cvat", "--polygons"), "--polygons means nothing in cvat: leave it out"),
    ("split", ("--to", "masks", "--split"), "--split means nothing in masks: leave it out, or"),
    ("tolerance", ("--to", "coco", "--tolerance", "1"), "--tolerance is of polygons, coco is"),
    ("list", ("--to", "coco", "--list", "none"), "none.txt does not exist"),
    ("no masks", ("--to", "coco", "--masks", "."), "has no masks <id>.png"),
    ("no format", ("--to", "voc"), "invalid choice: 'voc'"),
]


@pytest.mark.parametrize(("name", "words", "told"), BAD, ids=[case[0] for case in BAD])
def test_bad_calls_are_one_line(
    name: str, words: tuple[str, ...], told: str, own: Made, tmp_path: Path
) -> None:
    run = own[1]
    if name == "no --data_root":
        (run / "run.json").write_text('[{"settings": {}}]')
    if name == "no masks":
        (tmp_path / "none").mkdir()
        words = (*words[:-1], str(tmp_path / "none"))
    done = smaf_export(run, *words, "--out", tmp_path / "out")
    assert done.status == 2 and len(done.lines) == 1
    assert done.lines[0].startswith("error: ") and told in done.lines[0]
    assert not (tmp_path / "out").exists()


def test_a_mask_of_another_size_leaves_nothing_behind(own: Made, tmp_path: Path) -> None:
    write_mask(own[1] / "pseudo_mask/p5.png", np.zeros((9, 9), dtype=np.uint8))
    done = smaf_export(own[1], "--to", "yolo-seg", "--out", tmp_path / "new/out")
    assert done.status == 2 and "p5.png is 9×9 pixels, its photograph" in done.lines[-1]
    assert os.listdir(tmp_path / "new") == []
