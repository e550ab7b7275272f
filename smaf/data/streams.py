"""Endless training samples by number, so that a stopped run goes on exactly.

Sample k of a seed is always the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os.path import splitext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from smaf.core.errors import during
from smaf.core.files import files_by_stem, find_by_stem, plain_name
from smaf.core.fused_maps import read_fused
from smaf.core.images import MASK_SUFFIXES, find_image, read_mask
from smaf.core.tensors import normalise
from smaf.data.augment import TARGET_STRIDE, Augmentation, Geometry, jitter_colours
from smaf.data.layout import DataRoot

Sample = dict[str, Tensor]
_FUSED = (".npz", ".npy")


class TrainingStream(Dataset[Sample]):
    """Training samples by number: photographs in shuffled epochs, augmented.

    Sample k is the photograph of the k-th place in a chain of shuffled epochs, augmented by the
    generator (seed, k). Gives `image` (3, crop, crop), normalised, zeros as padding, and `labels`
    (C,). Subclasses add supervision.
    """

    needs_labels = True

    def __init__(
        self,
        data: DataRoot,
        ids: Sequence[str],
        *,
        augmentation: Augmentation,
        seed: int,
        mean: Sequence[float],
        std: Sequence[float],
        bgr: bool = False,
    ) -> None:
        self.data, self.ids, self.augmentation, self.seed = data, list(ids), augmentation, seed
        self.mean, self.std, self.bgr = mean, std, bgr
        self.labels = torch.from_numpy(data.labels_of(ids)) if self.needs_labels else None
        self._epoch: tuple[int, np.ndarray] = (-1, np.zeros(0, dtype=np.int64))

    def place(self, k: int) -> int:
        """Index into the ids of sample k."""
        epoch, position = divmod(k, len(self.ids))
        if self._epoch[0] != epoch:
            self._epoch = (
                epoch,
                np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.ids)),
            )
        return int(self._epoch[1][position])

    def __getitem__(self, k: int) -> Sample:
        """Sample k as a dict of tensors, by name."""
        with during(f"reading {self.data.photo_path(self.ids[self.place(k)])} and its maps"):
            return self._sample(k)

    def _sample(self, k: int) -> Sample:
        index = self.place(k)
        rng = np.random.default_rng((self.seed, 1, k))
        photo = self.data.photo(self.ids[index])
        geometry = Geometry.draw(rng, photo.size, self.augmentation)
        image = geometry.resize_image(photo)
        if self.augmentation.jitter is not None:
            image = jitter_colours(rng, image, self.augmentation.jitter)
        sample = {"image": geometry.cut(normalise(image, self.mean, self.std, bgr=self.bgr))}
        if self.labels is not None:
            sample["labels"] = self.labels[index]
        return {**sample, **self.supervision(self.ids[index], photo, geometry)}

    def supervision(self, image_id: str, photo: Image.Image, geometry: Geometry) -> Sample:
        """What else training needs of this photograph, in the same geometry."""
        return {}


class SaliencyStream(TrainingStream):
    """Stage 0's samples: adds `saliency` (1, crop, crop) in [0, 1]."""

    def supervision(self, image_id: str, photo: Image.Image, geometry: Geometry) -> Sample:
        """What this stage's training needs beside the photograph, in the same geometry."""
        return {"saliency": geometry.apply_map(self.data.saliency(image_id, size=photo.size))}


class FusedStream(TrainingStream):
    """Stage 2's samples: adds `fused` (C, crop/4, crop/4), the fused maps of the labelled classes.

    They are read from `maps_folder`. With `whole`, also the whole photograph squeezed into the
    crop's size (3, crop, crop) for the teacher, and `grid` (crop/4, crop/4, 2), where the crop's
    pixels lie in it.
    """

    def __init__(
        self,
        data: DataRoot,
        ids: Sequence[str],
        *,
        maps_folder: Path,
        whole: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(data, ids, **common)
        self.maps_folder, self.whole = maps_folder, whole

    def supervision(self, image_id: str, photo: Image.Image, geometry: Geometry) -> Sample:
        """What this stage's training needs beside the photograph, in the same geometry."""
        side = geometry.crop // TARGET_STRIDE
        path = fused_path(self.maps_folder, image_id)
        cams = read_fused(path, num_classes=self.data.num_classes, size=photo.size)
        fused = torch.zeros(self.data.num_classes, side, side)
        if cams:
            planes = torch.from_numpy(np.stack(list(cams.values())))
            fused[list(cams)] = geometry.apply_planes(planes, side)
        if not self.whole:
            return {"fused": fused}
        squeezed = photo.resize((geometry.crop, geometry.crop), Image.Resampling.BICUBIC)
        return {
            "fused": fused,
            "whole": normalise(squeezed, self.mean, self.std),
            "grid": geometry.grid(side),
        }


class MaskStream(TrainingStream):
    """Stage 4's samples: `image` and `mask` (crop, crop), int64 values 0..C or 255.

    Masks are those of `masks_folder`, `<id>.png`, in the task's values; None: the data set's true
    masks.
    """

    needs_labels = False

    def __init__(
        self, data: DataRoot, ids: Sequence[str], *, masks_folder: Path | None, **common: Any
    ) -> None:
        super().__init__(data, ids, **common)
        self.masks_folder = masks_folder

    def mask(self, image_id: str, size: tuple[int, int] | None = None) -> np.ndarray:
        """(H, W) uint8 target of an image, checked to be of `size` (W, H)."""
        if self.masks_folder is None:
            return self.data.mask(image_id, size=size)
        return read_mask(self.mask_path(image_id), size=size)

    def mask_path(self, image_id: str) -> Path:
        """Where the target of an image lies."""
        if self.masks_folder is None:
            return self.data.mask_path(image_id)
        return find_image([self.masks_folder], image_id, suffixes=MASK_SUFFIXES)

    def supervision(self, image_id: str, photo: Image.Image, geometry: Geometry) -> Sample:
        """What this stage's training needs beside the photograph, in the same geometry."""
        return {"mask": geometry.apply_mask(self.mask(image_id, photo.size))}


def fused_path(folder: Path, image_id: str) -> Path:
    """Return the fused map of an image: `.npz`, or the published `.npy` where only that exists."""
    return find_by_stem(folder, image_id, _FUSED) or folder / f"{image_id}.npz"


def fused_paths(folder: Path, ids: Sequence[str]) -> dict[str, Path]:
    """Id → :func:`fused_path`'s file, of the ids that have one; the folder is read once."""
    stems = files_by_stem(folder)
    names = ((i, {splitext(n)[1].lower(): n for n in stems.get(plain_name(i), ())}) for i in ids)
    return {
        image_id: folder / named[suffix]
        for image_id, named in names
        for suffix in _FUSED[::-1]  # the later one, .npz, stays
        if suffix in named
    }


class StreamSampler(Sampler[int]):
    """The sample numbers of one process, from the step `start` on.

    They are steps × accumulation × processes × batch.
    """

    def __init__(
        self, *, start: int, steps: int, batch_size: int, accumulate: int, rank: int, world: int
    ) -> None:
        self.start, self.steps = start * accumulate, steps * accumulate
        self.batch_size, self.rank, self.world = batch_size, rank, world

    def __iter__(self) -> Iterator[int]:
        """Numbers in the order of use."""
        for forward in range(self.start, self.steps):
            first = (forward * self.world + self.rank) * self.batch_size
            yield from range(first, first + self.batch_size)

    def __len__(self) -> int:
        return (self.steps - self.start) * self.batch_size
