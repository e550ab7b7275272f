"""Whether a list's saliency maps say anything, before hours are spent on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from smaf.core.errors import InputError
from smaf.core.images import read_saliency
from smaf.data.layout import WITHOUT_SALIENCY, DataRoot
from smaf.engine import distributed

log = logging.getLogger("smaf")
_FLAT = 16  # levels of 255 that the pixels of a map must differ by


def is_flat(path: Path) -> bool:
    """Whether a map is all black, all white or one grey, or nearly so.

    A map of a single pixel cannot be otherwise, and is not counted.
    """
    return says_nothing(np.asarray(read_saliency(path)))


def says_nothing(values: np.ndarray) -> bool:
    """:func:`is_flat` of a map's values 0..255."""
    return values.size > 1 and int(values.max()) - int(values.min()) < _FLAT


def check_saliency(data: DataRoot, ids: Sequence[str]) -> None:
    """Read every saliency map of a list once; tell how many are all black or all white.

    Maps of photographs that show none of the classes are not used, and not read. Each of many
    processes reads its share. Raises :class:`InputError` for a map that cannot be
    read, and where all of several are so.
    """
    ids, quiet = data.shown(ids), distributed.rank() > 0
    flat = np.zeros(len(ids), dtype=bool)
    bar = tqdm(
        distributed.share(range(len(ids))),
        desc="saliency maps",
        unit="map",
        mininterval=1.0,
        disable=quiet,
    )
    for index in bar:
        flat[index] = is_flat(data.saliency_path(ids[index]))
    distributed.sum_counts(flat)
    if not flat.any():
        return
    some = (
        f"{flat.sum()} of {len(ids)} saliency maps are all black or all white, or nearly so: "
        f"{data.saliency_path(ids[int(flat.argmax())])}"
    )
    if flat.all() and len(ids) > 1:  # a single photograph may show nothing salient, or nothing else
        raise InputError(
            f"{some} is the first: save them as 8-bit greyscale, 0..255, 255 most salient, move "
            f"them away and run `smaf saliency`, or {WITHOUT_SALIENCY}"
        )
    if not quiet:
        log.warning("warning: %s%s", some, "" if flat.sum() == 1 else " is the first")
