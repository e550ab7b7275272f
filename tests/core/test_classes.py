"""Class names, VOC's colours, and the way from a data set's mask values to the task's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smaf.core.classes import VOC_CLASSES, ClassMap, read_class_names
from smaf.core.errors import InputError
from smaf.core.images import voc_palette
from smaf.data.prepare.preparing import write_class_names


def test_voc_palette() -> None:
    palette = voc_palette()
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        3: (128, 128, 0),
        4: (0, 0, 128),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        21: (128, 64, 128),
        255: (224, 224, 192),
    }
    assert {index: tuple(int(v) for v in palette[index]) for index in known} == known
    assert len(np.unique(palette, axis=0)) == 256


def test_voc_names() -> None:
    assert len(VOC_CLASSES) == 20 and VOC_CLASSES[7] == "cat" and VOC_CLASSES[14] == "person"


def test_names_are_read_in_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    for text in (
        "cat\npotted plant\n",
        "0 background\n1 cat\n2 potted plant\n",
        "__background__\ncat\n\npotted plant",
        "0: background\n1: cat\n2, potted plant\n",
        "\ufeff1\tcat\r\n2\tpotted plant\r\n",
    ):
        path.write_text(text, encoding="utf-8")
        assert read_class_names(path) == ("cat", "potted plant")


@pytest.mark.parametrize(
    "text",
    [
        "name\ncat\npotted plant\n",
        "Classes:\ncat\npotted plant\n",
        "Class Name\ncat\npotted plant",
        "labels\ncat\npotted plant",
        "id,name\n0,background\n1,cat\n2,potted plant\n",
        "class_id;class_name\n1;cat\n2;potted plant\n",
        "name,id\ncat,1\npotted plant,2\n",
        "#id name\n1 cat\n2 potted plant\n",
        "cat,1\npotted plant,2\n",
        "background,0\ncat,1\npotted plant,2\n",
        "cat:0\npotted plant:1\n",
        "cat 1\npotted plant 2\n",
        "cat\t1\npotted plant\t2",
        "1,cat\n2,potted plant\n",
        "1,cat,,\n2,potted plant,,\n",
        "1;cat\n2;potted plant",
        "1. cat\n2. potted plant\n",
        "1) cat\n2) potted plant",
        "1 - cat\n2 - potted plant",
        "0: cat\n1: potted plant\n",
        "- cat\n- potted plant\n",
        "1=cat\n2=potted plant",
        '1,"cat"\n2,"potted plant"\n',
        '"1","cat"\n"2","potted plant"\n',
        '"cat"\n"potted plant"\n',
        "'cat',\n'potted plant',\n",
        "cat, potted plant",
        "cat; potted plant;\n",
        "Classes: cat, potted plant",
        "cat|potted plant",
        "name\ncat, potted plant\n",
        "background, cat, potted plant\n",
        '["cat", "potted plant"]',
        "['cat', 'potted plant']\n",
        '[\n  "background",\n  "cat",\n  "potted plant"\n]\n',
        '{"0": "background", "1": "cat", "2": "potted plant"}',
        '{"cat": 0, "potted plant": 1}',
        '{"names": ["cat", "potted plant"]}',
        "{0: cat, 1: potted plant}",
        "names: [cat, potted plant]\n",
        "names: ['cat', 'potted plant']",
        "names:\n  0: cat\n  1: potted plant\n",
        "train: a/images\nval: b/images\n\nnc: 2\nnames: ['cat', 'potted plant']\nroboflow:\n  "
        "version: 1\n",
        "path: x\nnames:\n- cat\n- potted plant\nnc: 2\n",
        "path: x # here\nnames:  # of classes\n  0: background\n  1: cat\n  2: potted plant\n",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\npotted "
        "plant:0,128,0::\n",
        "background:::\ncat:::\npotted plant:::\n",
        "__ignore__\n_background_\ncat\npotted plant\n",
        "__ignore__\ncat\npotted plant\n",
        "BG\ncat\npotted plant",
        "bg\ncat\npotted plant",
        "Background\ncat\npotted plant",
        "_background_\ncat\npotted plant",
        "0 background\n1 cat\n2 potted plant\n255 void\n",
        "1 cat\n2 potted plant\n255: ignore\n",
        "# of the farm\n\ncat\n# and\npotted plant\n",
        "cat\r\npotted plant\r\n",
        "cat\rpotted plant\r",
    ],
)
def test_lists_as_people_and_tools_write_them(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.txt"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert read_class_names(path) == ("cat", "potted plant")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("3d printer\ncat", ("3d printer", "cat")),
        ("cat\n4 door car\n", ("cat", "4 door car")),
        ("0\n1\n2\n", ("0", "1", "2")),
        ("1 2 door car\n2 4 door car\n", ("2 door car", "4 door car")),
        ("class 1\nclass 2", ("class 1", "class 2")),
        ("1 name\n2 label\n", ("name", "label")),
        ("cat\nname\n", ("cat", "name")),
        ("label", ("label",)),
        ("stop sign", ("stop sign",)),
        ("1 other\n2 cat", ("other", "cat")),
        ("lion's mane\nt-shirt\n", ("lion's mane", "t-shirt")),
    ],
)
def test_numbers_and_headings_may_be_names(
    tmp_path: Path, text: str, names: tuple[str, ...]
) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    assert read_class_names(path) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cat\ndog\ncat\n", "the names cat twice"),
        ("", "no names"),
        ("background\n", "no names"),
        ("# nothing\n", "no names"),
        ("\n".join(f"class{i}x" for i in range(255)), "255 classes: masks hold at most 254"),
        ("cat\nCat\n", "the names 'cat' and 'Cat', which differ only in case"),
        ("tea spoon\ntea_spoon", "differ only in case"),
        ("cat\nbackground\ndog\n", "has 'background' after a class: it must come first"),
        ("aeroplane:128,0,0::\nbackground:0,0,0::\n", "has 'background' after a class"),
        ("1 background\n2 cat\n", "gives the background the number 1"),
        ("0 background objects\n1 cat\n", "is background and more"),
        ("background #000000\ncat #ff0000\n", "is background and more"),
        ("0 background 0 0 0\n1 cat 128 0 0\n", "is background and more"),
        ("1 cat 128 0 0\n2 dog 0 128 0\n", "has more in it than a name"),
        ("unlabeled\ncat\n", "begins with 'unlabeled'"),
        ("0: other\n1: cat\n", "begins with 'other'"),
        ("1 person\n3 car\n", r"numbers that do not run .* \('1 person'\)"),
        ("2 dog\n1 cat\n", "numbers that do not run"),
        ("cat,3\ndog,1\n", "numbers that do not run"),
        ("0 background\ncat\ndog\n", "numbers that do not run"),
        ("1 cat\n2 dog\ncow\n", "numbers that do not run"),
        ("cat\n2: dog\n", "numbers that do not run"),
        ("2 door car\n4 door car\n", "numbers that do not run"),
        ("cat,1\ndog\n", "numbers that do not run"),
        ("cat\ndog\nvoid\n", "has 'void' for a class"),
        ("cat\n__ignore__\n", "has '__ignore__' for a class"),
        ("cat\x0bdog\ncow\n", "control character"),
        ("cat\tfelis\ndog\tcanis", "control character"),
        ("cat\x85dog", "control character"),
        ("cat,felis\ndog,canis\n", "'cat,felis' has one of"),
        ("name,supercategory\ncat,animal\n", "has one of"),
        ("cat\n#dog\n", "a comment begins with # and a space"),
        ('["cat", ["dog"]]', "holds lists"),
        ('{"categories": [{"id": 1}]}', "holds dicts"),
        ("[" * 100_000, "does not read like a name"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply|brackets within"),
        ("{'names': ['cat']}", "brackets within brackets"),
        ('["cat\\ndog2"]', "control character"),
    ],
)
def test_lists_that_could_shift_a_class_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(text.encode())
    with pytest.raises(InputError, match=said) as caught:
        read_class_names(path)
    assert (
        str(path) in str(caught.value)
        and "\n" not in str(caught.value)
        and len(str(caught.value)) < 600
    )


@pytest.mark.parametrize(
    "text",
    [
        "[names]\ncat\n",
        "#cat\ndog\n",
        "cat:\ndog:\n",
        "cat\n---\ndog",
        "//cat\ndog",
        "<html>\ncat",
        "cat # a pet\ndog",
        "cat #ff0000\ndog #00ff00",
        "item {\n name: 'cat'\n}\n",
        "x = ['cat', 'dog']",
        "cat\u200b\ndog",
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"labels\.txt"):
        read_class_names(path)


def test_names_to_keep_are_matched_where_one_class_is_meant() -> None:
    source = ("Cow", "potted plant", "dog")
    assert ClassMap.of(source, ("PottedPlant", "cow")).names == ("potted plant", "Cow")
    assert ClassMap.of(source, ("PottedPlant", "cow")).indices.tolist() == [1, 0]
    with pytest.raises(
        InputError, match=r"k\.txt: unknown class names dgo \(did you mean 'dog'\?\), x: "
    ):
        ClassMap.of(source, ("dgo", "cow", "x"), keep_file="k.txt")
    with pytest.raises(InputError, match=r"k\.txt has the names dog twice"):
        ClassMap.of(source, ("dog", "DOG"), keep_file="k.txt")
    with pytest.raises(InputError, match="unknown class names DOG"):
        ClassMap.of(("dog", "Dog"), ("DOG",))


def test_masks_go_to_a_subset_in_its_own_order() -> None:
    classes = ClassMap.of(("cow", "dog", "cat", "sheep"), ("cat", "cow"))
    mask = np.array([[0, 1, 2], [3, 4, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(classes.map_mask(mask, "m.png"), [[0, 2, 255], [1, 255, 255]])
    np.testing.assert_array_equal(mask, [[0, 1, 2], [3, 4, 255]])
    np.testing.assert_array_equal(classes.map_label(np.array([0, 1, 1, 0])), [1, 0])
    assert len(classes) == 2 and classes.indices.tolist() == [2, 0]


def test_all_classes_leave_masks_as_they_are() -> None:
    classes = ClassMap.of(VOC_CLASSES)
    mask = np.array([[*range(21), 255]], dtype=np.uint8)
    np.testing.assert_array_equal(classes.map_mask(mask, "m.png"), mask)


def test_values_outside_the_data_set_are_refused() -> None:
    classes = ClassMap.of(("cow", "dog"), ("dog",))
    with pytest.raises(
        InputError, match=r"mask m\.png has the values \[3, 254\], but .* classes are 1\.\.2"
    ):
        classes.map_mask(np.array([[0, 3], [254, 255]], dtype=np.uint8), "m.png")
    assert classes.map_mask(np.zeros((0, 4), dtype=np.uint8), "m.png").shape == (0, 4)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"keep\.txt: unknown class names bird: the data set has cow, dog"
    ):
        ClassMap.of(("cow", "dog"), ("dog", "bird"), keep_file="keep.txt")


def test_lists_that_are_written_read_the_same(tmp_path: Path) -> None:
    names = (
        "label",
        "void",
        "2 door car",
        "class 1",
        "class 2",
        "0",
        "1. FC",
        "unlabeled",
        "t-shirt",
        "lion's mane",
        "c++",
        "16:9",
        "name",
        "löwe",
        "a=b",
        "other",
    )
    write_class_names(tmp_path / "labels.txt", names)
    assert read_class_names(tmp_path / "labels.txt") == names
    for index, name in enumerate(names):  # whichever is the first, and alone
        turned = (*names[index:], *names[:index])
        write_class_names(tmp_path / "labels.txt", turned)
        assert read_class_names(tmp_path / "labels.txt") == turned
        write_class_names(tmp_path / "labels.txt", (name,))
        assert read_class_names(tmp_path / "labels.txt") == (name,)
