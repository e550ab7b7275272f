"""Dense CRF over many masks or fused maps, in several processes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.errors import during
from smaf.core.fused_maps import read_fused, write_fused
from smaf.core.images import read_image, read_mask, read_saliency, write_mask
from smaf.core.parallel import map_parallel
from smaf.data.layout import DataRoot
from smaf.data.streams import fused_path
from smaf.engine.inference import check_fused, require_fused
from smaf.engine.outputs import output_run
from smaf.engine.saliency import check_saliency
from smaf.ops import cams_to_mask, certain_mask, refine_cams, refine_mask, refined_mask, require_crf

log = logging.getLogger("smaf")


def _refine_file(job: tuple[Path, Path, Path, int, bool]) -> None:
    photo_path, mask_path, out, num_classes, mark = job
    with during(f"refining the mask of {photo_path}"):
        photo = read_image(photo_path)
        mask = read_mask(mask_path, size=photo.size)
        refined = refine_mask(photo, mask, num_classes=num_classes)
        write_mask(out, certain_mask(refined, mask) if mark else refined)


def refine_list(
    data: DataRoot,
    ids: Sequence[str],
    *,
    masks: Path,
    out: Path,
    num_workers: int,
    mark: bool = False,
) -> None:
    """Refine `masks/<id>.png` into `out/<id>.png`. `mark`: 255 where CRF changes them."""
    require_crf()
    jobs = [
        (data.photo_path(i), masks / f"{i}.png", out / f"{i}.png", data.num_classes + 1, mark)
        for i in ids
    ]
    map_parallel(_refine_file, jobs, num_workers=num_workers, what="CRF", chunk=2)


@dataclass(frozen=True)
class _CamsJob:
    """Maps of the labelled classes take part. Where `out` is a PNG, the mask is written, else the
    maps."""

    labels: np.ndarray  # (C,)
    photo: Path
    cams: Path
    saliency: Path | None
    out: Path
    background: float
    saliency_weight: float = 0.0
    long_side: int | None = None
    crf: bool = True
    uncertain: str = "none"
    band: tuple[float, float] = (0.0, 0.0)


def _refine_cams_file(job: _CamsJob) -> None:
    with during(f"refining the maps of {job.photo}"):
        _refine_cams(job)


def _refine_cams(job: _CamsJob) -> None:
    photo = read_image(job.photo)
    saliency = None if job.saliency is None else read_saliency(job.saliency, size=photo.size)
    cams = {
        c: cam
        for c, cam in read_fused(job.cams, num_classes=len(job.labels), size=photo.size).items()
        if job.labels[c]
    }
    size = (photo.height, photo.width)

    def refined(background: float) -> dict[int, np.ndarray]:
        return refine_cams(
            photo,
            cams,
            background=background,
            saliency=saliency,
            saliency_weight=job.saliency_weight,
            long_side=job.long_side,
            crf=job.crf,
        )

    if job.out.suffix != ".png":
        write_fused(job.out, refined(job.background), size)
    elif job.uncertain == "thresholds":
        low, high = (refined_mask(refined(background), size) for background in job.band)
        write_mask(job.out, certain_mask(low, high))
    else:
        mask = refined_mask(refined(job.background), size)
        if job.uncertain == "crf":
            mask = certain_mask(mask, cams_to_mask(cams, threshold=job.background, size=size))
        write_mask(job.out, mask)


def refine_to_masks(
    data: DataRoot,
    ids: Sequence[str],
    *,
    cam_dir: Path,
    out: Path,
    background: float,
    num_workers: int,
    uncertain: str = "none",
    band: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Refine the maps `cam_dir/<id>.npz` and write their masks `out/<id>.png`.

    `uncertain`, `band`: see :func:`smaf.engine.pseudo_masks.gen_pm`.
    """
    require_crf()
    jobs = [
        _CamsJob(
            data.all_labels[i],
            data.photo_path(i),
            fused_path(cam_dir, i),
            None,
            out / f"{i}.png",
            background,
            uncertain=uncertain,
            band=band,
        )
        for i in ids
    ]
    map_parallel(_refine_cams_file, jobs, num_workers=num_workers, what="CRF", chunk=2)


def refine_fusion(
    data: DataRoot,
    *,
    list_name: str,
    cam_dir: Path,
    out: Path,
    background: float,
    saliency_weight: float,
    long_side: int | None,
    crf: bool,
    facts: Mapping[str, Any],
    num_workers: int,
    overwrite: bool = False,
) -> None:
    """Refine `cam_dir/<id>.npz` into `out/<id>.npz`, class probabilities; those that are there
    stay."""
    if crf:
        require_crf("with --no_crf")
    ids = data.ids(list_name)
    data.labels_of(ids)
    data.require(ids, saliency=saliency_weight > 0)
    require_fused(cam_dir, ids, data)
    if saliency_weight > 0:
        check_saliency(data, ids)
    with output_run(
        out, facts, results=("*.npz",), images=len(ids), overwrite=overwrite, per_image=True
    ) as run:
        run.begin()
        jobs = [
            _CamsJob(
                data.all_labels[i],
                data.photo_path(i),
                fused_path(cam_dir, i),
                data.saliency_path(i) if saliency_weight else None,
                out / f"{i}.npz",
                background,
                saliency_weight,
                long_side,
                crf,
            )
            for i in run.left(ids, lambda i: check_fused(out / f"{i}.npz", data, i))
        ]
        map_parallel(_refine_cams_file, jobs, num_workers=num_workers, what="refine", chunk=2)
    log.info("wrote %d refined maps to %s", len(ids), out)
