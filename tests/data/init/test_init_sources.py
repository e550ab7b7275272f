"""`smaf init` on tables, class folders, COCO's files and Hugging Face's: what the data set says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from folders import coco, faults, ids, labels, names, photo, photos, smaf_init, table, write_coco
from PIL import Image
from small_set import good, stamps

from smaf.core.images import write_mask
from smaf.data.init.initialising import init_data
from smaf.data.layout import open_data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photos(tmp_path / "photos", "a.jpg", "sub/b c.JPG", "sub/ü.png", "d.webp", "e.jpeg")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image,labels\na.jpg,cat;dog\nsub/b c.JPG,dog\nü.png,cat\nd.webp,\ne,cat\n", "utf-8"),
        ("image;labels\na.jpg;cat,dog\nb c.JPG;dog\nü.png;cat\nd.webp;none\ne;cat\n", "utf-8-sig"),
        ("image\tlabels\na.jpg\tcat dog\nb c\tdog\nü\tcat\nd\tbackground\ne\tcat\n", "utf-16"),
        ("file,class\na.jpg,cat\na.jpg,dog\nb c.jpg,dog\nsub\\ü.png,Cat\nd,\ne.jpg,cat\n", "utf-8"),
        ("file,cat,dog,none\na,1,1,0\nb c,0,1,0\nü,1,0,0\nd,0,0,1\ne,1,0,0\n", "utf-8"),
        ('"image","labels"\n"a.jpg","[""cat"", ""dog""]"\n"/x/sub/b c.JPG","dog"\nü,cat\nd\ne,cat',
         "utf-8"),
    ],
)  # fmt: skip
def test_tables(text: str, encoding: str, folder: Path, tmp_path: Path) -> None:
    path, out = table(tmp_path / "labels.csv", text, encoding), tmp_path / "data"
    done = good(smaf_init(folder, out, "--labels", path))
    assert labels(out) == {
        "a.jpg": "cat;dog",
        "sub/b c.JPG": "dog",
        "sub/ü.png": "cat",
        "d.webp": "",
        "e.jpeg": "cat",
    }
    assert names(out) == ["0 background", "1 cat", "2 dog"]
    assert sorted(ids(out, "train") + ids(out, "val")) == sorted(ids(out, "all"))
    assert set(ids(out, "all")) == {"a", "sub__b_c", "sub__ü", "d", "e"}
    assert len(ids(out, "val")) == 2  # one would be a fifth, but both classes are in both parts
    assert faults(out) == {"few photographs": 2}
    assert "show none of them       1" in done.out
    assert done.out.endswith(f"next: smaf run {out} --out run\n")
    assert not list(tmp_path.glob(".smaf-*"))


def test_names_with_spaces_and_classes_kept(folder: Path, tmp_path: Path) -> None:
    text = "image,labels\na,traffic light;dog\nb c,dog\nü,traffic light\nd,hot dog\ne,dog\n"
    path = table(folder / "labels.csv", text)
    good(smaf_init(folder, tmp_path / "one"))  # the table in the folder is found
    assert names(tmp_path / "one")[1:] == ["1 dog", "2 hot dog", "3 traffic light"]
    keep = "Traffic_Light,dog"
    words = ("--labels", path, "--classes", keep, "--val_share", 0)
    good(smaf_init(folder, tmp_path / "two", *words))
    assert names(tmp_path / "two")[1:] == ["1 traffic light", "2 dog"]
    assert labels(tmp_path / "two")["d.webp"] == ""  # it shows a class that is not kept
    assert not (tmp_path / "two/ImageSets/Segmentation/val.txt").exists()
    file = table(tmp_path / "keep.txt", "dog\n")
    good(smaf_init(folder, tmp_path / "three", "--labels", path, "--classes", file))
    assert names(tmp_path / "three") == ["0 background", "1 dog"]
    long = ",".join(["dog", *(f"class {k}" for k in range(80))])
    done = smaf_init(folder, tmp_path / "four", "--classes", long)
    assert done.status == 2 and "--classes: unknown class names class 0" in done.err


def test_photographs_stay_where_they_are(folder: Path, tmp_path: Path) -> None:
    table(folder / "labels.csv", "image,labels\na,cat\nb c,dog\nü,cat\nd,dog\ne,cat\n")
    before = stamps(folder)
    out = tmp_path / "data"
    good(smaf_init(folder, out))
    assert stamps(folder) == before
    assert json.loads((out / "dataset.json").read_text())["photographs"] == "../photos"
    data = open_data(out)
    data.require(data.ids("all"), labels=True)
    assert data.photo_path("sub__b_c") == folder / "sub/b c.JPG"
    assert data.photo("sub__ü").size == (40, 36)
    inside = folder / "made/here"  # a data set among its photographs, made twice, is none of them
    for _ in range(2):
        good(smaf_init(folder, inside))
        assert len(ids(inside, "all")) == 5
    assert open_data(inside).photo("a").size == (40, 36)


def test_names_of_a_mac_and_numbers_for_classes(tmp_path: Path) -> None:
    """A Mac writes `é` as two characters; labels in numbers are names like others."""
    folder = photos(tmp_path / "photos", "cafe\u0301/1.jpg", "cafe\u0301/2.jpg", "3.jpg")
    path = table(tmp_path / "t.csv", "image,label\ncaf\u00e9/1.jpg,0\ncaf\u00e9/2.jpg,1\n3,10\n")
    good(smaf_init(folder, tmp_path / "data", "--labels", path))
    data = open_data(tmp_path / "data")
    assert data.classes.names == ("0", "1", "10")
    assert data.ids("all") == ["3", "caf\u00e9__1", "caf\u00e9__2"]
    np.testing.assert_array_equal(data.labels_of(data.ids("all")), np.eye(3)[[2, 0, 1]])
    assert data.photo("caf\u00e9__2").size == (40, 36)


def test_class_folders(tmp_path: Path) -> None:
    folder = photos(
        tmp_path / "photos", "cat/1.jpg", "cat/deep/2.jpg", "hot dog/1.jpg", "none/x.jpg", "y.jpg"
    )
    out = tmp_path / "data"
    done = good(smaf_init(folder, out))
    assert labels(out) == {
        "cat/1.jpg": "cat",
        "cat/deep/2.jpg": "cat",
        "hot dog/1.jpg": "hot dog",
        "none/x.jpg": "",
    }
    assert faults(out)["unlabelled"] == 1 and "y.jpg" in done.out
    assert set(ids(out, "all")) == {"cat__1", "cat__deep__2", "hot_dog__1", "none__x"}


def test_class_folders_below_train_and_valid(tmp_path: Path) -> None:
    files = ("train/cat/1.jpg", "train/dog/2.jpg", "valid/cat/1.jpg", "test/dog/9.jpg")
    folder = photos(tmp_path / "photos", *files)
    out = tmp_path / "data"
    good(smaf_init(folder, out, "--labels", "folders"))
    assert names(out)[1:] == ["1 cat", "2 dog"]
    assert ids(out, "train") == ["train__cat__1", "train__dog__2"]
    assert ids(out, "val") == ["valid__cat__1"] and ids(out, "test") == ["test__dog__9"]


def test_coco_as_published(tmp_path: Path) -> None:
    """Two files are the lists; images without annotations show none; masks are for evaluation."""
    folder = photos(tmp_path / "coco", "train2017/1.jpg", "train2017/2.jpg", "val2017/1.jpg")
    images = {"1.jpg": [(3, [4, 2, 10, 5])], "2.jpg": []}
    write_coco(folder / "annotations/instances_train2017.json", coco(images))
    images = {"1.jpg": [(1, [0, 0, 3, 3]), (3, [8, 8, 2, 2])]}
    write_coco(folder / "annotations/instances_val2017.json", coco(images))
    out = tmp_path / "data"
    good(smaf_init(folder, out))
    assert names(out) == ["0 background", "1 cat", "2 dog"]
    assert labels(out) == {
        "train2017/1.jpg": "dog",
        "train2017/2.jpg": "",
        "val2017/1.jpg": "cat;dog",
    }
    assert ids(out, "train") == ["train2017__1", "train2017__2"]
    assert ids(out, "val") == ["val2017__1"]
    data = open_data(out)
    data.require(data.ids("all"), masks=True)
    mask = data.mask("train2017__1", size=(40, 36))
    assert (mask[2:7, 4:14] == 2).all() and int((mask > 0).sum()) == 50
    assert not data.mask("train2017__2").any()
    good(smaf_init(folder, out, "--classes", "dog", "--overwrite"))
    mask = open_data(out).mask("val2017__1")
    assert (mask[:3, :3] == 255).all() and (mask[8:10, 8:10] == 1).all()


def test_coco_as_tools_export_it(tmp_path: Path) -> None:
    """Names with folders of another machine; one stem in two folders; Roboflow's group."""
    folder = photos(tmp_path / "photos", "one/1.jpg", "two/1.jpg")
    images = {"images/one/1.jpg": [(1, [0, 0, 3, 3])], "/data/two/1.jpg": [(3, None)]}
    path = write_coco(tmp_path / "cvat.json", coco(images))
    good(smaf_init(folder, tmp_path / "data", "--labels", path))
    assert labels(tmp_path / "data") == {"one/1.jpg": "cat", "two/1.jpg": "dog"}
    masks = [path.name for path in (tmp_path / "data/SegmentationClassAug").iterdir()]
    assert masks == ["one__1.png"]  # the other has no outline
    export = photos(tmp_path / "export", "train/x.jpg", "train/y.jpg", "valid/z.jpg")
    categories = [
        {"id": 0, "name": "cat", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "cat"},
        {"id": 3, "name": "dog", "supercategory": "cat"},
    ]
    train = {"x.jpg": [(1, [0, 0, 3, 3])], "y.jpg": [(3, [0, 0, 3, 3])]}
    for part, shown in (("train", train), ("valid", {"z.jpg": [(3, [0, 0, 3, 3])]})):
        value = coco(shown, categories=categories)
        write_coco(export / part / "_annotations.coco.json", value)
    good(smaf_init(export, tmp_path / "robo"))
    assert names(tmp_path / "robo")[1:] == ["1 cat", "2 dog"]
    assert ids(tmp_path / "robo", "val") == ["valid__z"]


def test_hugging_face(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", "a.jpg", "sub/b.png", "c.jpg", "d.jpg", "e.jpg")
    mask = np.zeros((36, 40), dtype=np.uint8)
    mask[3:9, 3:9] = 1
    write_mask(folder / "masks/a.png", mask)
    lines = [
        {"file_name": "a.jpg", "label": "cat", "mask_file_name": "masks/a.png"},
        {"file_name": "sub/b.png", "labels": ["dog", "cat"]},
        {"file_name": "c.jpg", "objects": {"bbox": [[0, 0, 1, 1]], "categories": ["dog"]}},
        {"file_name": "d.jpg", "objects": [{"category": "dog"}, {"category": "dog"}]},
        {"file_name": "e.jpg", "labels": []},
    ]
    table(folder / "metadata.jsonl", "\n".join(map(json.dumps, lines)))
    out = tmp_path / "data"
    good(smaf_init(folder, out))
    assert labels(out) == {
        "a.jpg": "cat",
        "sub/b.png": "cat;dog",
        "c.jpg": "dog",
        "d.jpg": "dog",
        "e.jpg": "",
    }
    data = open_data(out)
    assert data.mask_path("a") == folder / "masks/a.png" and data.mask("a")[5, 5] == 1
    assert data.missing("mask", data.ids("all")) == ["c", "d", "e", "sub__b"]


def test_files_of_parts_are_lists_and_others_are_not(tmp_path: Path) -> None:
    files = [f"{part}/{k}.jpg" for part in ("train", "validation", "more") for k in range(3)]
    folder = photos(tmp_path / "photos", *files)
    for part in ("train", "validation", "more"):
        lines = [{"file_name": f"{k}.jpg", "label": "cat" if k else "dog"} for k in range(3)]
        table(folder / part / "metadata.jsonl", "\n".join(map(json.dumps, lines)))
    good(smaf_init(folder, tmp_path / "one"))
    assert ids(tmp_path / "one", "val") == [f"validation__{k}" for k in range(3)]
    assert len(ids(tmp_path / "one", "train")) == 6  # what no file puts elsewhere
    paths = []
    for part in ("train", "more"):
        images = {f"{part}/{k}.jpg": [(1, [0, 0, 2, 2])] if k else [] for k in range(3)}
        paths.append(write_coco(tmp_path / f"batch_{part}.json", coco(images)))
    good(smaf_init(folder, tmp_path / "two", "--labels", *paths, "--val_share", 0.5))
    assert len(ids(tmp_path / "two", "val")) == 3  # a split by labels
    assert labels(tmp_path / "two")["more/0.jpg"] == ""


def test_given_masks(tmp_path: Path) -> None:
    """They are pointed to, or written anew where their values are others than the classes kept."""
    folder = photos(tmp_path / "photos", "x/a.jpg", "x/b.jpg", "c.jpg")
    path = table(tmp_path / "labels.csv", "image,labels\na,dog\nb,cat\nc,cat;dog\n")
    for name, value in (("x/a", 1), ("b", 2)):  # dog is 1, cat 2
        mask = np.zeros((36, 40), dtype=np.uint8)
        mask[3:9, 3:9] = value
        write_mask(tmp_path / "masks" / f"{name}.png", mask)
    words = ("--labels", path, "--masks", tmp_path / "masks")
    done = smaf_init(folder, tmp_path / "data", *words)
    assert done.status == 2 and "2 of 2 masks" in done.err and "--class_names" in done.err
    assert not (tmp_path / "data").exists()
    order = table(tmp_path / "names.txt", "dog\ncat\n")
    good(smaf_init(folder, tmp_path / "data", *words, "--class_names", order))
    data = open_data(tmp_path / "data")
    assert data.classes.names == ("dog", "cat") and data.mask("x__b")[5, 5] == 2
    assert data.mask_path("x__a") == tmp_path / "masks/x/a.png"
    words = (*words, "--class_names", order, "--classes", "cat", "--overwrite")
    good(smaf_init(folder, tmp_path / "data", *words))
    data = open_data(tmp_path / "data")
    assert data.mask("x__b")[5, 5] == 1 and data.mask("x__a")[5, 5] == 255


def test_turned_by_its_camera(tmp_path: Path) -> None:
    """Sizes are those of the upright photograph, also of its mask."""
    tags = Image.Exif()
    tags[0x0112] = 6
    photo(tmp_path / "photos/a.jpg", (40, 36), exif=tags)
    photo(tmp_path / "photos/b.jpg", (40, 36))
    path = table(tmp_path / "labels.csv", "image,labels\na,cat\nb,\n")
    for name, shape in (("a", (40, 36)), ("b", (40, 36))):
        write_mask(tmp_path / "masks" / f"{name}.png", np.zeros(shape, dtype=np.uint8))
    words = ("--labels", path, "--masks", tmp_path / "masks")
    good(smaf_init(tmp_path / "photos", tmp_path / "data", *words))
    assert faults(tmp_path / "data")["mask of another size"] == 1
    assert open_data(tmp_path / "data").missing("mask", ["a", "b"]) == ["b"]


def test_from_python(folder: Path, tmp_path: Path) -> None:
    table(folder / "labels.csv", "image,labels\na,cat\nb c,dog\nü,cat\nd,dog\ne,cat\n")
    made = init_data(folder, None, tmp_path / "data", val_share=0.4, num_workers=0)
    assert made.names == ("cat", "dog") and made.left_out == 0
    assert made.per_class["all"] == [3, 2] and len(made.lists["val"]) == 2
    assert min(made.per_class["val"]) == 1  # both classes are in both parts
    assert made.faults.table()[0][:2] == ("few photographs", 2)


def test_the_same_call_brings_up_to_date(folder: Path, tmp_path: Path) -> None:
    path = table(folder / "labels.csv", "image,labels\na,cat\nb c,dog\nü,cat\nd,dog\ne,cat\n")
    out = tmp_path / "data"
    good(smaf_init(folder, out))
    table(out / "SALImages/a.png", "made later")
    before = stamps(out)
    assert "is as it was" in good(smaf_init(folder, out)).err
    assert stamps(out) == before
    done = smaf_init(folder, out, "--val_share", 0.5)
    assert done.status == 2 and "made with another val_share" in done.err
    assert stamps(out) == before
    table(path, "image,labels\na,cat\nb c,dog\nü,cat\nd,dog\ne,dog\n")
    good(smaf_init(folder, out))
    assert labels(out)["e.jpeg"] == "dog" and (out / "SALImages/a.png").is_file()
    good(smaf_init(folder, out, "--val_share", 0.5, "--overwrite"))
    assert len(ids(out, "val")) == 2 and (out / "SALImages/a.png").is_file()


def test_coco_mini(animals: Path, tmp_path: Path) -> None:
    """The real excerpt of COCO 2017: its lists, and masks of every photograph."""
    folder = animals.parent / "coco_mini"
    if not folder.is_dir():
        pytest.skip("shared/coco_mini is not beside the repository")
    words = ("--classes", "person,dog,traffic light")
    good(smaf_init(folder, tmp_path / "data", *words))
    data = open_data(tmp_path / "data")
    assert (len(data.ids("train")), len(data.ids("val"))) == (80, 79)
    data.require(data.ids("all"), masks=True)
    shown = [row for row in labels(tmp_path / "data").values() if "person" in row]
    assert len(shown) == 75


def test_voc12_animals(animals: Path, tmp_path: Path) -> None:
    """Taken as a stranger's folder: the same photographs, labels and masks as its own layout."""
    original = open_data(animals, classes="metadata/animals.txt")
    few = original.ids("val")[:60]
    (tmp_path / "photos").mkdir()
    for path in map(original.photo_path, few):
        (tmp_path / "photos" / path.name).symlink_to(path.resolve())
    words = ("--labels", animals / "labels.csv", "--masks", animals / "SegmentationClassAug")
    words += ("--class_names", animals / "metadata/voc12/labels.txt")
    words += ("--classes", animals / "metadata/animals.txt")
    good(smaf_init(tmp_path / "photos", tmp_path / "data", *words))
    data = open_data(tmp_path / "data")
    assert data.ids("all") == sorted(few)
    np.testing.assert_array_equal(data.labels_of(few), original.labels_of(few))
    for image_id in few[:10]:
        np.testing.assert_array_equal(data.mask(image_id), original.mask(image_id))
