"""The demo's page: its ladder, and a gallery of what the stages wrote."""

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
from smaf.ops.quality import photograph_iou
from smaf.report.charts import bars
from smaf.report.page import Card, Chart, Gallery, Layer, Page, Section, Table, write_page
from smaf.report.pictures import overlay_cam, overlay_mask, target_picture
from smaf.report.thumbnails import fitted, map_uri, mask_uri, photo_uri, picture_uri

_LAYERS = (
    Layer("cam", "CAM", smooth=True),
    Layer("fused", "fused map", smooth=True),
    Layer("target", "target"),
    Layer("mask", "mask"),
    Layer("crf", "mask + CRF"),
    Layer("truth", "truth"),
)
_SCORES = ("miou", "precision", "recall", "accuracy")


@dataclass(frozen=True)
class Row:
    """The pictures of one image, each with its caption.

    A picture is (H, W, 3) uint8 RGB, or None where it could not be made.
    """

    image_id: str
    labels: tuple[str, ...]
    pictures: Sequence[tuple[str, np.ndarray | None]]


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


@dataclass(frozen=True)
class _Made:
    """What the stages made of a photograph: maps by class index, and masks (H, W)."""

    cam: Mapping[int, np.ndarray]
    fused: Mapping[int, np.ndarray]
    target: np.ndarray
    mask: np.ndarray
    crf: np.ndarray | None
    truth: np.ndarray


def _made(data: DataRoot, image_id: str, folders: Folders) -> _Made:
    size, masks = data.photo(image_id).size, folders.root / folders.masks
    cam, fused, refined = (
        read_fused(folders.root / name / f"{image_id}.npz", num_classes=data.num_classes)
        for name in (folders.cam, folders.fused, folders.target)
    )
    before = masks / BEFORE_CRF if folders.crf else masks
    after = read_mask(masks / f"{image_id}.png", size=size)
    return _Made(
        cam,
        fused,
        _target(data, refined, image_id),
        read_mask(before / f"{image_id}.png", size=size),
        after if folders.crf else None,
        data.mask(image_id, size=size),
    )


def picture_row(data: DataRoot, image_id: str, folders: Folders) -> Row:
    """Photograph, CAM, fused map, reactivated target, pseudo mask, mask after CRF, truth."""
    photo, made = data.photo(image_id), _made(data, image_id, folders)
    pictures: list[tuple[str, np.ndarray | None]] = [
        ("photograph", np.array(photo)),
        ("CAM", overlay_cam(photo, made.cam)),
        ("fused map", overlay_cam(photo, made.fused)),
        ("reactivated target", target_picture(made.target, photo.size)),
        ("pseudo mask", overlay_mask(photo, made.mask)),
        ("mask after CRF", None if made.crf is None else overlay_mask(photo, made.crf)),
        ("truth", overlay_mask(photo, made.truth)),
    ]
    label = data.all_labels[image_id]
    shown = tuple(name for name, on in zip(data.classes.names, label, strict=True) if on)
    return Row(image_id, shown, pictures)


def _card(data: DataRoot, image_id: str, folders: Folders) -> Card:
    photo, made = data.photo(image_id), _made(data, image_id, folders)
    size, empty = fitted(photo.size), np.zeros((1, 1))
    pictures = {
        "cam": map_uri(np.max(list(made.cam.values()) or [empty], axis=0)),
        "fused": map_uri(np.max(list(made.fused.values()) or [empty], axis=0)),
        "target": picture_uri(target_picture(made.target, size)),
        "mask": mask_uri(made.mask),
        **({} if made.crf is None else {"crf": mask_uri(made.crf)}),
        "truth": mask_uri(made.truth),
    }
    classes = np.flatnonzero(data.all_labels[image_id]).tolist()
    iou = photograph_iou(made.mask if made.crf is None else made.crf, made.truth, classes)
    return Card(image_id, size, photo_uri(photo), classes, pictures, iou=iou)


def _ladder(ladder: Sequence[Step]) -> Section:
    titles = [step.title for step in ladder]
    mious = [float(step.scores["miou"]) for step in ladder]
    told = ", ".join(f"{t} {100 * v:.1f} %" for t, v in zip(titles, mious, strict=True))
    chart = Chart("mIoU", bars("ladder", f"mIoU: {told}", titles, {"mIoU": mious}))
    rows = [[step.title, *(step.scores.get(key) for key in _SCORES)] for step in ladder]
    head = ["stage", "mIoU", "precision", "recall", "accuracy"]
    return Section("scores", "Scores", [], [chart], [Table("Scores, %", head, rows)])


def write_report(
    path: Path, data: DataRoot, list_name: str, folders: Folders, ladder: Sequence[Step]
) -> None:
    """Write the page with every image of the list."""
    ids = data.ids(list_name)
    intro = [
        f"From image-level labels to masks, on the {len(ids)} images of the list {list_name}, "
        "which no training has seen. True masks are used for the scores alone.",
        "Scores are of one confusion matrix over the list, background and "
        f"{data.num_classes} classes; background thresholds were chosen on the training list.",
    ]
    cards = [_card(data, image_id, folders) for image_id in ids]
    layers = [layer for layer in _LAYERS if any(layer.key in card.pictures for card in cards)]
    gallery = Gallery(cards, layers, "crf" if folders.crf else "mask")
    sections = [_ladder(ladder)] if ladder else []
    write_page(path, Page("SMAF: demo report", data.classes.names, intro, sections, gallery))
