"""Proposals: masks without a class, as a promptable segmenter or superpixels give them.

A folder has for each photograph `<id>/*.png`, a mask of 0 and 255 each, or `<id>.json`: a list of
records whose `segmentation` is COCO's run lengths, `{size: [H, W], counts}`. Both are what Segment
Anything's `amg.py` writes. What else is known of a proposal (`metadata.csv`, `predicted_iou`) is
not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import check_id, is_hidden, read_json
from smaf.core.images import read_mask
from smaf.core.run_lengths import filling_runs, region_of_runs

_WHAT = "a folder with <id>/*.png (0 and 255) or <id>.json (COCO's run lengths) of each photograph"
_FIX = "make the photograph's proposals again, or leave out what is wrong"


def require_proposals(folder: Path, ids: Sequence[str]) -> None:
    """Check that the proposals of each id are there, in one of the two forms.

    Raises :class:`InputError` where there is no such folder, or those of an id are missing or there
    twice.
    """
    if not folder.is_dir():
        raise MissingInputError(f"proposals {folder}: there is no such folder: name {_WHAT}")
    missing = [image_id for image_id in ids if not proposals_path(folder, image_id).exists()]
    if missing:
        raise MissingInputError(
            f"proposals of {missing[0]} (and {len(missing) - 1} more) do not exist in {folder}: "
            f"name {_WHAT}"
        )


def proposals_path(folder: Path, image_id: str) -> Path:
    """Where the proposals of a photograph lie: `<id>/` or `<id>.json`.

    Raises :class:`InputError` where both are there.
    """
    name = check_id(image_id, folder)
    below, file = folder / name, folder / f"{name}.json"
    if below.is_dir() and file.is_file():
        raise InputError(f"{folder} has {name}/ and {name}.json: move one of them away")
    return file if file.is_file() else below


def read_proposals(folder: Path, image_id: str, *, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The proposals of a photograph, one after the other: (H, W) bool, none of them empty.

    `size` is the photograph's (width, height). Raises :class:`InputError` for a file that is
    damaged, of another size or empty, and names it.
    """
    path = proposals_path(folder, image_id)
    return (_of_records if path.is_file() else _of_folder)(path, size)


def _of_folder(folder: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    if not folder.is_dir():
        raise MissingInputError(f"proposals {folder} do not exist: {_FIX}")
    paths = [p for p in folder.iterdir() if p.suffix.lower() == ".png" and not is_hidden(p)]
    for path in sorted(paths, key=lambda p: (len(p.name), p.name)):  # 2.png before 10.png
        if path.resolve().parent != folder.resolve():
            raise InputError(f"proposal {path} is a link to another folder: put the file itself")
        values = read_mask(path, size=size)
        region = values > 0
        if not region.any():
            raise InputError(f"proposal {path} covers no pixel: {_FIX}")
        found = np.unique(values[region]).tolist()
        if found not in ([1], [255]):  # 1: in a PNG of one bit
            raise InputError(
                f"proposal {path} has the values {', '.join(map(str, found[:4]))} beside 0, "
                f"expected 255 alone: {_FIX}"
            )
        yield region


def _of_records(path: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    records = read_json(path, "proposals", _FIX)
    if isinstance(records, dict):  # as SA-1B has it, beside `image`
        records = records.get("annotations")
    if not isinstance(records, list):
        raise InputError(f"proposals {path}: expected a list of records: {_FIX}")
    for number, record in enumerate(records):
        try:
            region = region_of_runs(filling_runs(_runs(record), size[::-1]), size[::-1])
        except ValueError as error:
            raise InputError(f"proposals {path}, record {number}: {error}: {_FIX}") from error
        if not region.any():
            raise InputError(f"proposals {path}, record {number} covers no pixel: {_FIX}")
        yield region


def _runs(record: Any) -> dict[str, Any]:
    runs = record.get("segmentation") if isinstance(record, dict) else None
    if not isinstance(runs, dict):
        raise ValueError("it has no segmentation {size, counts}")
    return runs
