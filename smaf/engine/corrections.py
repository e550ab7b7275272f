"""Corrected masks of a list: read and checked once, told, and what they show added to labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError
from smaf.data.layout import DataRoot
from smaf.engine import distributed

log = logging.getLogger("smaf")


@dataclass(frozen=True)
class Corrections:
    """Which photographs of a list have corrected masks.

    Args:
        data: the data set; labels have the classes that corrected masks show, too.
        ids: the photographs that have one.
    """

    data: DataRoot
    ids: frozenset[str] = frozenset()


def corrections_of(
    data: DataRoot, ids: Sequence[str], *, wanted: bool = True, labels: bool = True
) -> Corrections:
    """The corrected masks of a list, where they are `wanted`; tells how many there are.

    Each is read once, by the first of many processes. Where `labels` take part, a class that a mask
    shows counts as shown by the photograph, whatever its label says: a person drew it. The label
    file stays as it is. Raises :class:`InputError` where there is none, or one that does not serve.
    """
    if not wanted:
        return Corrections(data)
    if labels:
        data.labels_of(ids)
    found, gained = distributed.first_alone(lambda: _read(data, ids, labels))
    if not found:
        raise InputError(
            f"--corrected: no photograph of the list has a mask in {data.corrected_folder}: put "
            "them there as <id>.png (`smaf import` does), or leave --corrected out"
        )
    if distributed.rank() == 0:
        _tell(data, len(found), len(ids), gained)
    return Corrections(replace(data, gained=(*data.gained, *gained)), frozenset(found))


def _read(
    data: DataRoot, ids: Sequence[str], labels: bool
) -> tuple[list[str], list[tuple[str, int]]]:
    """The photographs that have a corrected mask, and the classes that their labels lack."""
    found, gained = data.corrected_ids(ids), list[tuple[str, int]]()
    for image_id in found:
        mask = data.corrected(image_id, size=data.photo_size(image_id))
        if labels:
            drawn = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[1:IGNORE])
            label = data.all_labels[image_id]
            gained += [(image_id, int(c)) for c in drawn if not label[c]]
    return found, gained


def _tell(data: DataRoot, found: int, images: int, gained: Sequence[tuple[str, int]]) -> None:
    log.info("%s of %s photographs have corrected masks", f"{found:,}", f"{images:,}")
    if gained:
        image_id, c = gained[0]
        log.info(
            "corrected masks of %d photographs show classes that %s does not name (%s: %s): they "
            "count as shown; that file stays as it is",
            len({image for image, _ in gained}),
            data.label_file,
            image_id,
            data.classes.names[c],
        )
