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
from smaf.engine.stages.gen_pm import BEFORE_CRF
from smaf.ops import reactivation_target
from smaf.report.page import Row, write_page
from smaf.report.pictures import overlay_cam, overlay_mask, target_picture


@dataclass(frozen=True)
class Step:
    """A rung of the ladder: its name and what `smaf evaluate` wrote of it."""

    title: str
    scores: dict[str, Any]


@dataclass(frozen=True)
class Folders:
    """Where the pictures of the report come from: folders below `root`.

    Args:
        cam, fused: maps of one view, and fused ones.
        target: the refined maps, from which stage 2's target is made.
        masks: stage 3's masks, with those before CRF, if there was one, in `before_crf`.
    """

    root: Path
    cam: str
    fused: str
    target: str = "cam_refined_test"
    masks: str = "pseudo_mask"

    @property
    def crf(self) -> bool:
        """Whether the masks were refined."""
        return (self.root / self.masks / BEFORE_CRF).is_dir()


def _target(data: DataRoot, maps: Mapping[int, np.ndarray], image_id: str) -> np.ndarray:
    """(C+1, H, W): what stage 2 learns from these refined maps."""
    photo, label = data.photo(image_id), data.all_labels[image_id]
    planes = torch.zeros(1, data.num_classes, photo.height, photo.width)
    for c, plane in maps.items():
        planes[0, c] = torch.from_numpy(plane)
    shown = torch.from_numpy(label)[None]
    return reactivation_target(planes, shown, soft_background=True)[0].numpy()


def picture_row(data: DataRoot, image_id: str, folders: Folders) -> Row:
    """Photograph, CAM, fused map, reactivated target, pseudo mask, mask after CRF, truth."""
    photo, masks = data.photo(image_id), folders.root / folders.masks
    cam, fused, refined = (
        read_fused(folders.root / name / f"{image_id}.npz", num_classes=data.num_classes)
        for name in (folders.cam, folders.fused, folders.target)
    )
    before = masks / BEFORE_CRF if folders.crf else masks
    mask = read_mask(before / f"{image_id}.png", size=photo.size)
    after = read_mask(masks / f"{image_id}.png", size=photo.size)
    pictures: list[tuple[str, np.ndarray | None]] = [
        ("photograph", np.array(photo)),
        ("CAM", overlay_cam(photo, cam)),
        ("fused map", overlay_cam(photo, fused)),
        ("reactivated target", target_picture(_target(data, refined, image_id), photo.size)),
        ("pseudo mask", overlay_mask(photo, mask)),
        ("mask after CRF", overlay_mask(photo, after) if folders.crf else None),
        ("truth", overlay_mask(photo, data.mask(image_id, size=photo.size))),
    ]
    label = data.all_labels[image_id]
    shown = tuple(name for name, on in zip(data.classes.names, label, strict=True) if on)
    return Row(image_id, shown, pictures)


def write_report(
    path: Path, data: DataRoot, list_name: str, folders: Folders, ladder: Sequence[Step]
) -> None:
    """Write the page with every image of the list."""
    ids = data.ids(list_name)
    intro = [
        f"From image-level labels to masks, on the {len(ids)} images of the list {list_name}, "
        "which no training has seen. The true masks in the last column are used for the scores "
        "alone.",
        "Scores are of one confusion matrix over the list, background and "
        f"{data.num_classes} classes; background thresholds were chosen on the training list.",
    ]
    write_page(
        path,
        title="SMAF: demo report",
        intro=intro,
        ladder=[(s.title, s.scores) for s in ladder],
        rows=[picture_row(data, i, folders) for i in ids],
        classes=list(data.classes.names),
    )
