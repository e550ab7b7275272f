"""What we write as the tools' own libraries read it; each test skips where its library is absent.

labelme and CVAT cannot be had beside this project: what they read is held by hand.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handing_over import CLASSES, noise, write
from PIL import Image

from smaf.data.formats.brush import decode_brush

RNG = np.random.default_rng(7)
MASKS = {"a": noise(RNG, (30, 44)), "val b": np.full((21, 17), 2, dtype=np.uint8)}
MASKS["val b"][3:9, 3:9] = 0


def brush() -> Any:
    """Label Studio's converter; the package around it asks for more than the file does."""
    package = importlib.util.find_spec("label_studio_sdk")
    if package is None or package.origin is None:
        pytest.skip("label-studio-sdk is not installed")
    path = Path(package.origin).with_name("converter") / "brush.py"
    spec = importlib.util.spec_from_file_location("label_studio_brush", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_label_studios_converter_reads_our_strokes_and_we_its(tmp_path: Path) -> None:
    theirs = brush()
    folder = write("label-studio", tmp_path / "out", MASKS)
    for task in json.loads((folder / "tasks.json").read_text()):
        name = Path(task["data"]["image"].replace("%20", " ")).stem
        mask = np.zeros_like(MASKS[name])
        for result in task["predictions"][0]["result"]:
            value = result["value"]
            shape = (result["original_height"], result["original_width"], 4)
            pixels = theirs.decode_rle(value["rle"]).reshape(shape)
            assert set(np.unique(pixels)) <= {0, 255}
            assert (pixels == pixels[..., :1]).all()
            mask[pixels[..., 3] > 0] = CLASSES.index(value["brushlabels"][0]) + 1
        np.testing.assert_array_equal(mask, MASKS[name])
    region = MASKS["a"] == 1
    code = [int(byte) for byte in theirs.mask2rle(region.astype(np.uint8) * 255)]
    np.testing.assert_array_equal(decode_brush(code, (44, 30)), region)


def test_datasets_loads_photographs_and_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    masks = {**MASKS, "val c": np.zeros((5, 5), dtype=np.uint8)}
    folder = write("huggingface", tmp_path / "out", masks)
    found = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache")
    )
    assert {name: len(part) for name, part in found.items()} == {"train": 1, "validation": 2}
    for part, ids in {"train": ["a"], "validation": ["val b", "val c"]}.items():
        for row, image_id in zip(found[part], ids, strict=True):
            mask = np.array(row["mask"])  # of a palette: its numbers
            np.testing.assert_array_equal(mask, masks[image_id])
            assert row["image"].size == mask.shape[::-1]
            shown = [CLASSES[value - 1] for value in np.unique(mask) if value]
            assert row["labels"] == ";".join(shown)


def test_ultralytics_loads_masks_and_outlines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    pytest.importorskip("ultralytics")
    from ultralytics.data.dataset import SemanticDataset, YOLODataset
    from ultralytics.data.utils import check_det_dataset

    masks = {**MASKS, "c": np.full((40, 40), 255, dtype=np.uint8)}
    folder = write("ultralytics", tmp_path / "masks", masks)
    data = check_det_dataset(str(folder / "data.yaml"))
    assert data["names"] == dict(enumerate(["background", *CLASSES]))
    options: dict[str, Any] = {"data": data, "imgsz": 64, "augment": False}
    for split, ids in {"train": ["a", "c"], "val": ["val b"]}.items():
        found = SemanticDataset(img_path=data[split], task="semantic", **options)
        assert [Path(path).stem for path in found.im_files] == ids
        for number, image_id in enumerate(ids):
            np.testing.assert_array_equal(found.load_mask(number), masks[image_id])
    folder = write("yolo-seg", tmp_path / "outlines", MASKS)
    data = check_det_dataset(str(folder / "data.yaml"))
    assert data["names"] == dict(enumerate(CLASSES))
    found = YOLODataset(img_path=data["val"], task="segment", **{**options, "data": data})
    assert len(found.labels) == 1 and set(found.labels[0]["cls"].ravel()) == {1.0}
    rows = (folder / "labels/val/val b.txt").read_text().splitlines()
    assert len(found.labels[0]["segments"]) == len(rows) == 2  # a hole is cut in two


def test_cvats_schema(tmp_path: Path) -> None:
    """CVAT: XML annotation format 1.1, `<mask>`: RLE row by row in its box, zeros first."""
    folder = write("cvat", tmp_path / "out", MASKS)
    top = ElementTree.parse(folder / "annotations.xml").getroot()
    assert top.tag == "annotations" and top.findtext("version") == "1.1"
    labels = json.loads((folder / "labels.json").read_text())
    assert [label["name"] for label in labels] == list(CLASSES)
    images = top.findall("image")
    assert [image.get("id") for image in images] == ["0", "1"]
    for image in images:
        name = Path(image.attrib["name"]).stem
        assert (folder / "images" / image.attrib["name"]).is_file()
        mask = np.zeros((int(image.attrib["height"]), int(image.attrib["width"])), dtype=np.uint8)
        for shape in image:
            keys = {"label", "source", "occluded", "rle", "left", "top", "width", "height"}
            assert shape.tag == "mask" and set(shape.attrib) == keys | {"z_order"}
            left, row, width, height = (
                int(shape.attrib[key]) for key in ("left", "top", "width", "height")
            )
            flat = np.zeros(width * height, dtype=bool)
            place, value = 0, False
            for length in map(int, shape.attrib["rle"].split(", ")):
                flat[place : place + length] = value
                place, value = place + length, not value
            assert place == len(flat)
            part = mask[row : row + height, left : left + width]
            part[flat.reshape(height, width)] = CLASSES.index(shape.attrib["label"]) + 1
        np.testing.assert_array_equal(mask, MASKS[name])


def test_labelmes_schema(tmp_path: Path) -> None:
    """labelme 5's LabelFile: keys that it asks for, and `shape_to_mask` of a mask."""
    folder = write("labelme", tmp_path / "out", MASKS)
    for image_id, expected in MASKS.items():
        value = json.loads((folder / f"{image_id}.json").read_text())
        keys = ["version", "flags", "shapes", "imagePath", "imageData"]
        assert [*value] == [*keys, "imageHeight", "imageWidth"] and value["imageData"] is None
        assert (value["imageHeight"], value["imageWidth"]) == expected.shape
        assert (folder / value["imagePath"]).is_file()
        mask = np.zeros(expected.shape, dtype=np.uint8)
        for shape in value["shapes"]:
            assert shape["shape_type"] == "mask" and shape["flags"] == {}
            pixels = np.array(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))).astype(bool)
            (x1, y1), (x2, y2) = shape["points"]
            assert pixels.shape == (y2 - y1 + 1, x2 - x1 + 1)
            mask[y1 : y2 + 1, x1 : x2 + 1][pixels] = CLASSES.index(shape["label"]) + 1
        np.testing.assert_array_equal(mask, expected)
