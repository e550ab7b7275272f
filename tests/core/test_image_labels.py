"""Image-level labels from the field's pickled dict and from a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smaf.core.errors import InputError, MissingInputError
from smaf.core.labels import read_image_labels, split_names, write_image_labels

CLASSES = ("cat", "potted plant", "dog")


def table(path: Path, *lines: str, head: str = "image,labels") -> Path:
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_npy(tmp_path: Path) -> None:
    path = tmp_path / "cls_labels.npy"
    np.save(path, {"a": np.array([1, 0, 1], dtype=np.float32), 7: [0.0, 1.0, 0.0]}, allow_pickle=True)
    labels = read_image_labels(path, CLASSES)
    assert {key: value.tolist() for key, value in labels.items()} == {"a": [1, 0, 1], "7": [0, 1, 0]}
    assert all(value.dtype == np.float32 for value in labels.values())


def test_npy_faults(tmp_path: Path) -> None:
    path = tmp_path / "cls_labels.npy"
    for value, message in (({"a": np.ones(20)}, "20 labels for a, the data set has 3"),
                           ({"../a": np.ones(3)}, "is not an image id"), ({"a": "cat"}, "cls_labels.npy"),
                           ({"a": [None, 1, 0]}, "cls_labels.npy"), ({"a": [np.nan, 1, 0]}, "cls_labels.npy"),
                           ([1], "plain array")):
        np.save(path, value, allow_pickle=True)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=message):
            read_image_labels(path, CLASSES)


def test_csv(tmp_path: Path) -> None:
    path = table(tmp_path / "labels.csv", "a.jpg,cat;dog", "b.v2.PNG,potted plant", "c,cat dog", 'd.tiff,"dog, cat"',
                 "e,", "f.tar, cat | potted plant ")
    labels = {key: value.tolist() for key, value in read_image_labels(path, CLASSES).items()}
    assert labels == {"a": [1, 0, 1], "b.v2": [0, 1, 0], "c": [1, 0, 1], "d": [1, 0, 1], "e": [0, 0, 0],
                      "f.tar": [1, 1, 0]}


def test_csv_may_have_other_columns_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("labels,width,image\r\ncat,30,a.jpg\r\n".encode("utf-8-sig"))
    assert read_image_labels(path, CLASSES)["a"].tolist() == [1, 0, 0]


def test_csv_faults(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    with pytest.raises(MissingInputError, match="smaf prepare"):
        read_image_labels(path, CLASSES)
    for lines, message in ((("a,cat", "b,catt"), "line 3: unknown class name 'catt'"),
                           (("../a.jpg,cat",), r"line 2: '\.\./a' is not an image id"),
                           (("C:\\a.jpg,cat",), "is not an image id"), ((",cat",), "is not an image id"),
                           (("a,cat,dog",), "line 2"),  # a name that would be lost
                           ((), "columns image and labels")):
        with pytest.raises(InputError, match=message):
            read_image_labels(table(path, *lines), CLASSES)
    with pytest.raises(InputError, match="columns image and labels"):
        read_image_labels(table(path, "a,cat", head="file,classes"), CLASSES)
    path.write_bytes(b"image,labels\n\xff\xfe,cat\n")
    with pytest.raises(InputError, match="is not a CSV table"):
        read_image_labels(path, CLASSES)


def test_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = {f"{i:04d}.x": rng.integers(0, 2, 3).astype(np.float32) for i in range(50)}
    write_image_labels(tmp_path / "a.csv", labels, CLASSES)
    again = read_image_labels(tmp_path / "a.csv", CLASSES)
    assert list(again) == sorted(labels)
    assert all(np.array_equal(again[key], labels[key]) for key in labels)


def test_split_names() -> None:
    assert split_names("potted plant", CLASSES) == ["potted plant"]
    assert split_names(" cat  dog ", CLASSES) == ["cat", "dog"]
    assert split_names("potted plant;cat;", CLASSES) == ["potted plant", "cat"]
    assert split_names("", CLASSES) == []
