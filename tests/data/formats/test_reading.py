"""What tools write that we do not, and what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handing_over import draw, read, write
from PIL import Image

from smaf.core.errors import InputError
from smaf.core.images import write_mask
from smaf.core.inner_png import binary_text
from smaf.data.formats import FORMATS, format_of
from smaf.data.formats.brush import encode_brush
from smaf.data.formats.format import Annotated
from smaf.data.formats.place import Place

SQUARE = np.zeros((6, 8), dtype=np.uint8)
SQUARE[1:4, 2:7] = 1


def only(form: str, place: Path) -> Annotated:
    (one,) = FORMATS[form].read(Place.at(place))
    return one


def refused(form: str, place: Path, told: str, shape: tuple[int, int] = (6, 8)) -> None:
    """Reading, or drawing, is one line."""
    with pytest.raises(ValueError, match=told) as caught:
        for one in FORMATS[form].read(Place.at(place)):
            list(one.layers(shape))
    assert "\n" not in str(caught.value)


def cvat(folder: Path, inner: str, head: str = "") -> Path:
    path = folder / "annotations.xml"
    path.write_text(
        f"{head}<annotations><version>1.1</version><meta><task/></meta>"
        f'<image id="0" name="a.jpg" width="8" height="6">{inner}</image></annotations>'
    )
    return path


def box(label: str, x: int, z_order: int) -> str:
    points = f"{x},1.0;{x + 3},1.0;{x + 3},4.0;{x},4.0"
    return f'<polygon label="{label}" points="{points}" z_order="{z_order}" occluded="0"/>'


def test_cvats_polygons_and_their_order(tmp_path: Path) -> None:
    path = cvat(tmp_path, box("dog", 1, 2) + box("cat", 2, 1) + '<tag label="x"/>')
    one = only("cvat", path)
    assert one.size == (8, 6) and not one.looked_at
    assert draw(one, (6, 8))[1].tolist() == [0, 2, 2, 2, 1, 0, 0, 0]  # the dog lies higher
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "annotations.xml")
    assert draw(read(tmp_path / "a.zip", "cvat")["a"], (6, 8)).sum() == draw(one, (6, 8)).sum()


def test_cvats_boxes_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inner = '<box label="cat" xtl="0" ytl="0" xbr="3" ybr="3"/>'
    assert not draw(only("cvat", cvat(tmp_path, inner)), (6, 8)).any()
    assert "objects that are no areas are left out (box)" in caplog.text


MASK = '<mask label="cat" rle="{}" left="{}" top="0" width="2" height="2" z_order="0"/>'
LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("inner", "head", "told"),
    [
        (MASK.format("1, 9", 0), "", "do not fill its box of 2×2"),
        (MASK.format("0, 4", 7), "", "lies beyond the picture"),
        (MASK.format("0, 4", "x"), "", "not given in whole numbers"),
        ('<polygon label="a" points="1;2"/>', "", "no list of x, y|covers no pixel"),
        (box("cat", 1, 0).replace('"0"', '"x"', 1), "", "z_order are no whole numbers"),
        ("&b;", LAUGHS, "declares a document type or entities"),
        ("<mask>", "", "is not valid XML in UTF-8"),
    ],
)
def test_bad_xml(inner: str, head: str, told: str, tmp_path: Path) -> None:
    refused("cvat", cvat(tmp_path, inner, head), told)


def colours(mask: np.ndarray) -> bytes:
    table = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255]], dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(table[mask]).save(stream, format="PNG")
    return stream.getvalue()


def mask_archive(path: Path, labelmap: str, *, more: str = "") -> Path:
    mask = SQUARE.copy()
    mask[5] = 2
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labelmap.txt", labelmap)
        archive.writestr("ImageSets/Segmentation/default.txt", "sub/a\n")
        archive.writestr("SegmentationClass/sub/a.png", colours(mask))
        archive.writestr("SegmentationObject/sub/a.png", colours(mask))
        if more:
            archive.writestr(more, "x")
    return path


HEAD = "# label:color_rgb:parts:actions\n"
MAP = f"{HEAD}background:0,0,0::\ncat:250,50,83::\ndog:51,221,255::\n"


def test_cvats_masks_in_colours(tmp_path: Path) -> None:
    path = mask_archive(tmp_path / "a.zip", MAP)
    one = read(path, "cvat")["a"]
    assert one.name == "sub/a" and one.size == (8, 6)
    expected = SQUARE.copy()
    expected[5] = 2
    np.testing.assert_array_equal(draw(one, (6, 8)), expected)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    np.testing.assert_array_equal(draw(read(tmp_path / "folder", "cvat")["a"], (6, 8)), expected)


@pytest.mark.parametrize(
    ("labelmap", "more", "told"),
    [
        (f"{HEAD}cat:250,50,83::\n", "", "colour 51,221,255, which labelmap.txt does not name"),
        (MAP + "cow:250,50,83::\n", "", "cow has the colour of cat"),
        (MAP + "cow\n", "", "expected name:r,g,b::"),
        (MAP, "../x", "a path out of the archive"),
    ],
)
def test_bad_mask_archives(labelmap: str, more: str, told: str, tmp_path: Path) -> None:
    refused("cvat", mask_archive(tmp_path / "a.zip", labelmap, more=more), told)


def task(results: list[dict[str, Any]] | None, **more: Any) -> dict[str, Any]:
    data = {"image": "/data/local-files/?d=some%20where/a.jpg"}
    annotations = [] if results is None else [{"result": results, **more}]
    return {"id": 1, "data": data, "annotations": annotations}


def region(kind: str, label: str, **value: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "original_width": 8,
        "original_height": 6,
        "image_rotation": 0,
        "value": {kind: [label], **value},
    }


def studio(folder: Path, *tasks: dict[str, Any]) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps(tasks))
    return path


BRUSH = region("brushlabels", "cat", format="rle", rle=encode_brush(SQUARE > 0))
HALF = [[0, 0], [50, 0], [50, 100], [0, 100]]  # percent


def test_label_studios_annotations(tmp_path: Path) -> None:
    path = studio(tmp_path, task([BRUSH, region("polygonlabels", "dog", points=HALF)]))
    one = read(path, "label-studio")["a"]
    assert one.name == "some where/a.jpg" and one.size == (8, 6) and one.looked_at
    expected = SQUARE.copy()
    expected[:, :4] = 2
    np.testing.assert_array_equal(draw(one, (6, 8)), expected)


def test_label_studios_newest_annotation_counts(tmp_path: Path) -> None:
    several = task([BRUSH], updated_at="2026-01-02")
    other = {"result": [], "updated_at": "2026-01-03"}
    cancelled = {"result": [BRUSH], "updated_at": "2026-01-04", "was_cancelled": True}
    several["annotations"] += [other, cancelled]
    unseen = {"data": {"image": "b.jpg"}, "predictions": [{"result": [BRUSH]}]}
    found = read(studio(tmp_path, several, unseen))
    assert set(found) == {"a"}  # the other task has a prediction alone
    assert not draw(found["a"], (6, 8)).any() and found["a"].looked_at
    found = read(studio(tmp_path, unseen))  # no task of the file has an annotation
    assert draw(found["b"], (6, 8)).any() and not found["b"].looked_at


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ([{**BRUSH, "image_rotation": 90}], "was turned in the tool"),
        ([{**BRUSH, "original_width": 9}], "are of 192 values, expected 9·6·4"),
        ([{**BRUSH, "original_width": "9"}], "original_width and original_height are"),
        ([region("brushlabels", "cat", rle="AAAA")], "cut short"),
        ([{**BRUSH, "value": {"brushlabels": ["cat", "dog"]}}], "expected one"),
        ([region("polygonlabels", "dog", points=[[1]])], "no list of x, y"),
        ([5], "result is no list"),
    ],
)
def test_bad_tasks(results: Any, told: str, tmp_path: Path) -> None:
    path = studio(tmp_path, task(results))
    shape = (6, 9) if "9·6" in told else (6, 8)
    refused("label-studio", path, told, shape)


def test_a_task_without_photograph(tmp_path: Path) -> None:
    path = studio(tmp_path, {"data": {"text": "hello"}, "annotations": [{"result": []}]})
    refused("label-studio", path, "its data name no photograph")


def labelme(folder: Path, *shapes: dict[str, Any], **more: Any) -> Path:
    value = {"shapes": shapes, "imagePath": "..\\photos\\a.jpg", "imageData": None}
    path = folder / "a.json"
    path.write_text(json.dumps({**value, "imageHeight": 6, "imageWidth": 8, **more}))
    return path


def test_labelmes_shapes(tmp_path: Path) -> None:
    mask = {
        "label": "cat",
        "shape_type": "mask",
        "points": [[2.0, 1.0], [6.0, 3.0]],  # the last pixel, not the one behind it
        "mask": binary_text(np.ones((3, 5), dtype=bool)),
    }
    points = [[0, 4], [0, 6], [8, 6], [8, 4]]
    polygon = {"label": "dog", "shape_type": "polygon", "points": points}
    rectangle = {"label": "traffic light", "shape_type": "rectangle", "points": [[6, 6], [8, 5]]}
    line = {"label": "cat", "shape_type": "line", "points": [[0, 0], [5, 5]]}
    one = only("labelme", labelme(tmp_path, mask, polygon, rectangle, line))
    expected = SQUARE.copy()
    expected[4:] = 2
    expected[5, 6:] = 3
    np.testing.assert_array_equal(draw(one, (6, 8)), expected)
    bad = {**mask, "points": [[2, 1], [7, 3]]}
    refused("labelme", labelme(tmp_path, bad), "a mask of 5×3 pixels does not fit its corners")
    bad = {**mask, "points": [[4, 1], [8, 3]]}
    refused("labelme", labelme(tmp_path, bad), "a mask lies beyond the picture")
    refused("labelme", labelme(tmp_path, {**mask, "mask": "?"}), "it is not base64")
    refused("labelme", labelme(tmp_path, imageWidth="8"), "imageWidth and imageHeight are")
    refused("labelme", labelme(tmp_path, {**polygon, "points": None}), "no list of x, y")


def yolo(folder: Path, rows: str, names: str) -> Path:
    (folder / "labels/train").mkdir(parents=True, exist_ok=True)
    (folder / "labels/train/a.txt").write_text(rows)
    (folder / "data.yaml").write_text(f"path: .\ntrain: images/train\nnames:{names}\n")
    return folder


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (" [cat, dog]", 1),
        ("\n  0: cat\n  1: dog", 1),
        ("\n- cat\n- dog", 1),
        (" ['background', 'cat', 'dog']", 0),
        (' {0: "cat", 1: "dog"}', 1),
        ("\n  0: 'cat'\n  1: 'dog'", 1),
    ],
)
def test_yolos_names(names: str, label: int, tmp_path: Path) -> None:
    row = f"{label} 0 0 1 0 1 0.5 0 0.5\n" if label else "2 0 0 1 0 1 0.5 0 0.5\n"
    mask = draw(read(yolo(tmp_path, row, names), "yolo-seg")["a"], (6, 8))
    assert (mask[:3] == 2).all() and not mask[3:].any()


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("0 0.5 0.5 0.2 0.2", "expected three points or more in 0..1, as outlines have"),
        ("2 0 0 1 0 1 1", "class 2, expected 0 to 1"),
        ("0 0 0 1 0 1 nan", "expected three points"),
        ("0 0 0 9 0 1 1", "expected three points"),
        ("cat 0 0 1 0 1 1", "is no row of numbers"),
    ],
)
def test_bad_rows(row: str, told: str, tmp_path: Path) -> None:
    refused("yolo-seg", yolo(tmp_path, row, " [cat, dog]"), told)


def test_ultralytics_masks_need_a_background(tmp_path: Path) -> None:
    folder = write("ultralytics", tmp_path / "out", {"a": SQUARE})
    text = (folder / "data.yaml").read_text()
    assert '  0: "background"\n  1: "cat"\n' in text and "masks_dir: masks\n" in text
    (folder / "data.yaml").write_text(text.replace('  0: "background"\n', ""))
    with pytest.raises(InputError, match=r"names|numbers"):
        FORMATS["ultralytics"].read(Place.at(folder))


def hugging(folder: Path, row: dict[str, Any]) -> Path:
    write_mask(folder / "masks/a.png", SQUARE)
    (folder / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_metadata_lines(tmp_path: Path) -> None:
    row = {"file_name": "a.jpg", "mask_file_name": "masks/a.png"}
    one = only("huggingface", hugging(tmp_path / "a", row))
    labels = [layer.label for layer in one.layers((6, 8))]
    assert labels == [1] and one.looked_at  # without classes.txt a number of the data set's
    (tmp_path / "b.png").touch()
    for name in ("../b.png", "/etc/passwd", "masks/none.png", 5):
        bad = hugging(tmp_path / "a", {**row, "mask_file_name": name})
        refused("huggingface", bad, "is no file in")
    refused("huggingface", hugging(tmp_path / "a", {"mask_file_name": "x"}), "has no file_name")
    refused("huggingface", hugging(tmp_path / "a", {"file_name": "x"}), "names a mask")


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(InputError, match="is not valid JSON"):
        format_of(Place.at(path))
    (tmp_path / "a.zip").write_bytes(b"PK no")
    with pytest.raises(InputError, match="cannot be read"):
        format_of(Place.at(tmp_path / "a.zip"))
