"""`smaf prepare` on COCO: a tiny annotation file with hand-worked masks."""

from __future__ import annotations

import copy
import csv
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_api

from smaf.core import parallel
from smaf.core.command import run_command
from smaf.core.errors import InputError, MissingInputError
from smaf.core.images import read_mask, write_mask
from smaf.data.layout import open_data
from smaf.data.prepare.coco_annotations import read_split
from smaf.data.prepare.coco_masks import Region, encode_region, paint_mask, run_lengths
from smaf.prepare import main


def shown(root: Path, path: str = "metadata/voc12/image_labels.csv") -> dict[str, str]:
    """The written table as it is: id → names."""
    with (root / path).open(encoding="utf-8") as file:
        return {row["image"]: row["labels"] for row in csv.DictReader(file)}


def stamp(path: Path) -> tuple[int, int]:
    """Another inode or time: the file was written again."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def square(x: int, y: int, side: int) -> list[int]:
    """A polygon that covers exactly side × side pixels: columns x.. and rows y.."""
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def annotation(
    number: int, image: int, category: int, segmentation: Any, crowd: int = 0
) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": crowd,
    }


CATEGORIES = [
    {"id": 90, "name": "toothbrush"},
    {"id": 1, "name": "person"},
    {"id": 13, "name": "stop sign"},
]
TRAIN = {
    "categories": CATEGORIES,
    "images": [
        {"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "height": 5, "width": 6},
        {"id": 25, "file_name": "COCO_train2014_000000000025.jpg", "height": 2, "width": 3},
        {"id": 30, "file_name": "COCO_train2014_000000000030.jpg", "height": 4, "width": 4},
    ],
    "annotations": [
        annotation(1, 9, 13, [square(2, 2, 2)]),  # the small one comes first, and still lies on top
        annotation(2, 9, 1, [square(1, 1, 3)]),
        # a crowd: down the columns 15 pixels without, 15 with, so columns 3, 4 and 5; objects cover
        # a part of 3
        annotation(3, 9, 90, {"size": [5, 6], "counts": [15, 15]}, crowd=1),
        annotation(
            4, 25, 90, [[0, 0, 1, 0, 1, 1, 0, 1], square(2, 1, 1)]
        ),  # two pieces of one object
    ],
}
VAL = {
    "categories": CATEGORIES,
    "images": [{"id": 7, "file_name": "COCO_val2014_000000000007.jpg", "height": 2, "width": 2}],
    "annotations": [annotation(5, 7, 1, [[0, 0, 2, 0, 2, 2, 0, 2]])],
}
MASK_9 = np.array(
    [
        [0, 0, 0, 255, 255, 255],
        [0, 1, 1, 1, 255, 255],
        [0, 1, 2, 2, 255, 255],
        [0, 1, 2, 2, 255, 255],
        [0, 0, 0, 255, 255, 255],
    ],
    np.uint8,
)
MASK_25 = np.array([[3, 0, 0], [0, 0, 3]], np.uint8)


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_train2014.json").write_text(json.dumps(TRAIN))
    (tmp_path / "annotations/instances_val2014.json").write_text(json.dumps(VAL))
    (tmp_path / "train2014").mkdir()
    Image.new("RGB", (6, 5)).save(tmp_path / "train2014/COCO_train2014_000000000009.jpg")
    return tmp_path


def test_coco_labels_lists_and_masks(
    coco_root: Path, messages: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(coco_root)])
    names = (coco_root / "metadata/coco14/labels.txt").read_text()
    assert names == "0 background\n1 person\n2 stop sign\n3 toothbrush\n"
    assert shown(coco_root, "metadata/coco14/image_labels.csv") == {
        "COCO_train2014_000000000009": "person;stop sign;toothbrush",
        "COCO_train2014_000000000025": "toothbrush",
        "COCO_val2014_000000000007": "person",
    }
    lists = coco_root / "ImageSets/Segmentation"
    assert (
        lists / "train.txt"
    ).read_text() == "COCO_train2014_000000000009\nCOCO_train2014_000000000025\n"
    assert (lists / "val.txt").read_text() == "COCO_val2014_000000000007\n"
    masks = coco_root / "SegmentationClass"
    np.testing.assert_array_equal(read_mask(masks / "COCO_train2014_000000000009.png"), MASK_9)
    np.testing.assert_array_equal(read_mask(masks / "COCO_train2014_000000000025.png"), MASK_25)
    assert (read_mask(masks / "COCO_val2014_000000000007.png") == 1).all() and len(
        list(masks.iterdir())
    ) == 3
    assert "2 images, 1 without annotation left out" in messages
    assert any(line.startswith("2 of 3 photographs are not in") for line in messages)
    out = capsys.readouterr().out
    assert (
        "images a class: 1 (stop sign) to 2 (person)" in out
        and "masks: 3 written, 0 were there" in out
    )
    data = open_data(coco_root)  # what was written is what the commands read
    ids = data.ids("train")
    assert data.labels_of(ids).tolist() == [[1, 1, 1], [0, 0, 1]]
    np.testing.assert_array_equal(data.mask(ids[0], size=data.photo(ids[0]).size), MASK_9)


def test_coco_masks_resume(coco_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(coco_root)])
    kept, lost = (
        coco_root / f"SegmentationClass/COCO_train2014_0000000000{n}.png" for n in ("09", "25")
    )
    before = stamp(kept)
    lost.unlink()
    capsys.readouterr()
    main([str(coco_root)])
    assert stamp(kept) == before and "masks: 1 written, 2 were there" in capsys.readouterr().out
    np.testing.assert_array_equal(read_mask(lost), MASK_25)
    write_mask(kept, np.zeros((5, 6), np.uint8))
    main([str(coco_root), "--overwrite"])
    np.testing.assert_array_equal(read_mask(kept), MASK_9)


def test_coco_masks_in_two_processes_are_the_same(
    coco_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "CHUNK", 1)
    main([str(coco_root), "--num_workers", "2"])
    np.testing.assert_array_equal(
        read_mask(coco_root / "SegmentationClass/COCO_train2014_000000000009.png"), MASK_9
    )
    bad = copy.deepcopy(TRAIN)
    bad["annotations"][0]["segmentation"] = [[0, 0, float("nan"), 1, 1, 1]]
    (coco_root / "annotations/instances_train2014.json").write_text(json.dumps(bad))
    with pytest.raises(
        InputError, match=r"instances_train2014\.json, image COCO_train2014_000000000009"
    ):
        main([str(coco_root), "--num_workers", "2", "--overwrite"])


def test_coco_one_file_or_another_data_set_serves(coco_root: Path) -> None:
    (coco_root / "annotations/instances_train2014.json").unlink()
    (coco_root / "annotations/instances_val2014.json").rename(
        coco_root / "annotations/instances_mine.json"
    )
    main([str(coco_root)])
    assert [path.name for path in (coco_root / "ImageSets/Segmentation").iterdir()] == ["mine.txt"]


def test_coco_class_names_that_are_there_keep_their_spelling_but_not_their_order(
    coco_root: Path,
) -> None:
    names = coco_root / "metadata/coco14/labels.txt"
    names.parent.mkdir(parents=True)
    names.write_text("person\nStopSign\ntoothbrush\n")
    main([str(coco_root)])
    table = shown(coco_root, "metadata/coco14/image_labels.csv")
    assert table["COCO_train2014_000000000009"] == "person;StopSign;toothbrush"
    names.write_text("StopSign\nperson\ntoothbrush\n")
    with pytest.raises(InputError, match=r"labels\.txt.*move it away"):
        main([str(coco_root)])


def broken(change: Callable[[dict[str, Any]], object]) -> str:
    data = copy.deepcopy(TRAIN)
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not valid JSON"),
        ("[]", "no list 'categories'"),
        (broken(lambda d: d.pop("annotations")), "no list 'annotations'"),
        (
            broken(lambda d: d["annotations"][0].update(category_id=12)),
            "annotation 1 has category 12",
        ),
        (broken(lambda d: d["annotations"][0].update(image_id=8)), "annotation 1 is of image 8"),
        (
            broken(lambda d: d["annotations"][0].update(image_id=9.5)),
            "image_id is 9.5, expected a whole number",
        ),
        (
            broken(lambda d: d["annotations"][0].update(image_id="x")),
            "annotation 1 is of image 'x'",
        ),
        (broken(lambda d: d["annotations"][0].pop("image_id")), "image_id is None"),
        (broken(lambda d: d["annotations"][0].update(category_id=True)), "category_id is True"),
        (
            broken(lambda d: d["annotations"][0].update(category_id=-1)),
            "annotation 1 has category -1",
        ),
        (
            broken(lambda d: d["annotations"][0].update(category_id=float("nan"))),
            "category_id is nan",
        ),
        (broken(lambda d: d["annotations"][0].update(category_id=1e308)), "category_id is 1e.308"),
        (broken(lambda d: d["annotations"][0].update(category_id=10**99)), "category_id is 10*,"),
        (
            broken(lambda d: d["annotations"][0].update(iscrowd="yes")),
            "iscrowd is 'yes', expected 0 or 1",
        ),
        (
            broken(lambda d: d["annotations"][0].update(segmentation="5")),
            "segmentation is '5', expected polygons",
        ),
        (
            broken(lambda d: d["annotations"][0].update(segmentation=[1, 1, 4, 1, 4, 4])),
            "polygon is not a list of x, y",
        ),
        (broken(lambda d: d["annotations"].clear()), "has no annotations"),
        (
            broken(lambda d: d["images"][0].update(file_name="../x.jpg")),
            "'../x.jpg' is not an image id",
        ),
        (
            broken(lambda d: d["images"][0].update(file_name="a/../../x.jpg")),
            r"'a/\.\./\.\./x\.jpg' is not an image id",
        ),
        (broken(lambda d: d["images"][0].pop("file_name")), "'' is not an image id"),
        (broken(lambda d: d["images"][0].update(file_name="a\nb.jpg")), "has a control character"),
        (broken(lambda d: d["images"][0].update(height=0)), "a size of 6×0 pixels"),
        (broken(lambda d: d["images"][0].update(height=-5)), "a size of 6×-5 pixels"),
        (
            broken(lambda d: d["images"][0].update(height=10**6, width=10**6)),
            "a size of 1000000×1000000 pixels",
        ),
        (
            broken(lambda d: d["images"][1].update(id=9)),
            "has the id 9 of image COCO_train2014_000000000009, too",
        ),
        (
            broken(lambda d: d["images"][1].update(file_name="x/COCO_train2014_000000000009.png")),
            "x/COCO_train2014_000000000009.png' and image 'COCO_train2014_000000000009.jpg' have "
            "the same file name",
        ),
        (broken(lambda d: d["categories"][0].update(id=1)), "each category id once"),
        (broken(lambda d: d["categories"][0].update(name="person")), "the names person twice"),
        (
            broken(lambda d: d["categories"][0].update(name="Person")),
            "'person' and 'Person', which differ only in case",
        ),
        (
            broken(lambda d: d["categories"][0].update(name="cat\ndog2")),
            r"'cat\\ndog2' has a control character",
        ),
        (
            broken(lambda d: d["categories"][0].update(name="background")),
            "annotation 3 is of the background",
        ),
        (broken(lambda d: d["categories"].clear()), "1 to 254 categories"),
        (broken(lambda d: d["categories"][0].update(name=None)), "a category has the name None"),
        (broken(lambda d: d["categories"][0].update(name="a;b")), "'a;b'"),
        (
            broken(lambda d: d["annotations"][0].update(segmentation=[[0, 0, 1e9, 0, 1, 1]])),
            "within an image of 6×5",
        ),
        (
            broken(lambda d: d["annotations"][2]["segmentation"].update(counts=[20, 11])),
            "do not fill an image of 6×5",
        ),
    ],
)
def test_coco_bad_annotation_file_is_named(coco_root: Path, content: str, said: str) -> None:
    path = coco_root / "annotations/instances_train2014.json"
    path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        main([str(coco_root), "--num_workers", "0"])
    assert str(path) in str(caught.value) and not list(
        (coco_root / "SegmentationClass").glob("*9.png")
    )


def test_coco_as_annotation_tools_write_it(coco_root: Path) -> None:
    """Numbers as texts or fractions, folders in file names, a category for the background, no
    `iscrowd`."""
    data = copy.deepcopy(TRAIN)
    data["categories"].append({"id": 0, "name": "_background_", "supercategory": "none"})
    data["categories"][0]["id"] = "90"
    for image in data["images"]:
        image |= {"id": float(image["id"]), "height": str(image["height"])}
        image["file_name"] = f"train\\x/{image['file_name']}"
    for record in data["annotations"]:
        record |= {"category_id": float(record["category_id"]), "image_id": str(record["image_id"])}
        record["iscrowd"] = {0: None, 1: "1"}[record["iscrowd"]]
    data["annotations"][0]["iscrowd"] = "0"
    data["annotations"][1]["iscrowd"] = False
    del data["annotations"][3]["iscrowd"]
    (coco_root / "annotations/instances_train2014.json").write_text(json.dumps(data))
    main([str(coco_root), "--num_workers", "0"])
    assert (coco_root / "metadata/coco14/labels.txt").read_text().splitlines()[0::3] == [
        "0 background",
        "3 toothbrush",
    ]
    np.testing.assert_array_equal(
        read_mask(coco_root / "SegmentationClass/COCO_train2014_000000000009.png"), MASK_9
    )
    np.testing.assert_array_equal(
        read_mask(coco_root / "SegmentationClass/COCO_train2014_000000000025.png"), MASK_25
    )
    assert open_data(coco_root).labels_of(["COCO_train2014_000000000009"]).tolist() == [[1, 1, 1]]


def test_coco_images_may_be_called_by_texts(coco_root: Path) -> None:
    data = copy.deepcopy(VAL)
    data["images"][0]["id"] = data["annotations"][0]["image_id"] = "val/7"
    (coco_root / "annotations/instances_val2014.json").write_text(json.dumps(data))
    assert (
        read_split(coco_root / "annotations/instances_val2014.json").label(
            "COCO_val2014_000000000007"
        )[0]
        == 1
    )


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        None,
        "missing",
        [[]],
        [[1, 1, 4, 4]],
        [[1, 1], [2, 2]],
        [[2, 2, 2, 2, 2, 2, 2, 2]],
        [[0, 0, 1, 1, 2, 2, 4, 4]],
        {"size": [2, 3], "counts": [6]},
        {"size": [2, 3], "counts": "6"},
        {"size": [2, 3], "counts": []},
    ],
)
def test_coco_objects_without_outline_give_labels_and_no_mask(
    coco_root: Path, messages: list[str], capsys: pytest.CaptureFixture[str], segmentation: Any
) -> None:
    data = copy.deepcopy(TRAIN)
    data["annotations"].append(
        {**annotation(6, 25, 1, segmentation), "bbox": [0, 0, 2, 2]}
    )  # beside one that has one
    if segmentation == "missing":
        del data["annotations"][-1]["segmentation"]
    (coco_root / "annotations/instances_train2014.json").write_text(json.dumps(data))
    for _ in range(2):  # a second run finds nothing to do
        main([str(coco_root), "--num_workers", "0"])
    assert (
        shown(coco_root, "metadata/coco14/image_labels.csv")["COCO_train2014_000000000025"]
        == "person;toothbrush"
    )
    assert sorted(path.stem[-2:] for path in (coco_root / "SegmentationClass").iterdir()) == [
        "07",
        "09",
    ]
    np.testing.assert_array_equal(
        read_mask(coco_root / "SegmentationClass/COCO_train2014_000000000009.png"), MASK_9
    )
    said = (
        "warning: 1 of 3 images, COCO_train2014_000000000025 for one, have objects without an "
        "outline (a box alone, or nothing): they get labels and no mask"
    )
    assert messages.count(said) == 2
    assert (coco_root / "ImageSets/Segmentation/train.txt").read_text().splitlines()[
        1
    ] == "COCO_train2014_000000000025"
    out = capsys.readouterr().out
    assert "masks: 2 written, 0 were there" in out and "masks: 0 written, 2 were there" in out


def test_coco_of_boxes_alone_has_no_masks(
    coco_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in (("train", TRAIN), ("val", VAL)):
        boxes = [
            {**record, "segmentation": [], "bbox": [0, 0, 2, 2]} for record in data["annotations"]
        ]
        (coco_root / f"annotations/instances_{name}2014.json").write_text(
            json.dumps({**data, "annotations": boxes})
        )
    main([str(coco_root)])
    assert "masks: none, the annotations have boxes but no outlines" in capsys.readouterr().out
    assert not (coco_root / "SegmentationClass").exists()
    data = open_data(coco_root)
    assert data.labels_of(data.ids("train")).tolist() == [[1, 1, 1], [0, 0, 1]]


def test_coco_masks_that_were_there_are_told(coco_root: Path, messages: list[str]) -> None:
    bad = copy.deepcopy(TRAIN)
    bad["annotations"][3]["segmentation"] = []
    (coco_root / "annotations/instances_train2014.json").write_text(json.dumps(bad))
    write_mask(
        coco_root / "SegmentationClass/COCO_train2014_000000000025.png", np.zeros((2, 3), np.uint8)
    )
    main([str(coco_root)])
    assert any(
        line.endswith("no mask; 1 masks of them are there, which these annotations did not make")
        for line in messages
    )


def test_coco_files_that_do_not_go_together(coco_root: Path) -> None:
    path = coco_root / "annotations/instances_val2014.json"
    path.write_text(json.dumps({**VAL, "categories": CATEGORIES[:2]}))
    with pytest.raises(InputError, match=r"instances_val2014\.json has other categories"):
        main([str(coco_root)])
    path.write_text(json.dumps(TRAIN))
    with pytest.raises(InputError, match="COCO_train2014_000000000009 is in another file"):
        main([str(coco_root)])
    assert not (coco_root / "metadata").exists()  # nothing is written before all is checked


def test_coco_options(
    coco_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        logging.getLogger("smaf"), "handlers", [logging.NullHandler()]
    )  # run_command adds none then
    with pytest.raises(InputError, match="--class_names: COCO's class names come from"):
        main([str(coco_root), "--class_names", "annotations/instances_val2014.json"])
    with pytest.raises(MissingInputError, match="JPEGImages has no photographs"):
        main([str(coco_root), "--dataset", "voc"])
    for path in (coco_root / "annotations").iterdir():
        path.unlink()
    assert run_command(main, [str(coco_root), "--dataset", "coco"]) == 2
    assert "has no instances_train2014.json" in capsys.readouterr().err


def test_run_lengths_agree_with_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 5), (60, 80), (200, 300)):
        noise = np.kron(rng.random((height, width)) > 0.7, np.ones((3, 5))).astype(np.uint8)
        code = mask_api.encode(np.asfortranarray(noise))
        flat = noise.ravel(order="F")
        lengths = run_lengths(code["counts"].decode())
        values = np.repeat(np.arange(len(lengths)) % 2, lengths)
        np.testing.assert_array_equal(values, flat)
        compressed = {"size": list(noise.shape), "counts": code["counts"].decode()}
        np.testing.assert_array_equal(
            mask_api.decode(encode_region(compressed, noise.shape)), noise
        )


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [4, 4], "counts": ""},
        {"size": [4, 4], "counts": [3, 4]},
        {"size": [4, 4], "counts": "4"},
        {"size": [4, 4], "counts": [17, -1]},
        {"size": [2, 8], "counts": [16]},
        {"counts": [16]},
        {},
        [[0, 0, 1, 1, 2]],
        [[0, 0, 1, 1, 2, "2"]],
        [[0, 0, 1, 1, 2, 10**400]],
        [1, 2, 3, 4, 5, 6],
    ],
)
def test_broken_regions_are_refused_before_pycocotools_sees_them(segmentation: Any) -> None:
    with pytest.raises(ValueError, match="an image of 4×4"):
        encode_region(segmentation, (4, 4))


@pytest.mark.parametrize(
    "counts",
    [
        "0" * 1_000_000,
        "o" * 1_000_000,
        "P" * 1_000_000 + "0",
        "\x10" * 1_000_000,
        "0ä",
        "~",
        [0] * 1_000_000,
        [10**4000, 1],
    ],
    ids=["zeros", "negative", "long numbers", "control", "letter", "tilde", "list", "huge"],
)
def test_hostile_run_lengths_are_refused_at_once(counts: str | list[int]) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match=r"do not fill an image of 4×4|are not COCO's code"):
        encode_region({"size": [4, 4], "counts": counts}, (4, 4))
    assert time.process_time() - start < 5


def test_endless_outlines_are_refused_before_they_take_the_memory() -> None:
    side = 10_000
    zigzag = [[-side if i % 2 else 2 * side, i % side] for i in range(1_000)]
    with pytest.raises(ValueError, match="longer than 5000000 pixels"):
        encode_region([[value for point in zigzag for value in point]], (side, side))


def test_polygon_areas_are_exact_and_lines_cover_nothing() -> None:
    assert mask_api.area(encode_region([square(3, 2, 5)], (12, 10))) == 25
    assert (
        mask_api.area(encode_region([square(0, 0, 4), square(2, 0, 4)], (12, 10))) == 24
    )  # a union: 32 less 8
    assert mask_api.area(encode_region([square(-2, -2, 6)], (12, 10))) == 16  # cut at the border
    for nothing in ([], [[1, 1, 5, 5]], [[1, 1]]):
        assert mask_api.area(encode_region(nothing, (12, 10))) == 0


def test_of_equal_objects_the_later_wins_and_a_crowd_never_covers() -> None:
    crowd = Region(0, True, [square(0, 0, 1)])
    first, second = (Region(index, False, [square(0, 0, 2)]) for index in (1, 2))
    np.testing.assert_array_equal(paint_mask([first, second, crowd], (2, 2)), np.full((2, 2), 3))


def test_a_crowd_counts_as_a_label(coco_root: Path) -> None:
    split = read_split(coco_root / "annotations/instances_train2014.json")
    assert split.label("COCO_train2014_000000000009").tolist() == [1, 1, 1] and split.empty == 1
