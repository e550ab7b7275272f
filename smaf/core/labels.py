"""Image-level labels: which classes an image shows. Reads the field's pickled dict and tables."""

from __future__ import annotations

import csv
import io
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.errors import InputError, did_you_mean
from smaf.core.files import check_id, plain_name, write_text
from smaf.core.images import IMAGE_SUFFIXES
from smaf.core.label_tables import LabelRow, read_label_rows
from smaf.core.names import class_index, find_class, is_background, split_names
from smaf.core.pickles import read_pickled_dict

__all__ = ["ImageLabels", "read_image_labels", "split_names", "write_image_labels"]

_FIX = "run `smaf prepare` on the data set, or name the file with --labels"
# Ids that tools write as a number: COCO_train2014_000000000009 and 000000000009 as 9, 2007_000528
# as 2007000528
_NUMBERED = re.compile(r"(?:COCO_\w+_)?(\d{1,18})|(\d{4})_(\d{6})")


class ImageLabels(Mapping[str, np.ndarray]):
    """Image id → (C,) float32 of 0 and 1.

    An id that is not there is found by its number where the file has numbers for VOC's or COCO's
    ids, or a spreadsheet took the zeros off: `labels["2007_000528"]` is that of 2007000528,
    `labels["COCO_val2014_000000000042"]` that of 42.
    """

    def __init__(self, labels: Mapping[str, np.ndarray], source: Path | str = "labels") -> None:
        self._labels = dict(labels)
        self._source = source

    def __getitem__(self, image_id: str) -> np.ndarray:
        key = self.key(image_id)
        if key is None:
            raise KeyError(image_id)
        return self._labels[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    @cached_property
    def _numbers(self) -> dict[int, list[str]]:
        numbers: dict[int, list[str]] = {}
        for key in self._labels:
            if key.isdecimal() and len(key) <= 18:
                numbers.setdefault(int(key), []).append(key)
        return numbers

    def key(self, image_id: str) -> str | None:
        """Return the key of the labels of `image_id`, or None.

        Two keys of its number are an :class:`InputError`.
        """
        image_id = plain_name(image_id)
        if image_id in self._labels:
            return image_id
        number = _NUMBERED.fullmatch(image_id)
        keys = (
            self._numbers.get(int("".join(part for part in number.groups() if part)), [])
            if number
            else []
        )
        if len(keys) > 1:
            raise InputError(
                f"image-label file {self._source} has {keys[0]} and {keys[1]}, which may both be "
                f"{image_id}: write whole ids"
            )
        return keys[0] if keys else None

    def check(self, image_ids: Iterable[str]) -> None:
        """Raise :class:`InputError` where two of `image_ids` have the labels of one number."""
        taken: dict[str, str] = {}
        for image_id in image_ids:
            key = self.key(image_id)
            other = taken.setdefault(key, image_id) if key is not None else image_id
            if other != image_id:
                raise InputError(
                    f"image-label file {self._source}: {key} may be {other} or {image_id}: write "
                    "whole ids"
                )


def read_image_labels(
    path: Path, classes: Sequence[str], *, unknown: set[str] | None = None
) -> ImageLabels:
    """Read which of `classes` (the data set's C) each image shows.

    `.npy` is the field's pickled dict (read without running code); its keys may be numbers or have
    a suffix. Another file is a table with the columns image (file name, path or id) and labels, or
    a column of 0 and 1 for each class, as :mod:`smaf.core.label_tables` has it. A name means the
    class that :func:`smaf.core.names.find_class` finds; the background, which every image shows, is
    passed over. An empty cell, or the word none alone, says that the image shows no class. Another
    name is an :class:`InputError`, or goes into `unknown` where that is given; then a file of which
    nothing fits is one, too.
    """
    if path.suffix.lower() == ".npy":
        return ImageLabels(_read_npy(path, len(classes)), path)
    return ImageLabels(_read_table(path, classes, unknown), path)


def _image_id(cell: str, where: Path | str) -> str:
    """The id that a file name, path or address stands for: the name without folders and suffix."""
    name = re.sub(r"[?#].*", "", cell) if "://" in cell else cell
    name = re.split(r"[/\\]", name)[-1]
    stem, suffix = os.path.splitext(name)
    return check_id(stem if suffix.lower() in IMAGE_SUFFIXES else name, where)


def _read_npy(path: Path, num_classes: int) -> dict[str, np.ndarray]:
    vectors: dict[str, np.ndarray] = {}
    keys: dict[str, Any] = {}
    for key, value in read_pickled_dict(path, "image-label file", _FIX).items():
        try:
            vector = np.asarray(value, dtype=np.float32).ravel()
        except (ValueError, TypeError) as error:
            raise InputError(
                f"image-label file {path} has no numbers for {key} ({error}): {_FIX}"
            ) from error
        if vector.size != num_classes:
            more = ", without a column for the background" if vector.size == num_classes + 1 else ""
            raise InputError(
                f"image-label file {path} has {vector.size} labels for {key}, the data set has "
                f"{num_classes} classes{more}: name the right file with --labels or --class_names"
            )
        name = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
        if not isinstance(name, str | int | np.integer) or isinstance(name, bool):
            raise InputError(
                f"image-label file {path} has the key {key!r}, which is not an image id: {_FIX}"
            )
        image_id = _image_id(str(name), path)
        if image_id in vectors:
            raise InputError(
                f"image-label file {path} has {keys[image_id]!r} and {key!r}, which are one image "
                "id: keep one of them"
            )
        vectors[image_id], keys[image_id] = vector, key
    if not vectors:
        raise InputError(f"image-label file {path} holds no labels: {_FIX}")
    table = np.stack(list(vectors.values()))
    fit = ((table == 0) | (table == 1)).all(axis=1)
    if not fit.all():
        key = keys[list(vectors)[int(np.argmin(fit))]]
        raise InputError(f"image-label file {path} has labels other than 0 and 1 for {key}: {_FIX}")
    return vectors


def _indices(
    row: LabelRow, classes: Sequence[str], unknown: set[str] | None, where: str
) -> frozenset[int]:
    indices = set()
    for name in row.names:
        if is_background(name) and find_class(name, classes) is None:
            continue
        if unknown is not None and find_class(name, classes) is None and not name.isdecimal():
            unknown.add(name)
            continue
        indices.add(class_index(name, classes, where))
    return frozenset(indices)


def _agree(row: LabelRow, other: LabelRow) -> bool:
    """Whether two rows of an image may both be: one of them does not say that it shows nothing.

    Rows of 0 and 1 for each class must be the same; background is in every image, also in one that
    shows nothing else.
    """
    names, others = ({name for name in r.names if not is_background(name)} for r in (row, other))
    if other.whole:
        return names == others
    return bool(row.names) == bool(other.names) or not names | others


def _read_table(
    path: Path, classes: Sequence[str], unknown: set[str] | None
) -> dict[str, np.ndarray]:
    """Unite the rows of each image; :class:`InputError` names two lines that contradict."""
    shown: dict[str, set[int]] = {}
    first: dict[str, LabelRow] = {}
    known: dict[tuple[str, ...], frozenset[int]] = {}  # rows repeat the same few sets of names
    for row in read_label_rows(path, classes, _FIX, others=unknown is not None):
        where = f"image-label file {path}, line {row.line}"
        if row.names not in known:
            known[row.names] = _indices(row, classes, unknown, where)
        image_id = _image_id(row.image, where)
        other = first.setdefault(image_id, row)
        lines = f"image-label file {path}, lines {other.line} and {row.line}"
        if posixpath.normpath(other.image.replace("\\", "/")) != posixpath.normpath(
            row.image.replace("\\", "/")
        ):
            raise InputError(
                f"{lines}: {other.image} and {row.image} are one image id, {image_id}: rename one "
                "of them"
            )
        if not _agree(other, row):
            raise InputError(
                f"{lines} contradict each other on the labels of {image_id}: keep one of them"
            )
        shown.setdefault(image_id, set()).update(known[row.names])
    if unknown is not None and not any(shown.values()):
        if not unknown:
            raise InputError(
                f"image-label file {path} names no class for any image: the classes are "
                f"{', '.join(classes)}"
            )
        some = sorted(unknown)[:5]
        raise InputError(
            f"image-label file {path}: none of its labels is a class: it has {', '.join(some)}"
            f"{', …' if len(unknown) > 5 else ''}{did_you_mean(some[0], classes)}, the classes are "
            f"{', '.join(classes)}"
        )
    table = np.zeros((len(shown), len(classes)), dtype=np.float32)
    for vector, indices in zip(table, shown.values(), strict=True):
        vector[list(indices)] = 1.0
    return dict(zip(shown, table, strict=True))


def write_image_labels(
    path: Path, labels: Mapping[str, np.ndarray], classes: Sequence[str]
) -> None:
    """Write labels as the CSV table that :func:`read_image_labels` reads.

    The names of an image are separated by `;`.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", "labels"])
    for image_id in sorted(labels):
        writer.writerow(
            [image_id, ";".join(classes[int(c)] for c in np.flatnonzero(labels[image_id]))]
        )
    write_text(path, stream.getvalue())
