"""What speed.py times, each on two sides: this project's way ("ours") and the published one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from materials import CAMS, CAMS_PUBLISHED, LIST, PREDICTIONS, smooth_noise
from published import procedures
from published import steps as published_steps
from published.networks import PlainResNet38, plain
from published.procedures import MEAN, STD, classifier_sample, self_training_sample
from steps import CLASSES, Batch, Step, groups_of, training_step
from torch import Tensor

from smaf.core.images import read_mask
from smaf.core.views import Views
from smaf.data.augment import Augmentation, Geometry
from smaf.data.layout import DataRoot, open_data
from smaf.data.streams import FusedStream, SaliencyStream
from smaf.engine.evaluation import evaluate_masks
from smaf.engine.fused import fuse_list
from smaf.models import build_classifier
from smaf.ops.crf import crf_labels, crf_softmax

SIDES = ("published", "ours")
Result = dict[str, np.ndarray]  # in what both sides must agree
_QUICK_CROP = 64


@dataclass(frozen=True)
class Ground:
    """What a measurement works on: the data set's folder, and whether all is tiny."""

    root: Path
    quick: bool

    @property
    def data(self) -> DataRoot:
        """The data set."""
        return open_data(self.root)


@dataclass(frozen=True)
class Work:
    """What is timed: `run` does `units` of a row's unit; `warm` comes first, by default `run`."""

    run: Callable[[], Result]
    units: int = 1
    warm: Callable[[], object] | None = None


def fuse(network: str, photographs: int, side: str, ground: Ground) -> Work:
    """Fused maps of the set's first photographs, with the same random weights on both sides."""
    data = ground.data
    ids = data.ids(LIST)[:photographs]
    torch.manual_seed(0)
    model = build_classifier(network, num_classes=CLASSES)
    small = torch.zeros(2, 3, 64, 64)  # a first pass loads libraries
    if side == "ours":
        model = model.to(memory_format=torch.channels_last)
        return Work(
            lambda: {
                f"{photo.image_id} {c}": cam
                for photo in fuse_list(model, data, ids, Views())
                for c, cam in photo.cams.items()
            },
            units=len(ids),
            warm=lambda: model(small),
        )
    written = plain(model).eval()

    def fused() -> Result:
        maps = (procedures.fuse(written, data.photo(i), data.all_labels[i]) for i in ids)
        return {
            f"{image_id} {c}": cam
            for image_id, cams in zip(ids, maps, strict=True)
            for c, cam in cams.items()
        }

    return Work(fused, units=len(ids), warm=lambda: written(small))


def _photo_and_mask(ground: Ground) -> tuple[np.ndarray, np.ndarray]:
    """A photograph (H, W, 3), and a mask of background and two classes."""
    data = ground.data
    image_id = data.ids(LIST)[0]
    found = read_mask(ground.root / PREDICTIONS / f"{image_id}.png") > 0
    middle = np.median(np.nonzero(found)[1])
    mask = np.where(found, np.where(np.arange(found.shape[1]) < middle, 8, 15), 0)
    return np.asarray(data.photo(image_id)), mask.astype(np.uint8)


def crf_of_labels(side: str, ground: Ground) -> Work:
    photo, mask = _photo_and_mask(ground)
    refine = crf_labels if side == "ours" else procedures.crf_of_labels
    return Work(lambda: {"mask": refine(photo, mask, num_classes=CLASSES + 1)})


def crf_of_softmax(labels: int, side: str, ground: Ground) -> Work:
    photo, _ = _photo_and_mask(ground)
    rng, size = np.random.default_rng(labels), photo.shape[1::-1]
    scores = np.stack([smooth_noise(rng, size) for _ in range(labels)])
    odds = np.exp(6 * scores)
    probability = (odds / odds.sum(axis=0)).astype(np.float32)
    if side == "published":
        return Work(lambda: {"mask": procedures.crf_of_softmax(photo, probability)})
    return Work(lambda: {"mask": crf_softmax(photo, probability).argmax(axis=0).astype(np.uint8)})


def samples(stage: int, side: str, ground: Ground) -> Work:
    """Samples of stage 0 or 2: the same photographs, sizes and crops on both sides."""
    data = ground.data
    ids, crop = data.ids(LIST), _QUICK_CROP if ground.quick else 448
    ranges = Augmentation(crop=crop, jitter=(0.3, 0.3, 0.3, 0.1) if stage == 0 else None)
    how: Any = {"seed": 1, "augmentation": ranges, "mean": MEAN, "std": STD}
    maps = ground.root / CAMS
    stream: SaliencyStream | FusedStream = (
        SaliencyStream(data, ids, **how)
        if stage == 0
        else FusedStream(data, ids, maps_folder=maps, **how)
    )
    name = "saliency" if stage == 0 else "fused"
    if side == "ours":
        return Work(
            lambda: {name: np.stack([stream[k][name].numpy() for k in range(len(ids))])}, len(ids)
        )
    order = [ids[stream.place(k)] for k in range(len(ids))]
    drawn = [
        Geometry.draw(np.random.default_rng((how["seed"], 1, k)), data.photo(i).size, ranges)
        for k, i in enumerate(order)
    ]

    def one(image_id: str, geometry: Geometry) -> Tensor:
        photo = data.photo_path(image_id)
        if stage == 0:
            return classifier_sample(photo, data.saliency_path(image_id), geometry)[1]
        stored = ground.root / CAMS_PUBLISHED / f"{image_id}.npy"
        return self_training_sample(photo, stored, geometry, num_classes=CLASSES)[1]

    return Work(
        lambda: {name: np.stack([one(*k).numpy() for k in zip(order, drawn, strict=True)])},
        len(ids),
    )


def evaluate(side: str, ground: Ground) -> Work:
    data, folder = ground.data, ground.root / PREDICTIONS
    ids = data.ids(LIST)
    pairs = [(folder / f"{i}.png", data.mask_path(i)) for i in ids]

    def ours() -> Result:
        found = evaluate_masks(ground.data, list_name=LIST, pred_dir=folder).matrix.compute()
        return {"iou": np.asarray(found["iou"])}

    def published() -> Result:
        return {"iou": procedures.evaluate(pairs, num_classes=CLASSES + 1)}

    return Work(ours if side == "ours" else published, len(ids))


_LOSSES = {
    0: published_steps.eps_loss,
    2: published_steps.self_training_loss,
    4: published_steps.segmentation_loss,
}


def train(step: Step, side: str, ground: Ground) -> Work:
    """Steps on one batch; both sides agree in the loss of the first one, dropout included."""
    if ground.quick:
        step = Step(step.stage, step.network, 2, _QUICK_CROP)
    # At the published rate random weights diverge, to numbers that processors are slow with
    optim = replace(step.loop.optim, lr=1e-6)
    model, batch, loop = step.build(), step.batch(), replace(step.loop, accumulate=1, optim=optim)
    run: Callable[[Batch], float]
    if side == "ours":
        run = training_step(model, step.task(model), loop)
    else:
        written = plain(model)
        trained = written.model if isinstance(written, PlainResNet38) else written
        groups = groups_of(trained, loop.optim)
        run = published_steps.step(written, _LOSSES[step.stage], groups, loop.optim)
    torch.manual_seed(0)
    first = {"loss": np.array([run(batch)])}

    def timed() -> Result:
        run(batch)
        return first

    return Work(timed)
