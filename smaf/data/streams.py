"""Endless training samples by number, so that a stopped run goes on exactly.

Sample k of a seed is always the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from smaf.core.class_maps import ClassMaps, maps_of_mask
from smaf.core.errors import during
from smaf.core.fused_maps import fused_path, read_fused
from smaf.core.images import MASK_SUFFIXES, find_image, read_mask
from smaf.core.tensors import normalise_planes, planes_of, resize_planes
from smaf.data.augment import TARGET_STRIDE, Augmentation, Geometry, jitter_colours
from smaf.data.layout import DataRoot

Sample = dict[str, Tensor]


class Photo(NamedTuple):
    """A photograph: planes (3, H, W) uint8, and the file's size (W, H), which may be larger."""

    planes: Tensor
    size: tuple[int, int]


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
        index, crop = self.place(k), self.augmentation.crop
        image_id = self.ids[index]
        rng = np.random.default_rng((self.seed, 1, k))
        photo, geometry = self._draw(image_id, rng)
        image = resize_planes(photo.planes, geometry.size)
        if self.augmentation.jitter is not None:
            image = jitter_colours(rng, image, self.augmentation.jitter)
        sample = {"image": torch.zeros(3, crop, crop)}
        part, rows, columns = geometry.window(image)
        seen = sample["image"][:, rows, columns]
        normalise_planes(part, self.mean, self.std, bgr=self.bgr, out=seen)
        if self.labels is not None:
            sample["labels"] = self.labels[index]
        return {**sample, **self.supervision(image_id, photo, geometry)}

    def _draw(self, image_id: str, rng: np.random.Generator) -> tuple[Photo, Geometry]:
        """Read a photograph as large as the geometry that is drawn for it needs it."""
        drawn: list[tuple[tuple[int, int], Geometry]] = []

        def needed(size: tuple[int, int]) -> tuple[int, int]:
            drawn.append((size, Geometry.draw(rng, size, self.augmentation)))
            return self.needed(drawn[0][1])

        planes = planes_of(self.data.photo(image_id, needed=needed))
        size, geometry = drawn[0]
        return Photo(planes, size), geometry

    def needed(self, geometry: Geometry) -> tuple[int, int]:
        """Size (W, H) of the photograph that is enough for a sample."""
        return geometry.size

    def supervision(self, image_id: str, photo: Photo, geometry: Geometry) -> Sample:
        """What else training needs of this photograph, in the same geometry."""
        return {}


class SaliencyStream(TrainingStream):
    """Stage 0's samples: adds `saliency` (1, crop, crop) in [0, 1].

    It is 0 everywhere where a photograph shows none of the classes: what is salient there is
    background. Such a photograph's map is not read. The paper has no such photographs.
    """

    def supervision(self, image_id: str, photo: Photo, geometry: Geometry) -> Sample:
        """What this stage's training needs beside the photograph, in the same geometry."""
        if not self.data.all_labels[image_id].any():
            return {"saliency": torch.zeros(1, geometry.crop, geometry.crop)}
        return {"saliency": geometry.apply_map(self.data.saliency(image_id, size=photo.size))}


class FusedStream(TrainingStream):
    """Stage 2's samples: adds `fused` (C, crop/4, crop/4), the fused maps of the labelled classes.

    They are read from `maps_folder`; those of the ids in `corrected` are made of the data set's
    corrected masks, with `even` where such a mask is ignored, as
    :func:`smaf.core.class_maps.maps_of_mask` has it; `corrected` () tells which those are. With
    `whole`, also the whole photograph squeezed into the crop's size (3, crop, crop) for the
    teacher, and `grid` (crop/4, crop/4, 2), where the crop's pixels lie in it.
    """

    def __init__(
        self,
        data: DataRoot,
        ids: Sequence[str],
        *,
        maps_folder: Path,
        whole: bool = False,
        corrected: Collection[str] = (),
        even: float | None = None,
        **common: Any,
    ) -> None:
        super().__init__(data, ids, **common)
        self.maps_folder, self.whole = maps_folder, whole
        self.corrected, self.even = frozenset(corrected), even

    def needed(self, geometry: Geometry) -> tuple[int, int]:
        """Size (W, H) of the photograph that is enough for a sample; also for the teacher's."""
        least = geometry.crop if self.whole else 0
        return max(geometry.size[0], least), max(geometry.size[1], least)

    def maps(self, image_id: str, size: tuple[int, int]) -> ClassMaps:
        """Class index → (H, W) float32 of an image, checked to be of `size` (W, H)."""
        if image_id in self.corrected:
            shown = np.flatnonzero(self.data.all_labels[image_id]).tolist()
            mask = self.data.corrected(image_id, size=size)
            return maps_of_mask(mask, shown, ignored=self.even)
        path = fused_path(self.maps_folder, image_id)
        return read_fused(path, num_classes=self.data.num_classes, size=size)

    def supervision(self, image_id: str, photo: Photo, geometry: Geometry) -> Sample:
        """What this stage's training needs beside the photograph, in the same geometry."""
        side = geometry.crop // TARGET_STRIDE
        cams = self.maps(image_id, photo.size)
        fused = torch.zeros(self.data.num_classes, side, side)
        if cams:
            planes = torch.from_numpy(np.stack(list(cams.values())))
            fused[list(cams)] = geometry.apply_planes(planes, side)
        sample = {"fused": fused, "corrected": torch.tensor(image_id in self.corrected)}
        if not self.whole:
            return sample
        squeezed = resize_planes(photo.planes, (geometry.crop, geometry.crop))
        return {
            **sample,
            "whole": normalise_planes(squeezed, self.mean, self.std),
            "grid": geometry.grid(side),
        }


class MaskStream(TrainingStream):
    """Stage 4's samples: `image` and `mask` (crop, crop), int64 values 0..C or 255.

    Masks are those of `masks_folder`, `<id>.png`, in the task's values; None: the data set's true
    masks. The ids in `corrected` have the data set's corrected masks.
    """

    needs_labels = False

    def __init__(
        self,
        data: DataRoot,
        ids: Sequence[str],
        *,
        masks_folder: Path | None,
        corrected: Collection[str] = (),
        **common: Any,
    ) -> None:
        super().__init__(data, ids, **common)
        self.masks_folder, self.corrected = masks_folder, frozenset(corrected)

    def mask(self, image_id: str, size: tuple[int, int] | None = None) -> np.ndarray:
        """(H, W) uint8 target of an image, checked to be of `size` (W, H)."""
        if image_id in self.corrected:
            return self.data.corrected(image_id, size=size)
        if self.masks_folder is None:
            return self.data.mask(image_id, size=size)
        return read_mask(self.mask_path(image_id), size=size)

    def mask_path(self, image_id: str) -> Path:
        """Where the target of an image lies."""
        if image_id in self.corrected:
            return self.data.corrected_path(image_id)
        if self.masks_folder is None:
            return self.data.mask_path(image_id)
        return find_image([self.masks_folder], image_id, suffixes=MASK_SUFFIXES)

    def supervision(self, image_id: str, photo: Photo, geometry: Geometry) -> Sample:
        """What this stage's training needs beside the photograph, in the same geometry."""
        return {"mask": geometry.apply_mask(self.mask(image_id, photo.size))}


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
