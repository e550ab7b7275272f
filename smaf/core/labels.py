"""Image-level labels: which classes an image shows. Reads the field's pickled dict and a CSV table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import check_id, require_file, write_text
from smaf.core.pickles import read_pickled_dict

_FIX = "run `smaf prepare` on the data set, or name the file with --labels"


def read_image_labels(path: Path, classes: Sequence[str], *, unknown: set[str] | None = None
                      ) -> dict[str, np.ndarray]:
    """Read image id → (C,) float32 of 0 and 1, C the data set's classes.

    `.npy` is the field's pickled dict (read without running code); `.csv` has the columns image (file name or
    id) and labels (class names separated by `;`, `,` or, where no name has a space, by spaces). A name that is not
    in `classes` is an :class:`InputError`, or goes into `unknown` where that is given.
    """
    if path.suffix == ".npy":
        return _read_npy(path, len(classes))
    return _read_csv(path, classes, unknown)


def _read_npy(path: Path, num_classes: int) -> dict[str, np.ndarray]:
    labels = {}
    for key, value in read_pickled_dict(path, "image-label file", _FIX).items():
        try:
            vector = np.asarray(value, dtype=np.float32).ravel()
        except (ValueError, TypeError) as error:
            raise InputError(f"image-label file {path} has no numbers for {key} ({error}): {_FIX}") from error
        if vector.size != num_classes:
            raise InputError(f"image-label file {path} has {vector.size} labels for {key}, the data set has "
                             f"{num_classes} classes: name the right file with --labels or --class_names")
        if not np.isin(vector, (0.0, 1.0)).all():
            raise InputError(f"image-label file {path} has labels other than 0 and 1 for {key}: {_FIX}")
        labels[check_id(str(key), path)] = vector
    return labels


def split_names(cell: str, classes: Sequence[str]) -> list[str]:
    """Split the class names of one table cell."""
    cell = cell.strip()
    if cell in classes:
        return [cell]
    parts = re.split(r"[;,|]", cell) if re.search(r"[;,|]", cell) else cell.split()
    return [part.strip() for part in parts if part.strip()]


def _read_csv(path: Path, classes: Sequence[str], unknown: set[str] | None) -> dict[str, np.ndarray]:
    require_file(path, "image-label file", _FIX)
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"image-label file {path} is not a CSV table ({error}): {_FIX}") from error
    if not rows or not {"image", "labels"} <= set(rows[0]):
        raise InputError(f"image-label file {path} must have the columns image and labels in its first line, and a "
                         "line for each image")
    position = {name: index for index, name in enumerate(classes)}
    labels = {}
    for number, row in enumerate(rows, start=2):
        if any(row.get(None) or ()):  # csv keeps what has no column there
            raise InputError(f"image-label file {path}, line {number} has more cells than the first line: separate "
                             "class names by ;")
        vector = np.zeros(len(classes), dtype=np.float32)
        for name in split_names(row["labels"] or "", classes):
            if name not in position and unknown is not None:
                unknown.add(name)
                continue
            if name not in position:
                raise InputError(f"image-label file {path}, line {number}: unknown class name {name!r}: the data set "
                                 f"has {', '.join(classes)}")
            vector[position[name]] = 1.0
        image = row["image"] or ""
        stem = re.sub(r"\.(jpe?g|png|bmp|tiff?|webp)$", "", image, flags=re.IGNORECASE)
        labels[check_id(stem, f"{path}, line {number}")] = vector
    return labels


def write_image_labels(path: Path, labels: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
    """Write labels as the CSV table that :func:`read_image_labels` reads, names separated by `;`."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", "labels"])
    for image_id in sorted(labels):
        writer.writerow([image_id, ";".join(classes[int(c)] for c in np.flatnonzero(labels[image_id]))])
    write_text(path, stream.getvalue())
