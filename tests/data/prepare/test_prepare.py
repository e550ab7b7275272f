"""`smaf prepare` on tiny VOC and COCO trees whose labels and masks are worked out by hand."""

from __future__ import annotations

import csv
import os
import signal
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smaf.core import parallel
from smaf.core.classes import VOC_CLASSES
from smaf.core.errors import InputError, MissingInputError
from smaf.core.images import write_mask
from smaf.core.labels import read_image_labels
from smaf.data.layout import open_data
from smaf.data.prepare import voc
from smaf.data.prepare.voc import read_xml_label
from smaf.prepare import main

ANIMALS = Path(__file__).resolve().parents[4] / "shared" / "voc12_animals"


def shown(root: Path, path: str = "metadata/voc12/image_labels.csv") -> dict[str, str]:
    """The written table as it is: id → names."""
    with (root / path).open(encoding="utf-8") as file:
        return {row["image"]: row["labels"] for row in csv.DictReader(file)}


def stamp(path: Path) -> tuple[int, int]:
    """Another inode or time: the file was written again."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def xml(*objects: str) -> str:
    return f"<annotation><filename>x.jpg</filename>{''.join(objects)}</annotation>"


def thing(name: str, inner: str = "") -> str:
    return f"<object><name>{name}</name>{inner}</object>"


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """a: XML with a difficult object and a part; b: XML beside a mask; c: aug mask; d: plain mask;
    e: nothing."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    for image_id in "abcde":
        Image.new("RGB", (3, 2)).save(tmp_path / "JPEGImages" / f"{image_id}.jpg")
    head = "<part><name>head</name><bndbox/></part>"
    (tmp_path / "Annotations/a.xml").write_text(
        xml(thing("person", head), thing("dog", "<difficult>1</difficult>"), thing("person"))
    )
    (tmp_path / "Annotations/b.xml").write_text(xml(thing("tvmonitor")))
    for image_id in "bcz":  # z has no photograph
        write_mask(
            tmp_path / f"SegmentationClassAug/{image_id}.png",
            np.array([[0, 8, 255], [1, 8, 0]], np.uint8),
        )
    write_mask(tmp_path / "SegmentationClass/c.png", np.array([[0, 2, 2]], np.uint8))
    write_mask(tmp_path / "SegmentationClass/d.png", np.array([[20, 0, 255]], np.uint8))
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("c\n")
    return tmp_path


def test_voc_labels_names_and_train_aug(
    voc_root: Path, messages: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(voc_root)])
    assert shown(voc_root) == {
        "a": "dog;person",
        "b": "tvmonitor",
        "c": "aeroplane;cat",
        "d": "tvmonitor",
    }
    assert (voc_root / "metadata/voc12/labels.txt").read_text().splitlines()[:2] == [
        "0 background",
        "1 aeroplane",
    ]
    assert (voc_root / "ImageSets/Segmentation/train_aug.txt").read_text() == "b\nz\n"
    out = capsys.readouterr().out
    assert "images with labels: 4 (0 of them show no class)" in out
    assert "images a class: 0 (bicycle) to 2 (tvmonitor)" in out and "train_aug.txt, 2 ids" in out
    assert (
        "5 photographs: labels of 2 from Annotations, of 2 from masks, 1 have neither" in messages
    )
    data = open_data(voc_root)  # what was written is what the commands read
    assert data.classes.names == VOC_CLASSES
    assert np.flatnonzero(data.labels_of(["a", "b"])[0]).tolist() == [11, 14]


def test_voc_test_list_is_kept_out_of_train_aug(voc_root: Path) -> None:
    (voc_root / "ImageSets/Segmentation/test.txt").write_text("z\n")
    assert voc.train_aug_ids(voc_root) == ["b"]


def test_voc_without_val_list_makes_no_train_aug(voc_root: Path, messages: list[str]) -> None:
    (voc_root / "ImageSets/Segmentation/val.txt").unlink()
    main([str(voc_root)])
    assert not (voc_root / "ImageSets/Segmentation/train_aug.txt").exists()
    assert any("no train_aug list" in line and "val.txt" in line for line in messages)


def test_voc_without_augmented_masks_makes_no_train_aug(
    voc_root: Path, messages: list[str]
) -> None:
    for path in (voc_root / "SegmentationClassAug").iterdir():
        path.unlink()
    main([str(voc_root)])
    assert shown(voc_root)["c"] == "bicycle"  # from SegmentationClass now
    assert not (voc_root / "ImageSets/Segmentation/train_aug.txt").exists()
    assert any("no train_aug list" in line and "SegmentationClassAug" in line for line in messages)


def test_voc_outputs_are_kept_unless_overwrite(voc_root: Path, messages: list[str]) -> None:
    table, ids = (
        voc_root / "metadata/voc12/image_labels.csv",
        voc_root / "ImageSets/Segmentation/train_aug.txt",
    )
    table.parent.mkdir(parents=True)
    table.write_text("image,labels\na,cat\n")
    ids.write_text("b\n")
    main([str(voc_root)])
    assert shown(voc_root) == {"a": "cat"} and ids.read_text() == "b\n"
    assert sum(line.startswith("kept ") for line in messages) == 2
    main([str(voc_root), "--overwrite"])
    assert shown(voc_root)["a"] == "dog;person" and ids.read_text() == "b\nz\n"


def test_voc_broken_kept_labels_name_the_way_out(voc_root: Path) -> None:
    table = voc_root / "metadata/voc12/image_labels.csv"
    table.parent.mkdir(parents=True)
    table.write_text("image,labels\na,unicorn\n")
    with pytest.raises(InputError, match=r"image_labels\.csv.*unicorn.*--overwrite"):
        main([str(voc_root)])


@pytest.mark.parametrize("option", [True, False])
def test_voc_layout_with_own_class_names(voc_root: Path, option: bool) -> None:
    names = voc_root / "metadata/farm/labels.txt"
    names.parent.mkdir(parents=True)
    names.write_text("dog\nperson\ntvmonitor\ncat\n")
    write_mask(voc_root / "SegmentationClassAug/c.png", np.array([[4, 1]], np.uint8))
    write_mask(voc_root / "SegmentationClass/d.png", np.array([[3]], np.uint8))
    main([str(voc_root), *(["--class_names", "metadata/farm/labels.txt"] if option else [])])
    written = shown(voc_root, "metadata/farm/image_labels.csv")
    assert written == {"a": "dog;person", "b": "tvmonitor", "c": "dog;cat", "d": "tvmonitor"}
    assert (
        not (voc_root / "metadata/voc12").exists()
        and names.read_text() == "dog\nperson\ntvmonitor\ncat\n"
    )


def test_voc_labels_that_commands_do_not_take_are_said(voc_root: Path, messages: list[str]) -> None:
    (voc_root / "mine").mkdir()
    (voc_root / "mine/names.txt").write_text("\n".join(VOC_CLASSES))
    main([str(voc_root), "--class_names", "mine/names.txt"])
    assert any("mine/image_labels.csv with --labels" in line for line in messages)
    assert any("mine/names.txt with --class_names" in line for line in messages)


def test_voc_labels_in_two_processes_are_the_same(
    voc_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "CHUNK", 1)
    one = voc.image_labels(voc_root, VOC_CLASSES)
    two = voc.image_labels(voc_root, VOC_CLASSES, num_workers=2)
    assert list(one) == list(two) and all(np.array_equal(one[i], two[i]) for i in one)


def die(task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_a_killed_worker_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "CHUNK", 1)
    with pytest.raises(InputError, match=r"memory is full.*--num_workers"):
        parallel.map_parallel(die, [1, 2, 3], num_workers=2, what="tasks")


BOMB = (
    '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY c "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<annotation><object><name>&c;</name></object></annotation>"
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (xml(thing("unicorn")).encode(), "unknown class name 'unicorn'"),
        (xml("<object><pose/></object>").encode(), "object 1 has no name"),
        (xml(thing("cat"), thing(" ")).encode(), "object 2 has no name"),
        (
            xml(thing("catt")).encode(),
            r"unknown class name 'catt' \(did you mean 'cat'\?\).*--class_names",
        ),
        (xml(thing("8")).encode(), "the number 8 instead of a class name"),
        (
            b"<annotations><image name='b.jpg'><mask label='cat'/></image></annotations>",
            "begins with <annotations>",
        ),
        (b"<annotation><object>", "not valid XML"),
        (b"", "not valid XML"),
        (BOMB.encode(), "document type or entities"),
        (BOMB.lower().replace("<!doctype", "<!DocType").encode(), "document type or entities"),
        (BOMB.encode("utf-16"), "not valid XML"),  # the declaration cannot hide in another encoding
        (b'<?xml version="1.0" encoding="cp037"?>' + BOMB.encode("cp037"), "not valid XML"),
    ],
)
def test_voc_bad_annotation_is_named(voc_root: Path, content: bytes, said: str) -> None:
    path = voc_root / "Annotations/b.xml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        main([str(voc_root)])
    assert (
        str(path) in str(caught.value)
        and not (voc_root / "metadata/voc12/image_labels.csv").exists()
    )


def test_voc_annotation_with_declared_encoding_and_bom_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(
        b"\xef\xbb\xbf" + ('<?xml version="1.0" encoding="utf-8"?>' + xml(thing(" cat "))).encode()
    )
    assert np.flatnonzero(read_xml_label(path, VOC_CLASSES)).tolist() == [7]


def test_voc_annotation_names_are_matched(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(xml(thing("Potted Plant"), thing("DOG"), thing("background")))
    assert np.flatnonzero(read_xml_label(path, VOC_CLASSES)).tolist() == [11, 15]


def test_voc_files_are_found_whatever_the_suffix(voc_root: Path) -> None:
    """.Jpg and .TIF photographs, .XML annotations, .PNG masks; a Mac's `._` files and other files
    are left out."""
    for old, new in (
        ("JPEGImages/a.jpg", "JPEGImages/a.Jpg"),
        ("JPEGImages/c.jpg", "JPEGImages/c.TIF"),
        ("Annotations/a.xml", "Annotations/a.XML"),
        ("SegmentationClass/d.png", "SegmentationClass/d.PNG"),
        ("SegmentationClassAug/z.png", "SegmentationClassAug/z.Png"),
    ):
        (voc_root / old).rename(voc_root / new)
    for name in (
        "JPEGImages/._a.Jpg",
        "Annotations/._b.xml",
        "SegmentationClassAug/._q.png",
        "JPEGImages/Thumbs.db",
    ):
        (voc_root / name).write_bytes(b"\0\5\26\7")
    (voc_root / "JPEGImages/folder.jpg").mkdir()
    main([str(voc_root)])
    assert shown(voc_root) == {
        "a": "dog;person",
        "b": "tvmonitor",
        "c": "aeroplane;cat",
        "d": "tvmonitor",
    }
    assert (voc_root / "ImageSets/Segmentation/train_aug.txt").read_text() == "b\nz\n"


@pytest.mark.parametrize("name", ["2024-01-01 12:30", "a b", "#1", "Ä"])
def test_voc_names_that_a_system_has_are_taken(voc_root: Path, name: str) -> None:
    decomposed = unicodedata.normalize("NFD", name)
    (voc_root / "JPEGImages/a.jpg").rename(voc_root / f"JPEGImages/{decomposed}.jpg")
    (voc_root / "Annotations/a.xml").rename(voc_root / f"Annotations/{name}.xml")
    main([str(voc_root)])
    assert shown(voc_root)[name] == "dog;person"
    assert np.flatnonzero(open_data(voc_root).labels_of([name])[0]).tolist() == [11, 14]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.png", r"a\.jpg and a\.png have one id, a"),
        ("a.JPG", r"a\.JPG and a\.jpg have one id, a"),
        ("x\ny.jpg", r"'x\\ny' has a control character"),
    ],
)
def test_voc_photographs_without_an_id_of_their_own(voc_root: Path, name: str, said: str) -> None:
    Image.new("RGB", (3, 2)).save(voc_root / "JPEGImages" / name)
    if len(list((voc_root / "JPEGImages").iterdir())) == 5:
        pytest.skip("this file system does not tell the case of letters")
    with pytest.raises(InputError, match=said):
        main([str(voc_root)])
    assert not [path for path in voc_root.glob("metadata/*/*") if path.suffix in {".csv", ".txt"}]


def test_voc_masks_of_0_and_255_show_no_class(voc_root: Path, messages: list[str]) -> None:
    white = np.array([[0, 255, 255]], np.uint8)
    write_mask(voc_root / "SegmentationClass/d.png", white)
    main([str(voc_root)])
    assert "d" not in shown(voc_root) and shown(voc_root)["c"] == "aeroplane;cat"
    assert [line for line in messages if line.startswith("warning")] == [
        f"warning: 1 of 2 masks, {voc_root}/SegmentationClass/d.png for one, have no value but 0 "
        "and 255, and 255 means ignored, so that nothing says what they show: they get no labels"
    ]
    write_mask(voc_root / "SegmentationClassAug/c.png", white)
    with pytest.raises(
        InputError, match=r"2 of 2 masks, .*c\.png for one.*write the class's number"
    ):
        main([str(voc_root), "--overwrite"])
    write_mask(voc_root / "SegmentationClassAug/c.png", np.zeros((1, 3), np.uint8))
    with pytest.raises(InputError, match=r"1 of 2 masks, .*d\.png for one"):
        main([str(voc_root), "--overwrite"])
    assert shown(voc_root)["c"] == "aeroplane;cat"  # what was there is kept


def test_voc_empty_annotation_is_counted(
    voc_root: Path, messages: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (voc_root / "Annotations/b.xml").write_text(xml())
    main([str(voc_root)])
    assert "images with labels: 4 (1 of them show no class)" in capsys.readouterr().out
    told = "1 of 4 images show no class, b for one: training takes them for background"
    assert told in messages
    assert shown(voc_root)["b"] == ""


def test_voc_bad_mask_value_is_named(voc_root: Path) -> None:
    write_mask(voc_root / "SegmentationClass/d.png", np.array([[21]], np.uint8))
    with pytest.raises(InputError, match=r"d\.png has the values \[21\]"):
        main([str(voc_root)])


def test_voc_missing_inputs(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="does not exist"):
        main([str(tmp_path / "nowhere")])
    with pytest.raises(MissingInputError, match="JPEGImages has no photographs"):
        main([str(tmp_path)])
    (tmp_path / "JPEGImages").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "JPEGImages/a.jpg")
    with pytest.raises(MissingInputError, match=r"neither Annotations/<id>\.xml nor"):
        main([str(tmp_path)])
    with pytest.raises(MissingInputError, match=r"class-name file .*none\.txt does not exist"):
        main([str(tmp_path), "--class_names", "none.txt"])
    with pytest.raises(InputError, match="expected 0 or more"):
        main([str(tmp_path), "--num_workers", "-1"])


def test_class_names_with_a_separator_are_refused(voc_root: Path) -> None:
    (voc_root / "names.txt").write_text("dog\ncat, wild\n")
    with pytest.raises(InputError, match="'cat, wild'"):
        main([str(voc_root), "--class_names", "names.txt"])


@pytest.mark.skipif(not ANIMALS.is_dir(), reason="the real photographs are not on this machine")
def test_labels_from_real_masks_agree_with_voc(tmp_path: Path) -> None:
    """VOC's labels come from its XML files, masks miss what is in no segment: nothing else may
    differ."""
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation/val.txt"):
        (tmp_path / folder).symlink_to(ANIMALS / folder)
    main([str(tmp_path), "--num_workers", "0"])
    made = read_image_labels(tmp_path / "metadata/voc12/image_labels.csv", VOC_CLASSES)
    true = read_image_labels(ANIMALS / "labels.csv", VOC_CLASSES)
    assert made.keys() == true.keys() and len(made) == 1263
    assert not any((made[i] > true[i]).any() for i in true)
    assert sum(np.array_equal(made[i], true[i]) for i in true) >= 1236  # 97.9 %, measured
    lists = "ImageSets/Segmentation/train_aug.txt"
    assert sorted((ANIMALS / lists).read_text().split()) == (tmp_path / lists).read_text().split()
