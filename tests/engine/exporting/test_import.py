"""`smaf import`: which photographs and classes are meant, and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_api
from runs import corrected, make_run, smaf_export, smaf_import
from small_set import CLASSES, PICTURES, good

from smaf.core.images import read_mask, write_mask
from smaf.data.formats import FORMATS

Made = tuple[Path, Path]


def run_mask(own: Made, image_id: str, *, ignored: int = 255) -> np.ndarray:
    """A run's mask, whose ignored pixels have another value."""
    mask = read_mask(own[1] / f"pseudo_mask/{image_id}.png")
    return np.where(mask == 255, np.uint8(ignored), mask)


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_exported_comes_back(form: str, own: Made, tmp_path: Path) -> None:
    good(smaf_export(own[1], "--to", form, "--out", tmp_path / "out"))
    done = good(smaf_import(tmp_path / "out", own[0]))
    kept = 255 if FORMATS[form].ignores else 0
    for image_id in PICTURES:
        np.testing.assert_array_equal(
            corrected(own[0], image_id), run_mask(own, image_id, ignored=kept)
        )
    where = f"from {form} {tmp_path / 'out'} into {own[0] / 'CorrectedMasks'}"
    assert done.out == f"imported 8 masks {where}\n"
    # the same again: compared with what is there; with the run ignored pixels stay ignored
    lines = good(smaf_import(tmp_path / "out", own[0])).out.splitlines()
    assert lines[1].startswith("0 of them differ from what was there, by 0 pixels (0.00 %")
    good(smaf_import(tmp_path / "out", own[0], "--run", own[1]))
    np.testing.assert_array_equal(corrected(own[0], "p3"), run_mask(own, "p3"))
    lines = good(smaf_import(tmp_path / "out", own[0], "--run", own[1], "--changed")).out
    assert "8 are as they were and were not written (--changed)" in lines


def coco(own: Made, tmp_path: Path, **change: Any) -> Path:
    """A COCO file of p0: one box from (2, 3), 4 wide and 5 high."""
    box = [[2, 3, 6, 3, 6, 8, 2, 8]]
    one = {"id": 1, "image_id": 1, "category_id": 7, "segmentation": box, "iscrowd": 0}
    value = {
        "images": [{"id": 1, "file_name": "p0.jpg", "width": 60, "height": 48}],
        "annotations": [one],
        "categories": [{"id": 7, "name": "Tent"}, {"id": 9, "name": "box"}],
    }
    value.update(change)
    path = tmp_path / "file.json"
    path.write_text(json.dumps(value))
    return path


def test_classes_go_by_name_and_values_are_the_data_sets(own: Made, tmp_path: Path) -> None:
    good(smaf_import(coco(own, tmp_path), own[0]))
    expected = np.zeros((48, 60))
    expected[3:8, 2:6] = 3
    np.testing.assert_array_equal(corrected(own[0], "p0"), expected)


@pytest.mark.parametrize("part", ["train", "train/metadata.jsonl"])
def test_one_list_of_an_export_has_the_classes_of_all(part: str, own: Made, tmp_path: Path) -> None:
    some = make_run(own[0], tmp_path / "some", ("tent", "ball"))
    good(smaf_export(some, "--to", "huggingface", "--out", tmp_path / "out"))
    good(smaf_import(tmp_path / "out" / part, own[0]))
    mask = run_mask(own, "p0")
    expected = np.where(mask == CLASSES.index("box") + 1, 255, mask)
    np.testing.assert_array_equal(corrected(own[0], "p0"), expected)


def test_run_lengths_plain_and_packed(own: Made, tmp_path: Path) -> None:
    counts = [2 * 48 + 3, 5, 43, 5, 43, 5, 43, 5, 54 * 48 + 40]
    code = mask_api.frPyObjects({"size": [48, 60], "counts": counts}, 48, 60)
    for lengths in (counts, code["counts"].decode()):
        one = {"id": 1, "image_id": 1, "category_id": 7, "iscrowd": 1}  # CVAT calls masks crowds
        segmentation = {"size": [48, 60], "counts": lengths}
        path = coco(own, tmp_path, annotations=[{**one, "segmentation": segmentation}])
        good(smaf_import(path, own[0]))
        assert (corrected(own[0], "p0")[3:8, 2:6] == 3).all()
        assert (corrected(own[0], "p0") > 0).sum() == 20


def test_the_later_object_wins_and_it_is_said(own: Made, tmp_path: Path) -> None:
    def square(number: int, category: int, x: int) -> dict[str, Any]:
        outline = [[x, 0, x + 4, 0, x + 4, 4, x, 4]]
        ids = {"id": number, "image_id": 1, "category_id": category}
        return {**ids, "segmentation": outline, "iscrowd": 0}

    path = coco(own, tmp_path, annotations=[square(1, 7, 0), square(2, 9, 2)])
    done = good(smaf_import(path, own[0]))
    assert corrected(own[0], "p0")[0, :7].tolist() == [3, 3, 2, 2, 2, 2, 0]
    assert "1 photographs have objects of several classes in one place" in done.out


@pytest.mark.parametrize(
    "name", ["p0.jpg", "train/p0.JPG", "p0_jpg.rf.0a1b2c3d.jpg", "1a2b3c4d-p0.jpg", "C:\\x\\p0.png"]
)
def test_photographs_by_the_names_of_tools(name: str, own: Made, tmp_path: Path) -> None:
    image = {"id": 1, "file_name": name, "width": 60, "height": 48}
    good(smaf_import(coco(own, tmp_path, images=[image]), own[0]))
    assert corrected(own[0], "p0").any()


def test_photographs_that_lie_elsewhere_go_by_their_own_names(own: Made, tmp_path: Path) -> None:
    data = own[0]
    (data / "dataset.json").write_text(json.dumps({"photographs": "JPEGImages", "masks": None}))
    (data / "JPEGImages/sub").mkdir()
    (data / "JPEGImages/p0.jpg").rename(data / "JPEGImages/sub/first one.jpg")
    rows = [f"{i},{i}.jpg" if i != "p0" else "p0,sub/first one.jpg" for i in PICTURES]
    (data / "files.csv").write_text("image,photograph\n" + "\n".join(rows) + "\n")
    image = {"id": 1, "file_name": "first one.jpg", "width": 60, "height": 48}
    good(smaf_import(coco(own, tmp_path, images=[image]), data))
    assert corrected(data, "p0").any()


def test_a_photograph_in_a_folder_is_not_the_one_whose_id_is_its_name(
    own: Made, tmp_path: Path
) -> None:
    data = own[0]
    (data / "dataset.json").write_text(json.dumps({"photographs": "JPEGImages", "masks": None}))
    (data / "JPEGImages/sub").mkdir()
    (data / "JPEGImages/p0.jpg").rename(data / "JPEGImages/sub/p1.jpg")
    rows = [f"{i},{i}.jpg" if i != "p0" else "p0,sub/p1.jpg" for i in PICTURES]
    (data / "files.csv").write_text("image,photograph\n" + "\n".join(rows) + "\n")
    # as `smaf run` lays its masks out
    write_mask(tmp_path / "masks/sub/p1.png", run_mask(own, "p0"))
    write_mask(tmp_path / "masks/p1.png", run_mask(own, "p1"))
    good(smaf_import(tmp_path / "masks", data))
    for image_id in ("p0", "p1"):
        np.testing.assert_array_equal(corrected(data, image_id), run_mask(own, image_id))
    # nor where its own photograph is on another list
    (data / "ImageSets/Segmentation/one.txt").write_text("p1\n")
    (tmp_path / "masks/p1.png").unlink()
    assert "sub/p1" in smaf_import(tmp_path / "masks", data, "--list", "one").err


def test_photographs_without_an_object(own: Made, tmp_path: Path) -> None:
    second = {"id": 2, "file_name": "p1.jpg", "width": 48, "height": 60}
    first = {"id": 1, "file_name": "p0.jpg", "width": 60, "height": 48}
    path = coco(own, tmp_path, images=[first, second])
    done = good(smaf_import(path, own[0]))
    assert "1 photographs without an object were left out" in done.out
    assert not (own[0] / "CorrectedMasks/p1.png").exists()
    good(smaf_import(path, own[0], "--empty", "background"))
    assert not corrected(own[0], "p1").any()
    # a mask says that it is all background
    write_mask(tmp_path / "masks/p2.png", np.zeros((48, 60), dtype=np.uint8))
    good(smaf_import(tmp_path / "masks", own[0]))
    assert not corrected(own[0], "p2").any()
    done = good(smaf_import(tmp_path / "masks", own[0], "--empty", "skip"))
    assert done.out.startswith("imported 0 masks")


def test_labels_of_background_and_of_what_is_ignored(own: Made, tmp_path: Path) -> None:
    folder = tmp_path / "lm"
    folder.mkdir()

    def shape(label: str, x: int) -> dict[str, Any]:
        points = [[x, 0], [x + 3, 0], [x + 3, 3], [x, 3]]
        return {"label": label, "points": points, "shape_type": "polygon"}

    shapes = [shape("BOX", 0), shape("background", 0), shape("void", 6), shape("ball", 12)]
    value = {"shapes": shapes, "imagePath": "p0.jpg", "imageHeight": 48, "imageWidth": 60}
    (folder / "p0.json").write_text(json.dumps(value))
    good(smaf_import(folder, own[0]))
    assert corrected(own[0], "p0")[0, ::3].tolist()[:5] == [0, 0, 255, 0, 1]


def turned(own: Made) -> np.ndarray:
    """Lay p0's file on its side, with the tag that says so; a mask upright."""
    path = own[0] / "JPEGImages/p0.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    mask = np.zeros((48, 60), dtype=np.uint8)
    mask[:10, :20] = 1
    mask[40:, 50:] = 2
    return mask


def test_masks_of_a_photograph_that_the_tool_did_not_turn(own: Made, tmp_path: Path) -> None:
    mask = turned(own)
    for name, values in {"upright": mask, "as in the file": np.rot90(mask)}.items():
        write_mask(tmp_path / name / "p0.png", np.ascontiguousarray(values))
        good(smaf_import(tmp_path / name, own[0]))
        np.testing.assert_array_equal(corrected(own[0], "p0"), mask, err_msg=name)


def wrong(own: Made, tmp_path: Path, case: str) -> Path:
    """A file with a fault."""
    names = {
        "unknown photograph": {
            "images": [{"id": 1, "file_name": "q9.jpg", "width": 60, "height": 48}]
        },
        "unknown class": {"categories": [{"id": 7, "name": "bal"}]},
        "another size": {"images": [{"id": 1, "file_name": "p0.jpg", "width": 60, "height": 47}]},
        "no outline": {"annotations": [{"id": 1, "image_id": 1, "category_id": 7}]},
    }
    return coco(own, tmp_path, **names[case])


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("unknown photograph", "q9.jpg: no photograph of that id or name in"),
        ("unknown class", "unknown class name 'bal' (did you mean 'ball'?): the data set has ball"),
        ("another size", "of a picture of 60×47 pixels, the photograph is 60×48: annotate"),
        ("no outline", "image p0.jpg: an object has no outline"),
    ],
)
def test_faults_are_one_line_and_nothing_is_written(
    case: str, told: str, own: Made, tmp_path: Path
) -> None:
    done = smaf_import(wrong(own, tmp_path, case), own[0])
    assert done.status == 2 and done.lines[-1].startswith("error: ") and told in done.lines[-1]
    assert not (own[0] / "CorrectedMasks").exists()


COCO_FAULTS: list[tuple[str, Any, str]] = [
    ("categories", None, "has no list 'categories' of records"),
    ("images", None, "has no list 'images' of records"),
    ("annotations", None, "has no list 'annotations' of records"),
    ("categories", [], "must have 1 to 254 categories"),
    ("categories", [{"id": 1}], "a category has the name None"),
    ("categories", [{"id": 9, "name": "ball"}], "which the file does not list"),
    ("images", [{"id": 9, "file_name": "p0.jpg", "width": 60, "height": 48}], "is of image 1,"),
    ("images", [{"id": 1, "file_name": "p0.jpg", "width": 0, "height": 48}], "a size of 0×48"),
    ("annotations", [{"id": 1, "image_id": 1, "category_id": "x"}], "expected a whole number"),
]


@pytest.mark.parametrize(("key", "value", "told"), COCO_FAULTS)
def test_what_coco_lacks_is_told_by_name(
    key: str, value: Any, told: str, own: Made, tmp_path: Path
) -> None:
    """The advice is of the tool that wrote the file, not of COCO's archives for `smaf prepare`."""
    good(smaf_export(own[1], "--to", "coco", "--out", tmp_path / "out"))
    path = tmp_path / "out/train/_annotations.coco.json"
    whole = json.loads(path.read_text())
    whole[key] = value
    path.write_text(json.dumps({k: v for k, v in whole.items() if v is not None}))
    done = smaf_import(path, own[0])
    assert done.status == 2 and told in done.lines[-1]
    assert "export it from the tool again, as COCO's instances" in done.lines[-1]
    assert "annotations_trainval2014" not in done.err and "smaf prepare" not in done.err


def test_a_fault_in_the_last_photograph_leaves_the_others_unwritten(
    own: Made, tmp_path: Path
) -> None:
    for image_id in ("p0", "p2"):
        write_mask(tmp_path / f"m/{image_id}.png", np.ones((48, 60), dtype=np.uint8))
    write_mask(tmp_path / "m/p3.png", np.full((48, 60), 9, dtype=np.uint8))
    done = smaf_import(tmp_path / "m", own[0])
    assert done.status == 2 and "has the value 9, but the data set has 3 classes" in done.lines[-1]
    assert not (own[0] / "CorrectedMasks").exists()


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ("run/pseudo_mask/p3.png", "p3.png is 59×48 pixels, its photograph is 60×48"),
        ("data/CorrectedMasks/p3.png", "p3.png is 59×48 pixels, its photograph is 60×48"),
        ("data/CorrectedMasks/p3.bmp", "p3.bmp would be beside p3.png: move it away"),
    ],
)
def test_what_is_compared_is_checked_before_the_first_mask_is_written(
    there: str, told: str, own: Made, tmp_path: Path
) -> None:
    good(smaf_export(own[1], "--to", "coco", "--out", tmp_path / "out"))
    other = own[0].parent / there
    other.parent.mkdir(exist_ok=True)
    Image.new("L", (59, 48)).save(other)
    words = ("--run", own[1]) if there.startswith("run") else ()
    done = smaf_import(tmp_path / "out", own[0], *words)
    assert done.status == 2 and told in done.lines[-1]
    assert not (own[0] / "CorrectedMasks/p0.png").exists()


def test_what_a_corrected_mask_ignores_stays_ignored(own: Made, tmp_path: Path) -> None:
    mine = np.full((48, 60), 2, dtype=np.uint8)
    mine[:, :20], mine[:, 50:] = 0, 255
    write_mask(own[0] / "CorrectedMasks/p3.png", mine)
    good(smaf_export(own[1], "--to", "coco", "--out", tmp_path / "out"))
    good(smaf_import(tmp_path / "out", own[0], "--run", own[1]))
    unsure = (mine == 0) & (run_mask(own, "p3") == 255)  # by the run
    np.testing.assert_array_equal(corrected(own[0], "p3"), np.where(unsure, 255, mine))


def test_two_files_of_one_photograph(own: Made, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_mask(tmp_path / f"m/{folder}/p0.png", np.ones((48, 60), dtype=np.uint8))
    done = smaf_import(tmp_path / "m", own[0])
    assert done.status == 2 and "are both of photograph p0: keep one of them" in done.lines[-1]


def test_lists_and_options(own: Made, tmp_path: Path) -> None:
    path = coco(own, tmp_path)
    done = smaf_import(path, own[0], "--list", "val")
    assert done.status == 2 and "p0.jpg: no photograph of that id" in done.lines[-1]
    done = smaf_import(path, own[0], "--changed")
    assert done.status == 2 and "--changed: name the run" in done.lines[-1]
    done = smaf_import(path, own[0], "--from", "cvat")
    assert done.status == 2
    assert sorted(CLASSES) == ["ball", "box", "tent"]
