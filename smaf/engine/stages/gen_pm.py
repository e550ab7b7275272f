"""Stage 3: pseudo masks from a classifier (or from stored fused maps), refined by CRF where
asked."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError
from smaf.core.files import write_text
from smaf.core.fused_maps import read_fused, write_fused
from smaf.core.images import read_mask, write_mask
from smaf.core.views import Views
from smaf.data.layout import DataRoot
from smaf.data.streams import fused_path
from smaf.engine import distributed
from smaf.engine.inference import Fused, check_fused, fuse_list, require_fused
from smaf.engine.outputs import output_run
from smaf.engine.refine import refine_list, refine_to_masks
from smaf.models import Classifier
from smaf.ops import cams_to_mask, certain_mask, require_crf

log = logging.getLogger("smaf")
BEFORE_CRF = "before_crf"
CRF_KINDS = ("none", "masks", "maps")
UNCERTAIN = ("none", "thresholds", "crf")


def _stored(data: DataRoot, ids: Sequence[str], cam_dir: Path) -> Generator[Fused, None, None]:
    for image_id in ids:
        photo, label = data.photo(image_id), data.all_labels[image_id]
        cams = read_fused(
            fused_path(cam_dir, image_id), num_classes=data.num_classes, size=photo.size
        )
        kept = {c: cam for c, cam in cams.items() if label[c]}
        yield image_id, kept, (photo.height, photo.width)


def check_mask(path: Path, data: DataRoot, image_id: str) -> None:
    """Check that a pseudo mask is whole and shows its labels alone: :class:`InputError`, or
    FileNotFoundError."""
    values = set(np.unique(read_mask(path)).tolist()) - {0, IGNORE}
    if other := sorted(values - set((np.flatnonzero(data.all_labels[image_id]) + 1).tolist())):
        raise InputError(f"mask {path} has the values {other}, which are not of the image's labels")


def gen_pm(
    source: Classifier | Path,
    data: DataRoot,
    *,
    list_name: str,
    views: Views,
    threshold: float,
    crf: str,
    out: Path,
    facts: Mapping[str, Any],
    device: torch.device,
    precision: str = "fp32",
    num_workers: int = 2,
    overwrite: bool = False,
    uncertain: str = "none",
    band: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Run stage 3: write palette PNGs `out/<id>.png`, values 0 background, class index + 1; those
    there stay.

    `source` is a classifier, or a folder of fused maps. `crf` is one of :data:`CRF_KINDS`: none, on
    the masks (as published), or on the fused maps; masks (and maps) before it are kept in
    `out/before_crf`. `out/classes.txt` names the values.

    `uncertain` marks pixels 255, which stage 4 ignores: where the masks at the two thresholds of
    `band` (each refined, where CRF works on maps) disagree, or where CRF disagrees with the mask
    before it.
    """
    if crf not in CRF_KINDS:
        raise InputError(f"--crf {crf}: expected one of {', '.join(CRF_KINDS)}")
    if uncertain not in UNCERTAIN:
        raise InputError(f"--uncertain {uncertain}: expected one of {', '.join(UNCERTAIN)}")
    if uncertain == "crf" and crf == "none":
        raise InputError(
            "--uncertain crf compares masks before and after CRF: add --crf, or take thresholds"
        )
    if uncertain == "thresholds" and crf == "masks":
        raise InputError("--uncertain thresholds needs maps, --crf masks has none: use --crf maps")
    if uncertain == "thresholds" and not 0 < band[0] <= band[1] < 1:
        raise InputError(
            f"--band {band[0]:g} {band[1]:g}: expected thresholds between 0 and 1, the lower one "
            "first"
        )
    if crf != "none":
        require_crf()
    ids = data.ids(list_name)
    data.labels_of(ids)
    data.require(ids)
    if isinstance(source, Path):
        require_fused(source, ids, data)
    raw = out if crf == "none" else out / BEFORE_CRF
    keep_maps = crf == "maps" and not isinstance(source, Path)
    if not isinstance(source, Path):
        source = source.to(device).to(memory_format=torch.channels_last)

    def check(image_id: str) -> None:
        check_mask(raw / f"{image_id}.png", data, image_id)
        if keep_maps:
            check_fused(raw / f"{image_id}.npz", data, image_id)

    with output_run(
        out,
        facts,
        results=("*.png", f"{BEFORE_CRF}/*.png", f"{BEFORE_CRF}/*.npz"),
        images=len(ids),
        overwrite=overwrite,
        per_image=True,
    ) as run:
        run.begin()
        if distributed.rank() == 0:
            write_text(out / "classes.txt", "\n".join(["background", *data.classes.names]) + "\n")
        todo = run.left(distributed.share(ids), check)
        with closing(
            _stored(data, todo, source)
            if isinstance(source, Path)
            else fuse_list(source, data, todo, views, precision=precision)
        ) as results:
            for image_id, cams, size in results:
                if keep_maps:
                    write_fused(raw / f"{image_id}.npz", cams, size)
                mask = cams_to_mask(cams, threshold=threshold, size=size)
                if uncertain == "thresholds" and crf == "none":
                    mask = certain_mask(
                        *(cams_to_mask(cams, threshold=edge, size=size) for edge in band)
                    )
                write_mask(raw / f"{image_id}.png", mask)
        if crf != "none":
            new = set(todo)  # a mask that was refined from an older one is made again, too
            todo = [
                *todo,
                *run.left(
                    [i for i in distributed.share(ids) if i not in new],
                    lambda i: check_mask(out / f"{i}.png", data, i),
                ),
            ]
        if crf == "masks":
            refine_list(
                data, todo, masks=raw, out=out, num_workers=num_workers, mark=uncertain == "crf"
            )
        if crf == "maps":
            refine_to_masks(
                data,
                todo,
                cam_dir=raw if keep_maps else Path(str(source)),
                out=out,
                background=threshold,
                num_workers=num_workers,
                uncertain=uncertain,
                band=band,
            )
    if distributed.rank() == 0:
        log.info("wrote %d pseudo masks to %s", len(ids), out)
