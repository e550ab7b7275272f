"""Fused maps of a list: made by a classifier, or read from a folder and checked."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from smaf.core.class_maps import ClassMaps
from smaf.core.device import autocast
from smaf.core.errors import InputError, MissingInputError, during
from smaf.core.fused_maps import fused_path, fused_paths, read_fused
from smaf.core.record import RunRecord
from smaf.core.views import Views
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.models import Classifier, attention_of, for_inference
from smaf.ops import fuse_cams

log = logging.getLogger("smaf")
T = TypeVar("T")


class FusedPhoto(NamedTuple):
    """A photograph of a list and the fused maps of its labelled classes."""

    image_id: str
    photo: Image.Image
    cams: ClassMaps  # class index → (H, W) float32 in 0..1

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.photo.height, self.photo.width


def read_ahead(items: Sequence[str], read: Callable[[str], T], *, ahead: int = 4) -> Iterator[T]:
    """Read items in a thread while the caller works on earlier ones; errors come in their place."""
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[T]] = [pool.submit(read, item) for item in items[:ahead]]
        for index in range(len(items)):
            if index + ahead < len(items):
                waiting.append(pool.submit(read, items[index + ahead]))
            try:
                yield waiting.pop(0).result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def fuse_list(
    model: Classifier,
    data: DataRoot,
    ids: Sequence[str],
    views: Views,
    *,
    precision: str = "fp32",
    attending: list[nn.Module] | None = None,
) -> Generator[FusedPhoto, None, None]:
    """Fuse the views of each image of `ids`, with a progress bar.

    The maps are refined by the attention of the layers `attending` of a transformer
    (:func:`smaf.models.attention_layers`), where there are any.
    """
    device = next(model.parameters()).device
    network = for_inference(model.eval(), precision=precision)
    # A light network's views run side by side; a heavy one's gain nothing, at twice the memory
    at_once = 2 if network is not model and torch.get_num_threads() > 1 else 1
    labels = data.labels_of(ids)
    told: set[str] = set()
    bar = tqdm(
        zip(ids, read_ahead(ids, data.photo), labels, strict=True),
        total=len(ids),
        unit="image",
        mininterval=1.0,
        disable=distributed.rank() > 0,
    )
    for image_id, photo, label in bar:
        with (
            attention_of(attending) if attending else nullcontext() as attention,
            during(f"fusing the views of {data.photo_path(image_id)}"),
            autocast(device, precision),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            cams = fuse_cams(
                network, photo, label, views=views, at_once=at_once, attention=attention
            )
        for entry in caught:  # the size cap's, and others
            if (place := f"{entry.filename}:{entry.lineno}") not in told:
                log.warning("warning: %s; said once", entry.message)
                told.add(place)
        yield FusedPhoto(image_id, photo, cams)


def stored_list(
    folder: Path, data: DataRoot, ids: Sequence[str]
) -> Generator[FusedPhoto, None, None]:
    """Read the fused maps of each image of `ids` from a folder; those of its labels are kept."""
    for image_id in ids:
        photo, label = data.photo(image_id), data.all_labels[image_id]
        path = fused_path(folder, image_id)
        cams = read_fused(path, num_classes=data.num_classes, size=photo.size)
        yield FusedPhoto(image_id, photo, {c: cam for c, cam in cams.items() if label[c]})


def check_classes(folder: Path, data: DataRoot) -> None:
    """Refuse maps or masks whose folder says that they were made with another class list."""
    entry = RunRecord(folder, {}).previous()
    names = (entry or {}).get("settings", {}).get("class_list")
    if names is not None and names != list(data.classes.names):
        raise InputError(
            f"{folder} was made with the classes {', '.join(names)}; the data set keeps "
            f"{', '.join(data.classes.names)}: name the right --classes, or another folder"
        )


def check_fused(path: Path, data: DataRoot, image_id: str) -> None:
    """Check that a stored fused map is whole and of the photograph's labels.

    Raises :class:`InputError` where it is not, and FileNotFoundError where there is no file.
    """
    stored = set(read_fused(path, num_classes=data.num_classes))
    labelled = set(np.flatnonzero(data.all_labels[image_id]).tolist())
    if stored != labelled:
        names = [[data.classes.names[c] for c in sorted(classes)] for classes in (stored, labelled)]
        raise InputError(
            f"fused map {path} is of {', '.join(names[0]) or 'no class'}, the labels are now "
            f"{', '.join(names[1]) or 'none'}"
        )


def require_fused(folder: Path, ids: Sequence[str], data: DataRoot) -> None:
    """Check that the fused map of each id is there, and of the data set's classes."""
    found = distributed.find_all(lambda: fused_paths(folder, ids), len(ids))
    missing = [image_id for image_id in ids if image_id not in found]
    if missing:
        raise MissingInputError(
            f"fused map {fused_path(folder, missing[0])} (and {len(missing) - 1} more) does not "
            "exist: run stage 1 (gen_fusion) on this list, or name its folder with --cam_dir"
        )
    check_classes(folder, data)
