"""The bank of regions in memory and on disk, and the superpixels that regions are cut by."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.archives import open_arrays
from smaf.core.errors import InputError
from smaf.core.files import write_bytes
from smaf.ops.bank import Bank

_SIDE = 250  # longer side at which superpixels are found: finer edges gain nothing, and take time
_COMPACTNESS = 10.0
_FIX = "delete it, it is made again"


def superpixels(photo: Image.Image, count: int) -> np.ndarray:
    """(H, W) int: the superpixel of each pixel, about `count` of them, by SLIC.

    Raises :class:`InputError` where scikit-image is not installed.
    """
    try:
        from skimage.segmentation import slic  # an extra, which this command alone needs
    except ImportError as error:
        raise InputError(
            "vote_regions needs scikit-image, which is not installed: pip install scikit-image"
        ) from error
    factor = min(1.0, _SIDE / max(photo.size))
    size = max(1, round(photo.width * factor)), max(1, round(photo.height * factor))
    small = np.asarray(photo.resize(size, Image.Resampling.BILINEAR))
    found = slic(small, n_segments=count, compactness=_COMPACTNESS, start_label=0)
    whole = Image.fromarray(found.astype(np.int32)).resize(photo.size, Image.Resampling.NEAREST)
    return np.asarray(whole)


class BankMaker:
    """Gathers regions and keeps `most` of each class, 2.5 times as many of background.

    Which ones stay where there are more is drawn with `seed`, each with the same chance; memory
    does not grow with the list.
    """

    def __init__(self, most: int, seed: int) -> None:
        self.most, self.rng = most, np.random.default_rng(seed)
        self._bank: Bank | None = None
        self._keys = np.zeros(0)  # the smallest of a class stay
        self._added: list[Bank] = []

    def add(self, regions: Bank) -> None:
        """Take in the regions of a photograph."""
        self._added.append(regions)
        if sum(len(added.values) for added in self._added) > 2 * self.most:
            self.bank()

    def bank(self) -> Bank:
        """What there is so far."""
        parts = [*([] if self._bank is None else [self._bank]), *self._added]
        new = sum(len(added.values) for added in self._added)
        self._keys, self._added = np.append(self._keys, self.rng.random(new)), []
        whole = Bank(
            np.concatenate([p.features for p in parts]).astype(np.float32),
            np.concatenate([p.values for p in parts]),
            np.concatenate([p.photos for p in parts]),
        )
        kept = np.zeros(len(whole.values), dtype=bool)
        for value in np.unique(whole.values):
            own = np.flatnonzero(whole.values == value)
            most = self.most if value else self.most * 5 // 2
            kept[own[np.argsort(self._keys[own], kind="stable")[:most]]] = True
        self._bank, self._keys = whole.of(kept), self._keys[kept]
        return self._bank


def write_bank(path: Path, bank: Bank) -> None:
    """Write a bank to the `.npz` `path`; features have half precision there."""
    stream = io.BytesIO()
    np.savez(
        stream,
        features=bank.features.astype(np.float16),
        values=bank.values.astype(np.uint8),
        photos=bank.photos.astype(np.int64),
    )
    write_bytes(path, stream.getvalue())


def read_bank(path: Path) -> Bank:
    """Read a bank; :class:`InputError` where the file is damaged."""
    with open_arrays(path, ("features", "values", "photos"), "bank", _FIX) as arrays:
        features, values, photos = (arrays[n].read() for n in ("features", "values", "photos"))
    if features.ndim != 2 or values.shape != photos.shape or values.shape != features.shape[:1]:
        raise InputError(
            f"bank {path} has features {features.shape}, values {values.shape} and photos "
            f"{photos.shape}, expected (n, D), (n,) and (n,): {_FIX}"
        )
    if not np.isfinite(features).all():
        raise InputError(f"bank {path} holds values that are not finite: {_FIX}")
    return Bank(features.astype(np.float32), values, photos)
