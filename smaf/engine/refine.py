"""Dense CRF over many masks or fused maps, in several processes."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smaf.core.fused_maps import read_fused, write_fused
from smaf.core.images import read_image, read_mask, read_saliency, write_mask
from smaf.core.parallel import map_parallel
from smaf.data.layout import DataRoot
from smaf.data.streams import fused_path
from smaf.engine.inference import require_fused, start_folder
from smaf.ops import MAX_VIEW_PIXELS, cams_to_mask, crf_cams, crf_labels, require_crf
from smaf.ops.crf import SOFTMAX

log = logging.getLogger("smaf")


def refine_mask(photo: Image.Image, mask: np.ndarray, *, num_classes: int,
                max_pixels: int = MAX_VIEW_PIXELS) -> np.ndarray:
    """Stage 3's CRF on (H, W) labels; a photograph of more than `max_pixels` is refined at a smaller size."""
    if mask.size <= max_pixels:
        return crf_labels(photo, mask, num_classes=num_classes)
    size = _smaller(photo, max_pixels)
    small = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    refined = crf_labels(photo.resize(size, Image.Resampling.BICUBIC), small, num_classes=num_classes)
    return np.array(Image.fromarray(refined).resize(photo.size, Image.Resampling.NEAREST))


def _smaller(photo: Image.Image, max_pixels: int) -> tuple[int, int]:
    factor = math.sqrt(max_pixels / (photo.width * photo.height))
    return max(1, round(photo.width * factor)), max(1, round(photo.height * factor))


def _at_long_side(photo: Image.Image, long_side: int) -> tuple[int, int]:
    factor = long_side / max(photo.size)
    return max(1, round(photo.width * factor)), max(1, round(photo.height * factor))


def _resize(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.array(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))


def refine_cams(photo: Image.Image, cams: Mapping[int, np.ndarray], *, background: float,
                saliency: Image.Image | None = None, saliency_weight: float = 1.0, long_side: int | None = None,
                crf: bool = True, max_pixels: int = MAX_VIEW_PIXELS) -> dict[int, np.ndarray]:
    """:func:`smaf.ops.crf_cams` (without `crf` its saliency part alone), at a smaller size where the photograph is longer than `long_side` (the kernels shrink
    with it) or has more than `max_pixels`."""
    whole, settings = photo.size, SOFTMAX
    if photo.width * photo.height > max_pixels or max(photo.size) > (long_side or max(photo.size)):
        size = _smaller(photo, max_pixels) if long_side is None else _at_long_side(photo, long_side)
        if long_side is not None:
            settings = SOFTMAX.scaled(max(size) / max(photo.size))
        photo, cams = photo.resize(size, Image.Resampling.BICUBIC), {c: _resize(cam, size) for c, cam in cams.items()}
        saliency = saliency.resize(size, Image.Resampling.BILINEAR) if saliency is not None else None
    salient = None if saliency is None else np.asarray(saliency, dtype=np.float32) / 255.0
    refined = crf_cams(photo, cams, background=background, saliency=salient, saliency_weight=saliency_weight,
                       settings=settings if crf else None)
    return refined if photo.size == whole else {c: _resize(cam, whole) for c, cam in refined.items()}


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


def refined_mask(cams: Mapping[int, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The most probable of refined maps and background: (H, W) uint8, 0 background, class index + 1; `size` (H, W)."""
    rest = 1.0 - np.sum(list(cams.values()), axis=0) if cams else 0.0
    return cams_to_mask({c: cam - rest for c, cam in cams.items()}, threshold=0.0, size=size)


@dataclass(frozen=True)
class _CamsJob:
    """Where `out` is a PNG, the mask is written, else the maps."""

    photo: Path
    cams: Path
    saliency: Path | None
    out: Path
    num_classes: int
    background: float
    saliency_weight: float = 0.0
    long_side: int | None = None
    crf: bool = True


def _refine_cams_file(job: _CamsJob) -> None:
    photo = read_image(job.photo)
    saliency = None if job.saliency is None else read_saliency(job.saliency, size=photo.size)
    cams = refine_cams(photo, read_fused(job.cams, num_classes=job.num_classes), background=job.background,
                       saliency=saliency, saliency_weight=job.saliency_weight, long_side=job.long_side,
                       crf=job.crf)
    size = (photo.height, photo.width)
    if job.out.suffix == ".png":
        write_mask(job.out, refined_mask(cams, size))
    else:
        write_fused(job.out, cams, size)


def refine_to_masks(data: DataRoot, ids: Sequence[str], *, cam_dir: Path, out: Path, background: float,
                    num_workers: int) -> None:
    """Refine the maps `cam_dir/<id>.npz` and write their masks `out/<id>.png`; those that are there stay."""
    require_crf()
    jobs = [_CamsJob(data.photo_path(i), fused_path(cam_dir, i), None, out / f"{i}.png", data.num_classes, background)
            for i in ids if not (out / f"{i}.png").is_file()]
    map_parallel(_refine_cams_file, jobs, num_workers=num_workers, what="CRF", chunk=2)


def refine_fusion(data: DataRoot, *, list_name: str, cam_dir: Path, out: Path, background: float,
                  saliency_weight: float, long_side: int | None, crf: bool, facts: Mapping[str, Any], num_workers: int,
                  overwrite: bool = False) -> None:
    """Refine `cam_dir/<id>.npz` into `out/<id>.npz`, class probabilities; those that are there stay."""
    if crf:
        require_crf("with --no_crf")
    ids = data.ids(list_name)
    data.labels_of(ids)
    data.require(ids, saliency=saliency_weight > 0)
    require_fused(cam_dir, ids, data)
    record = start_folder(out, facts, overwrite=overwrite, patterns=("*.npz",))
    jobs = [_CamsJob(data.photo_path(i), fused_path(cam_dir, i), data.saliency_path(i) if saliency_weight else None,
                     out / f"{i}.npz", data.num_classes, background, saliency_weight, long_side, crf)
            for i in ids if not (out / f"{i}.npz").is_file()]
    record.write(finished=False, images=len(ids))
    map_parallel(_refine_cams_file, jobs, num_workers=num_workers, what="refine", chunk=2)
    record.write(finished=True, images=len(ids))
    log.info("wrote %d refined maps to %s", len(ids), out)
