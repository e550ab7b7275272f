"""Proposals as people bring them: both forms, and one-line errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_api

from smaf.core.errors import InputError
from smaf.core.proposals import read_proposals, require_proposals

SIZE = (7, 5)


def regions(count: int = 12) -> np.ndarray:
    """(count, 5, 7) bool, none of them empty."""
    found = np.random.default_rng(0).random((count, 5, 7)) > 0.6
    assert found.any(axis=(1, 2)).all()
    return found


def as_folder(folder: Path, found: np.ndarray, **how: Any) -> None:
    """Write `<n>.png` of each, and the table that Segment Anything writes beside."""
    folder.mkdir(parents=True)
    for number, region in enumerate(found):
        image = Image.fromarray(region.astype(np.uint8) * 255)
        (image.convert(how["mode"]) if how else image).save(folder / f"{number}.png")
    (folder / "metadata.csv").write_text("id,area,predicted_iou\n../../0,3,0.9\n")


def as_records(path: Path, found: np.ndarray, *, plain: bool = False) -> list[dict[str, Any]]:
    """Write `<id>.json`, with compressed or with plain run lengths."""
    records = []
    for region in found:
        code = mask_api.encode(np.asfortranarray(region, dtype=np.uint8))
        counts: Any = code["counts"].decode()
        if plain:
            flat = region.T.ravel()
            ends = np.flatnonzero(np.diff(flat)) + 1
            counts = np.diff([0, *([0] if flat[0] else []), *ends, flat.size]).tolist()
        records.append({"segmentation": {"size": [5, 7], "counts": counts}, "predicted_iou": 0.9})
    path.write_text(json.dumps(records))
    return records


def test_both_forms_are_read_in_their_order(tmp_path: Path) -> None:
    """12 masks: 2.png comes before 10.png."""
    found = regions()
    as_folder(tmp_path / "a", found)
    as_folder(tmp_path / "grey.b", found, mode="RGB")
    as_folder(tmp_path / "bits", found, mode="1")
    as_records(tmp_path / "c.json", found)
    records = as_records(tmp_path / "d.json", found, plain=True)
    (tmp_path / "e.json").write_text(json.dumps({"image": {}, "annotations": records}))
    (tmp_path / "none").mkdir()
    ids = ["a", "grey.b", "bits", "c", "d", "e"]
    require_proposals(tmp_path, [*ids, "none"])
    for image_id in ids:
        assert np.array_equal(list(read_proposals(tmp_path, image_id, size=SIZE)), found), image_id
    assert list(read_proposals(tmp_path, "none", size=SIZE)) == []


def test_what_is_missing_or_there_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder: name a folder with <id>/"):
        require_proposals(tmp_path / "no", ["a"])
    with pytest.raises(InputError, match=r"proposals of a \(and 1 more\) do not exist in"):
        require_proposals(tmp_path, ["a", "b"])
    with pytest.raises(InputError, match="a do not exist: make the photograph's"):
        list(read_proposals(tmp_path, "a", size=SIZE))
    as_folder(tmp_path / "a", regions(1))
    as_records(tmp_path / "a.json", regions(1))
    with pytest.raises(InputError, match=r"has a/ and a.json: move one of them away"):
        require_proposals(tmp_path, ["a"])
    with pytest.raises(InputError, match="is not an image id"):
        require_proposals(tmp_path, ["../a"])


def _mask(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


FULL = np.full((5, 7), 255)
HALF = np.arange(35).reshape(5, 7) * 7


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (_mask(FULL.T), r"1.png is 5×7 pixels, its photograph is 7×5"),
        (_mask(0 * FULL), r"proposal .*1.png covers no pixel"),
        (_mask(HALF), r"1.png has the values 7, 14, 21, 28 beside 0, expected 255 alone"),
        (b"\x89PNG\r\n\x1a\nbroken", r"mask .*1.png"),
        (b"", r"mask .*1.png"),
    ],
)
def test_a_mask_that_does_not_serve(tmp_path: Path, image: Any, said: str) -> None:
    as_folder(tmp_path / "a", regions(3))
    path = tmp_path / "a/1.png"
    if isinstance(image, bytes):
        path.write_bytes(image)
    else:
        image.save(path)
    with pytest.raises(InputError, match=said) as caught:
        list(read_proposals(tmp_path, "a", size=SIZE))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"masks": []}, "expected a list of records"),
        ([3], "record 0: it has no segmentation"),
        ([{"segmentation": [[0, 0, 5, 0, 5, 5]]}], "record 0: it has no segmentation"),
        ([{"segmentation": {"size": [7, 5], "counts": [0, 35]}}], "do not fill an image of 7×5"),
        ([{"segmentation": {"size": [5, 7], "counts": [0, 34]}}], "do not fill an image of 7×5"),
        ([{"segmentation": {"size": [5, 7], "counts": "!!"}}], "are not COCO's code"),
        ([{"segmentation": {"size": [5, 7], "counts": [-1, 36]}}], "do not fill"),
        ([{"segmentation": {"size": [5, 7], "counts": [35]}}], "record 0 covers no pixel"),
    ],
)
def test_records_that_do_not_serve(tmp_path: Path, value: Any, said: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=f"a.json.*{said}"):
        list(read_proposals(tmp_path, "a", size=SIZE))


def test_json_that_is_none_and_links_to_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[{")
    with pytest.raises(InputError, match=r"a.json is not valid JSON"):
        list(read_proposals(tmp_path, "a", size=SIZE))
    as_folder(tmp_path / "b", regions(1))
    (tmp_path / "c").mkdir()
    try:
        (tmp_path / "c/0.png").symlink_to(tmp_path / "b/0.png")
    except OSError:
        pytest.skip("no links here")
    with pytest.raises(InputError, match=r"c/0.png is a link to another folder"):
        list(read_proposals(tmp_path, "c", size=SIZE))
