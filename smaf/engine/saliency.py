"""Whether a list's saliency maps say anything, before hours are spent on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from smaf.core.errors import InputError
from smaf.core.images import read_saliency
from smaf.data.layout import DataRoot
from smaf.engine import distributed

log = logging.getLogger("smaf")
_FLAT = 16  # levels of 255 that the pixels of a map must differ by


def is_flat(path: Path) -> bool:
    """Whether a map is all black, all white or one grey, or nearly so.

    A map of a single pixel cannot be otherwise, and is not counted.
    """
    values = np.asarray(read_saliency(path))
    return values.size > 1 and int(values.max()) - int(values.min()) < _FLAT


def check_saliency(data: DataRoot, ids: Sequence[str]) -> None:
    """Read every saliency map of a list once; tell how many are all black or all white.

    Raises :class:`InputError` for a map that cannot be read, and where all of several are so.
    """
    distributed.first_alone(
        lambda: _check_not_flat([data.saliency_path(image_id) for image_id in ids])
    )


def _check_not_flat(paths: Sequence[Path]) -> None:
    flat = [
        path
        for path in tqdm(paths, desc="saliency maps", unit="map", mininterval=1.0)
        if is_flat(path)
    ]
    if not flat:
        return
    some = (
        f"{len(flat)} of {len(paths)} saliency maps are all black or all white, or nearly so: "
        f"{flat[0]}"
    )
    if len(flat) == len(paths) > 1:  # a single photograph may show nothing salient, or nothing else
        raise InputError(
            f"{some} is the first: save them as 8-bit greyscale, 0..255, 255 most salient, or "
            "train without (--network cls, --saliency_weight 0)"
        )
    log.warning("warning: %s%s", some, "" if len(flat) == 1 else " is the first")
