"""Class names, VOC's colours, and the way from a data set's mask values to the task's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smaf.core.classes import VOC_CLASSES, ClassMap, read_class_names
from smaf.core.errors import InputError
from smaf.core.images import voc_palette


def test_voc_palette() -> None:
    palette = voc_palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 8: (64, 0, 0),
             15: (192, 128, 128), 20: (0, 64, 128), 21: (128, 64, 128), 255: (224, 224, 192)}
    assert {index: tuple(int(v) for v in palette[index]) for index in known} == known
    assert len(np.unique(palette, axis=0)) == 256


def test_voc_names() -> None:
    assert len(VOC_CLASSES) == 20 and VOC_CLASSES[7] == "cat" and VOC_CLASSES[14] == "person"


def test_names_are_read_in_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    for text in ("cat\npotted plant\n", "0 background\n1 cat\n2 potted plant\n", "__background__\ncat\n\npotted plant",
                 "0: background\n1: cat\n2, potted plant\n", "\ufeff1\tcat\r\n2\tpotted plant\r\n"):
        path.write_text(text, encoding="utf-8")
        assert read_class_names(path) == ("cat", "potted plant")


def test_bad_name_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    for text, message in (("cat\ndog\ncat\n", "the names cat twice"), ("", "no names"), ("background\n", "no names"),
                          ("\n".join(f"class{i}x" for i in range(255)), "255 classes: masks hold at most 254")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_class_names(path)


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
    with pytest.raises(InputError, match=r"mask m\.png has the values \[3, 254\], but .* classes are 1\.\.2"):
        classes.map_mask(np.array([[0, 3], [254, 255]], dtype=np.uint8), "m.png")
    assert classes.map_mask(np.zeros((0, 4), dtype=np.uint8), "m.png").shape == (0, 4)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"keep\.txt: unknown class names bird: the data set has cow, dog"):
        ClassMap.of(("cow", "dog"), ("dog", "bird"), keep_file="keep.txt")
