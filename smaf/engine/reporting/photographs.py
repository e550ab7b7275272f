"""The gallery's photographs of a run, each with the layers that the run has of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np
from PIL import Image

from smaf.core.errors import InputError, printable
from smaf.core.fused_maps import fused_path, read_fused
from smaf.core.images import read_mask
from smaf.core.parallel import map_parallel
from smaf.core.record import RunRecord
from smaf.engine.reporting.quality import Estimate, estimate
from smaf.engine.reporting.runs import ReportedRun
from smaf.engine.stages.gen_pm import BEFORE_CRF
from smaf.report.page import MOST, Card, Layer
from smaf.report.pictures import target_picture
from smaf.report.thumbnails import (
    MAP_SIDE,
    fitted,
    grey_uri,
    map_uri,
    mask_uri,
    photo_uri,
    picture_uri,
)

T = TypeVar("T")
_NO_SIZE = (400, 300)  # of a card without photograph and mask


def layers_of(runs: Sequence[ReportedRun], cards: Sequence[Card]) -> list[Layer]:
    """The layers that some of the photographs have, in the order of their keys."""
    kind = "EPS" if runs[0].saliency else "CAM"
    last = "self-trained map" if runs[0].saliency else "CAM"
    if runs[0].at.by_network:
        last = "network's map"
    layers = [
        Layer("cam", f"{kind} map", smooth=True),
        Layer("target", "target"),
        Layer("fused", last, smooth=True),
        Layer("mask", "mask"),
        Layer("crf", "mask + CRF"),
        Layer("network", "network"),
        Layer("truth", "truth"),
        Layer("corrected", "corrected"),
        Layer("saliency", "saliency", smooth=True),
        *(Layer(f"run{n}", f"mask of {run.name}") for n, run in enumerate(runs[1:], 1)),
    ]
    found = {key for card in cards for key in card.pictures}
    return [layer for layer in layers if layer.key in found]


def estimates_of(
    run: ReportedRun, ids: Sequence[str], *, num_workers: int = 0
) -> dict[str, Estimate]:
    """Id → the estimate of its mask."""
    run.data.labels_of(ids)  # read once, before they are handed on
    found = map_parallel(
        partial(estimate, run), ids, num_workers=num_workers, what="estimate", quiet=len(ids) < 500
    )
    return dict(zip(ids, found, strict=True))


def chosen(ids: Sequence[str], estimates: Mapping[str, Estimate], most: int = MOST) -> list[str]:
    """At most `most` of `ids`, in their order: those with true masks first, then the worst."""
    if len(ids) <= most:
        return list(ids)

    def rank(image_id: str) -> tuple[bool, float]:
        found = estimates[image_id]
        return found.iou is None, 2.0 if found.quality is None else found.quality

    kept = set(sorted(ids, key=rank)[:most])
    return [image_id for image_id in ids if image_id in kept]


def cards_of(
    runs: Sequence[ReportedRun], estimates: Mapping[str, Estimate], *, num_workers: int = 0
) -> list[Card]:
    """The photographs' cards, in the order of `estimates`: the first run's layers, all masks."""
    ids = list(estimates)
    make = partial(_card, list(runs))
    tasks = [(image_id, estimates[image_id]) for image_id in ids]
    quiet = len(ids) < 500
    return map_parallel(make, tasks, num_workers=num_workers, what="pictures", quiet=quiet)


def _card(runs: Sequence[ReportedRun], task: tuple[str, Estimate]) -> Card:
    """In a worker: a photograph's card; without the photograph it has the size of a mask."""
    (image_id, found), run = task, runs[0]
    name, faults = run.photo_name(image_id), list(found.faults)
    photo = _photo(run, image_id, faults)
    whole = _mask_size(run, image_id) if photo is None else photo.size
    classes = np.flatnonzero(run.data.all_labels[image_id]).tolist()
    made = {} if whole is None else _layers(runs, image_id, whole)
    read = {key: layer() for key, layer in made.items()}
    return Card(
        name,
        fitted(whole or _NO_SIZE),
        None if photo is None else photo_uri(photo),
        classes,
        {key: uri for key, uri in read.items() if uri is not None},
        found.quality,
        found.iou,
        also="" if image_id == PurePath(name).stem else printable(image_id),
        fault="; ".join(faults),
    )


def _photo(run: ReportedRun, image_id: str, faults: list[str]) -> Image.Image | None:
    """The photograph; where there is none that can be read, what is wrong goes to `faults`."""
    try:
        return run.data.photo(image_id)
    except FileNotFoundError:
        faults.append("the photograph is gone")
    except (InputError, OSError):
        faults.append("the photograph cannot be read")
    return None


def _mask_size(run: ReportedRun, image_id: str) -> tuple[int, int] | None:
    """The (width, height) of the mask of a photograph; None where there is none that serves."""
    mask = _or_none(lambda: read_mask(run.at.masks / f"{image_id}.png"))
    return None if mask is None else (mask.shape[1], mask.shape[0])


def _layers(
    runs: Sequence[ReportedRun], image_id: str, size: tuple[int, int]
) -> dict[str, Callable[[], str | None]]:
    """Layer key → what makes its picture of a photograph of this size (W, H)."""
    run, at, name = runs[0], runs[0].at, f"{image_id}.png"
    plane = partial(_map, run, image_id, size)
    masks = {
        "mask": at.masks / BEFORE_CRF / name,
        "crf": at.masks / name,
        "network": at.network_masks / name,
        **{f"run{n}": other.at.masks / name for n, other in enumerate(runs[1:], 1)},
    }
    return {
        "cam": lambda: plane(at.fused),
        "target": lambda: _target(run, image_id, size),
        "fused": lambda: plane(at.maps),
        **{key: partial(_mask, path, size) for key, path in masks.items()},
        "truth": lambda: _or_none(lambda: mask_uri(run.data.mask(image_id, size=size))),
        "corrected": lambda: _or_none(lambda: mask_uri(run.data.corrected(image_id, size=size))),
        "saliency": lambda: _or_none(lambda: grey_uri(run.data.saliency(image_id))),
    }


def _map(run: ReportedRun, image_id: str, size: tuple[int, int], folder: Path) -> str | None:
    """The strongest of the photograph's fused maps."""
    cams = _or_none(lambda: _read(run, folder, image_id, size))
    if cams is None:
        return None
    return map_uri(np.max(list(cams.values()), axis=0) if cams else np.zeros((1, 1)))


def _read(
    run: ReportedRun, folder: Path, image_id: str, size: tuple[int, int]
) -> dict[int, np.ndarray]:
    path = fused_path(folder, image_id)
    return read_fused(path, num_classes=run.data.num_classes, size=size)


def _target(run: ReportedRun, image_id: str, size: tuple[int, int]) -> str | None:
    """What stage 2 learned, in small: made of the maps that the student's record speaks of."""
    folder = run.at.refined if run.at.refined.is_dir() else run.at.fused
    cams = _or_none(lambda: _read(run, folder, image_id, size))
    entry = RunRecord(run.at.student.parent, {}).previous()
    if cams is None or entry is None:
        return None
    import torch  # seconds that photographs without a target do not need

    from smaf.ops import reactivation_target

    small = fitted(size, MAP_SIDE)
    planes = torch.zeros(1, run.data.num_classes, small[1], small[0])
    for c, cam in cams.items():
        planes[0, c] = torch.from_numpy(np.array(Image.fromarray(cam).resize(small)))
    label = torch.from_numpy(run.data.all_labels[image_id])[None]
    soft = bool(entry["settings"].get("soft_background", False))
    target = reactivation_target(planes, label, soft_background=soft)[0].numpy()
    return picture_uri(target_picture(target, small))


def _mask(path: Path, size: tuple[int, int]) -> str | None:
    return _or_none(lambda: mask_uri(read_mask(path, size=size)))


def _or_none(read: Callable[[], T]) -> T | None:
    """What `read` gives; None where there is no such file, or none that serves."""
    try:
        return read()
    except (InputError, FileNotFoundError):
        return None
