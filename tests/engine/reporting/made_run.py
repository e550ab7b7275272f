"""A run's folder made by hand on the small data set: maps and masks of the truth, a little off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from small_set import CLASSES, PICTURES, TRAIN, make_set

from smaf.core.fused_maps import write_fused
from smaf.core.images import write_mask
from smaf.core.record import RunRecord
from smaf.data.layout import open_data
from smaf.engine.pipeline import RunPlaces
from smaf.engine.stages.gen_pm import BEFORE_CRF

THRESHOLD = 0.4
SETTINGS = {
    "recipe": "light",
    "seed": 1,
    "saliency": True,
    "class_list": list(CLASSES),
    "source_classes": list(CLASSES),
}


def make_run(folder: Path, root: Path, *, shift: int = 1, **settings: Any) -> RunPlaces:
    """Write a run: masks are the truth, but for p6's, which is moved by `shift` pixels."""
    root = root if root.is_dir() else make_set(root)
    data, at = open_data(root), RunPlaces(folder, root)
    for image_id in PICTURES:
        truth = data.mask(image_id)
        values = np.where(truth == 255, 0, truth).astype(np.uint8)
        mask = np.roll(values, shift, axis=1) if image_id == "p6" else values
        cams = {
            c: np.where(values == c + 1, 0.9, 0.1).astype(np.float32)
            for c in np.flatnonzero(data.all_labels[image_id]).tolist()
        }
        for place in (at.student_maps, at.fused, at.refined):
            if place == at.student_maps or image_id in TRAIN:
                write_fused(place / f"{image_id}.npz", cams, values.shape)
        write_mask(at.masks / BEFORE_CRF / f"{image_id}.png", values)
        write_mask(at.masks / f"{image_id}.png", mask)
    for image_id in ("p6", "p7"):
        write_mask(at.network_masks / f"{image_id}.png", np.zeros_like(data.mask(image_id)))
    lists = {"train": TRAIN, "photographs": PICTURES, "thresholds": TRAIN, "scored": ("p6", "p7")}
    for name, ids in lists.items():
        at.list(name).parent.mkdir(exist_ok=True)
        at.list(name).write_text("".join(f"{i}\n" for i in ids))
    RunRecord(at.student.parent, {"soft_background": True}).write(finished=True)
    (folder / "steps.json").write_text(json.dumps({"seconds": {"train_eps": 12.4}}))
    RunRecord(folder, {**SETTINGS, **settings}).write(
        finished=True,
        data_set={"folder": str(root), "photographs": 8, "classes": {"ball": 3}},
        thresholds={"background": {"threshold": THRESHOLD, "from": "6 true masks"}},
    )
    return at
