"""A data set in VOC layout: lists, labels, photographs, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smaf.core.errors import InputError, MissingInputError
from smaf.data.layout import open_data

LISTS = "ImageSets/Segmentation"


def test_tiny_set(tiny_voc: Path) -> None:
    data = open_data(tiny_voc)
    assert data.classes.names == ("cat", "dog", "cow") and data.num_classes == 3
    assert data.ids("train") == ["one", "two", "three"] and data.ids("val") == ["four", "five"]
    assert (
        data.ids(tiny_voc / LISTS / "val.txt") == data.ids(f"{LISTS}/val.txt") == ["four", "five"]
    )
    np.testing.assert_array_equal(data.labels_of(["three", "five"]), [[1, 0, 1], [1, 1, 0]])
    photo = data.photo("two")
    assert photo.size == (33, 41) and photo.getpixel((10, 20)) == (50, 200, 70)
    mask = data.mask("three", size=(48, 32))
    assert (mask[0] == 255).all() and mask[10, 10] == 1 and mask[20, 30] == 3 and mask[31, 0] == 0
    assert np.asarray(data.saliency("three"))[10, 10] == 255
    data.require(data.ids("train_aug"), saliency=True, masks=True)


def test_subset_of_classes(tiny_voc: Path) -> None:
    (tiny_voc / "keep.txt").write_text("cow\ncat\n")
    data = open_data(tiny_voc, classes="keep.txt")
    assert data.classes.names == ("cow", "cat")
    np.testing.assert_array_equal(data.labels_of(["one", "three"]), [[0, 1], [1, 1]])
    mask = data.mask("three")
    assert mask[10, 10] == 2 and mask[20, 30] == 1
    assert data.mask("five")[10, 8] == 255  # the dog is left out
    np.testing.assert_array_equal(data.labels_of(["two", "one"]), [[0, 0], [0, 1]])  # a dog alone
    assert data.shown(["two", "one", "four"]) == ["one", "four"]
    data.require(["two", "one"], labels=True)
    with pytest.raises(
        InputError, match=r"labels\.csv: two of the list show none of the classes cow, cat: name a"
    ):
        data.require(["two"], labels=True)
    (tiny_voc / "keep.txt").write_text("cow\nbird\n")
    with pytest.raises(InputError, match=r"keep\.txt: unknown class names bird"):
        open_data(tiny_voc, classes=tiny_voc / "keep.txt")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("one\n../../etc/passwd\n", "is not an image id"),
        ("one\n/abs\n", "is not an image id"),
        ("one\ntwo\none\n", r"has one twice: write each id once"),
        ("", "is empty"),
        ("\n \n", "is empty"),
    ],
)
def test_bad_lists_are_refused(tiny_voc: Path, lines: str, message: str) -> None:
    (tiny_voc / LISTS / "bad.txt").write_text(lines)
    with pytest.raises(InputError, match=rf"bad\.txt.*{message}"):
        open_data(tiny_voc).ids("bad")


def test_what_is_missing_is_named(tiny_voc: Path) -> None:
    data = open_data(tiny_voc)
    with pytest.raises(MissingInputError, match=r"list .*none\.txt does not exist"):
        data.ids("none")
    with pytest.raises(InputError, match=r"labels\.csv has no labels for six and 1 more"):
        data.labels_of(["one", "six", "seven"])
    (tiny_voc / "SALImages" / "two.png").unlink()
    (tiny_voc / "SALImages" / "three.png").unlink()
    data.require(["two"])
    with pytest.raises(
        MissingInputError, match=r"saliency map .*two\.png \(and 1 more\) does not exist"
    ):
        data.require(["one", "two", "three"], saliency=True)
    (tiny_voc / "SegmentationClassAug" / "one.png").unlink()
    with pytest.raises(MissingInputError, match=r"mask .*one\.png does not exist"):
        data.require(["one"], masks=True)
    with pytest.raises(MissingInputError, match=r"photograph .*six\.jpg does not exist"):
        data.require(["six"])
    with pytest.raises(MissingInputError, match="--data_root"):
        open_data(tiny_voc / "none")
    (tiny_voc / "labels.csv").unlink()
    with pytest.raises(MissingInputError, match="has no image-level labels"):
        open_data(tiny_voc).labels_of(["one"])


def test_masks_with_foreign_values_are_refused(tiny_voc: Path) -> None:
    (tiny_voc / "metadata/tiny/labels.txt").write_text("cat\ndog\n")
    data = open_data(tiny_voc)
    assert data.mask("one").max() == 255
    with pytest.raises(
        InputError, match=r"four\.png has the values \[3\], but the data set's classes are 1\.\.2"
    ):
        data.mask("four")


def test_labels_and_names_may_be_named(tiny_voc: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", {"one": np.array([0, 1], dtype=np.float32)}, allow_pickle=True)
    (tmp_path / "names.txt").write_text("left\nright\n")
    data = open_data(tiny_voc, labels=tmp_path / "other.npy", class_names=tmp_path / "names.txt")
    assert data.labels_of(["one"]).tolist() == [[0, 1]] and data.classes.names == ("left", "right")
    with pytest.raises(MissingInputError, match=r"none\.npy does not exist"):
        open_data(tiny_voc, labels="none.npy").labels_of(["one"])


@pytest.mark.parametrize(
    ("folder", "old", "new"),
    [
        ("JPEGImages", ".png", ".Jpg"),
        ("JPEGImages", ".png", ".TIF"),
        ("JPEGImages", ".png", ".BMP"),
        ("JPEGImages", ".png", ".WEBP"),
        ("SALImages", ".png", ".PNG"),
        ("SALImages", ".png", ".jpg"),
        ("SegmentationClassAug", ".png", ".PNG"),
        ("SegmentationClassAug", ".png", ".tif"),
    ],
)
def test_suffixes_of_other_kinds_and_cases(folder: str, old: str, new: str, tiny_voc: Path) -> None:
    path = tiny_voc / folder / f"two{old}"
    Image.open(path).save(path.with_name("saved" + new))
    path.unlink()
    path.with_name("saved" + new).rename(path.with_suffix(new))
    data = open_data(tiny_voc)
    data.require(["two"], saliency=True, masks=True)
    assert data.photo("two").size == (33, 41)
    assert data.mask("two")[20, 20] == 2 and np.asarray(data.saliency("two"))[20, 20] > 250


def test_two_files_of_one_id_are_an_error(tiny_voc: Path) -> None:
    Image.new("RGB", (40, 30)).save(tiny_voc / "JPEGImages/one.jpg")
    data = open_data(tiny_voc)
    with pytest.raises(
        InputError, match=r"JPEGImages has one\.jpg and one\.png, both of the id one"
    ):
        data.require(["two", "one"])
    with pytest.raises(InputError, match="both of the id one"):
        data.photo("one")


def test_names_in_decomposed_unicode(tiny_voc: Path) -> None:
    """A Mac's disk has `é` in two characters, the list in one, or the other way round."""
    for folder, name in (
        ("JPEGImages", "cafe\u0301"),
        ("SALImages", "caf\u00e9"),
        ("SegmentationClassAug", "cafe\u0301"),
    ):
        (tiny_voc / folder / "one.png").rename(tiny_voc / folder / f"{name}.png")
    data = open_data(tiny_voc)
    for name in ("cafe\u0301", "caf\u00e9"):
        (tiny_voc / LISTS / "train.txt").write_text(f"{name}\n", encoding="utf-8")
        ids = data.ids("train")
        data.require(ids, saliency=True, masks=True)
        assert data.photo(ids[0]).size == (40, 30)


def test_cocos_folders_of_2017(tiny_voc: Path) -> None:
    for folder, name in (("train2017", "one"), ("val2017", "two")):
        (tiny_voc / folder).mkdir()
        (tiny_voc / "JPEGImages" / f"{name}.png").rename(tiny_voc / folder / f"{name}.png")
    data = open_data(tiny_voc)
    data.require(["one", "two", "three"])
    assert data.photo_path("two") == tiny_voc / "val2017/two.png"
    assert data.missing("photograph", ["two", "six"]) == ["six"]


def test_animals(animals: Path) -> None:
    data = open_data(animals, classes="metadata/animals.txt")
    lists = {name: data.ids(name) for name in ("train_aug", "train", "val")}
    assert {name: len(ids) for name, ids in lists.items()} == {
        "train_aug": 1038,
        "train": 437,
        "val": 225,
    }
    assert set(lists["train"]) < set(lists["train_aug"]) and not set(lists["val"]) & set(
        lists["train_aug"]
    )
    labels = data.labels_of(lists["train_aug"])
    assert dict(zip(data.classes.names, labels.sum(axis=0).astype(int).tolist(), strict=True)) == {
        "cat": 211,
        "cow": 210,
        "dog": 221,
        "horse": 211,
        "sheep": 210,
        "person": 233,
    }
    assert (
        int((open_data(animals).labels_of(lists["train_aug"]).sum(axis=1) == 1).sum()) == 705
    )  # of VOC's 20
    table = open_data(animals, classes="metadata/animals.txt", labels="labels.csv")
    np.testing.assert_array_equal(table.labels_of(lists["train_aug"]), labels)
    data.require(lists["train_aug"], saliency=True)
    data.require([*lists["train"], *lists["val"]], masks=True)
    for image_id in lists["val"][:10]:
        photo = data.photo(image_id)
        shown = np.unique(data.mask(image_id, size=photo.size))
        labelled = np.flatnonzero(data.labels_of([image_id])[0]) + 1
        assert set(shown.tolist()) - {0, 255} == set(labelled.tolist())
