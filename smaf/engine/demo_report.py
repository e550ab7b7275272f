"""The demo's page: one row of pictures an image, from what the stages wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask
from smaf.data.layout import DataRoot
from smaf.engine.pseudo_masks import BEFORE_CRF
from smaf.ops import reactivation_target
from smaf.report.page import Row, write_page
from smaf.report.pictures import overlay_cam, overlay_mask, target_picture


@dataclass(frozen=True)
class Step:
    """A rung of the ladder: its name and what `smaf evaluate` wrote of it."""

    title: str
    scores: dict[str, Any]


def picture_row(
    data: DataRoot,
    image_id: str,
    folder: Path,
    *,
    cams: Mapping[str, str],
    target: str,
    masks: str,
    crf: bool,
) -> Row:
    """Photograph, CAM, fused map, reactivated target, pseudo mask, mask after CRF, truth.

    `cams` names the folders (below `folder`) of "CAM" and "fused map", `target` that of the refined
    maps that stage 2 learns from, `masks` that of stage 3's masks.
    """
    photo = data.photo(image_id)
    label = data.all_labels[image_id]
    maps = {
        title: read_fused(folder / name / f"{image_id}.npz", num_classes=data.num_classes)
        for title, name in cams.items()
    }
    planes = torch.zeros(1, data.num_classes, photo.height, photo.width)
    for c, plane in read_fused(
        folder / target / f"{image_id}.npz", num_classes=data.num_classes
    ).items():
        planes[0, c] = torch.from_numpy(plane)
    reactivated = reactivation_target(planes, torch.from_numpy(label)[None], soft_background=True)[
        0
    ].numpy()
    refined = read_mask(folder / masks / f"{image_id}.png", size=photo.size)
    mask = (
        read_mask(folder / masks / BEFORE_CRF / f"{image_id}.png", size=photo.size)
        if crf
        else refined
    )
    pictures: list[tuple[str, np.ndarray | None]] = [
        ("photograph", np.array(photo)),
        ("CAM", overlay_cam(photo, maps["CAM"])),
        ("fused map", overlay_cam(photo, maps["fused map"])),
        ("reactivated target", target_picture(reactivated, photo.size)),
        ("pseudo mask", overlay_mask(photo, mask)),
        ("mask after CRF", overlay_mask(photo, refined) if crf else None),
        ("truth", overlay_mask(photo, data.mask(image_id, size=photo.size))),
    ]
    return Row(
        image_id,
        tuple(name for name, on in zip(data.classes.names, label, strict=True) if on),
        pictures,
    )


def write_report(
    path: Path,
    data: DataRoot,
    list_name: str,
    folder: Path,
    ladder: Sequence[Step],
    *,
    cams: Mapping[str, str],
    target: str,
    crf: bool,
    masks: str = "pseudo_mask",
) -> None:
    """Write the page with every image of the list."""
    ids = data.ids(list_name)
    rows = [
        picture_row(data, i, folder, cams=cams, target=target, masks=masks, crf=crf) for i in ids
    ]
    intro = [
        f"From image-level labels to masks, on the {len(ids)} images of the list {list_name}, "
        "which no training has seen. The true masks in the last column are used for the scores "
        "alone.",
        "Scores are of one confusion matrix over the list, background and "
        f"{data.num_classes} classes; background thresholds were chosen on the training list.",
    ]
    if not crf:
        intro.append("pydensecrf2 is not installed here, so there are no masks after CRF.")
    write_page(
        path,
        title="SMAF: demo report",
        intro=intro,
        ladder=[(s.title, s.scores) for s in ladder],
        rows=rows,
        classes=list(data.classes.names),
    )
