"""Small folders of photographs for the tests of `smaf init`, and what a data set says."""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from small_set import Done, run

from smaf import init


def photo(path: Path, size: tuple[int, int] = (40, 36), **options: Any) -> Path:
    """Write a photograph whose pixels depend on its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(path.as_posix().encode()))
    pixels = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def photos(folder: Path, *names: str) -> Path:
    """A folder of these photographs."""
    for name in names:
        photo(folder / name)
    return folder


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def smaf_init(folder: Path, out: Path, *words: object) -> Done:
    """Run the command in this process."""
    return run(init.main, folder, "--out", out, "--num_workers", 0, *words)


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table that was written."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def labels(out: Path) -> dict[str, str]:
    """Photograph → labels, as the data set's two tables say."""
    shown = {row["image"]: row["labels"] for row in rows(out / "labels.csv")}
    return {row["photograph"]: shown[row["image"]] for row in rows(out / "files.csv")}


def ids(out: Path, name: str) -> list[str]:
    """The ids on a list."""
    return (out / "ImageSets" / "Segmentation" / f"{name}.txt").read_text().split()


def names(out: Path) -> list[str]:
    """The class names, as the file numbers them."""
    return (out / "metadata/classes/labels.txt").read_text().splitlines()


def faults(out: Path) -> dict[str, int]:
    """Kind of fault → count."""
    return {row["fault"]: int(row["count"]) for row in rows(out / "faults.csv")}


def coco(images: Mapping[str, list[tuple[int, list[int] | None]]], **more: Any) -> dict[str, Any]:
    """A COCO file: file name → (category, box x, y, width, height as a polygon) of 40 × 36."""
    annotations = []
    for number, shown in enumerate(images.values()):
        for category, box in shown:
            outline: list[list[int]] = []
            if box is not None:
                x, y, w, h = box
                outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": category,
                    "segmentation": outline,
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {"id": number, "file_name": name, "width": 40, "height": 36}
            for number, name in enumerate(images)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
        **more,
    }


def write_coco(path: Path, value: Any) -> Path:
    """Write a JSON file."""
    return table(path, json.dumps(value))
