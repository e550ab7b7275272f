"""What background thresholds are worth after CRF, which makes lower ones better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smaf.core.errors import during
from smaf.core.fused_maps import fused_path, read_fused
from smaf.core.images import read_image, read_saliency
from smaf.core.parallel import map_threads
from smaf.data.layout import DataRoot
from smaf.ops import ConfusionMatrix, refine_cams, refined_mask


@dataclass(frozen=True)
class _Job:
    """One photograph: the files of it and its maps, its true mask (H, W), and thresholds."""

    photo: Path
    maps: Path
    saliency: Path | None
    saliency_weight: float
    truth: np.ndarray
    num_classes: int
    crf_side: int | None
    thresholds: tuple[float, ...]


def _counts(job: _Job) -> np.ndarray:
    """In a thread: (T, C+1, C+1) pixels of the photograph, for each of T thresholds."""
    with during(f"refining the maps of {job.photo}"):
        photo = read_image(job.photo)
        cams = read_fused(job.maps, num_classes=job.num_classes, size=photo.size)
        salient = None if job.saliency is None else read_saliency(job.saliency, size=photo.size)
        refined_maps = refine_cams(
            photo,
            cams,
            backgrounds=job.thresholds,
            saliency=salient,
            saliency_weight=job.saliency_weight,
            long_side=job.crf_side,
        )
        counts = []
        for refined in refined_maps:
            matrix = ConfusionMatrix(job.num_classes + 1)
            matrix.update(refined_mask(refined, (photo.height, photo.width)), job.truth)
            counts.append(matrix.counts)
        return np.stack(counts)


def mious_after_crf(
    data: DataRoot,
    ids: Sequence[str],
    maps: Path,
    thresholds: Sequence[float],
    *,
    saliency_weight: float = 0.0,
    crf_side: int | None = None,
    threads: int = 1,
) -> list[float]:
    """The mIoU in 0..1 of masks with CRF for each of the background thresholds.

    One confusion matrix over the photographs `ids`, which have true masks, and fused maps in the
    folder `maps`; `saliency_weight` as in :func:`smaf.ops.crf_cams`, `crf_side` as in
    stage 3. The CRF frees Python's lock: threads serve, which start at once.
    """
    salient = set(data.shown(ids)) if saliency_weight else set[str]()
    jobs = [
        _Job(
            data.photo_path(image_id),
            fused_path(maps, image_id),
            data.saliency_path(image_id) if image_id in salient else None,
            saliency_weight,
            data.mask(image_id, size=data.photo_size(image_id)),
            data.num_classes,
            crf_side,
            tuple(thresholds),
        )
        for image_id in ids
    ]
    counts = sum(map_threads(_counts, jobs, threads=threads, chunk=4))
    scores = []
    for one in np.asarray(counts):
        matrix = ConfusionMatrix(data.num_classes + 1)
        matrix.counts = one
        scores.append(float(matrix.compute()["miou"]))
    return scores
