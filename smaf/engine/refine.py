"""Dense CRF over many masks, in several processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.images import read_image, read_mask, write_mask
from smaf.core.parallel import map_parallel
from smaf.data.layout import DataRoot
from smaf.ops import MAX_VIEW_PIXELS, crf_labels, require_crf


def refine_mask(photo: Image.Image, mask: np.ndarray, *, num_classes: int,
                max_pixels: int = MAX_VIEW_PIXELS) -> np.ndarray:
    """Stage 3's CRF on (H, W) labels; a photograph of more than `max_pixels` is refined at a smaller size."""
    if mask.size <= max_pixels:
        return crf_labels(photo, mask, num_classes=num_classes)
    factor = math.sqrt(max_pixels / mask.size)
    size = (max(1, round(photo.width * factor)), max(1, round(photo.height * factor)))
    small = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    refined = crf_labels(photo.resize(size, Image.Resampling.BICUBIC), small, num_classes=num_classes)
    return np.array(Image.fromarray(refined).resize(photo.size, Image.Resampling.NEAREST))


def _refine_file(job: tuple[Path, Path, Path, int]) -> None:
    photo_path, mask_path, out, num_classes = job
    photo = read_image(photo_path)
    write_mask(out, refine_mask(photo, read_mask(mask_path, size=photo.size), num_classes=num_classes))


def refine_list(data: DataRoot, ids: Sequence[str], *, masks: Path, out: Path, num_workers: int) -> None:
    """Refine `masks/<id>.png` into `out/<id>.png`; those that are there stay."""
    require_crf()
    jobs = [(data.photo_path(i), masks / f"{i}.png", out / f"{i}.png", data.num_classes + 1)
            for i in ids if not (out / f"{i}.png").is_file()]
    map_parallel(_refine_file, jobs, num_workers=num_workers, what="CRF", chunk=2)
