"""Stage 1: fused maps of every image on a list. Also the first half of stage 3."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from smaf.core.device import autocast
from smaf.core.errors import InputError, MissingInputError, during
from smaf.core.fused_maps import read_fused, write_fused, write_published
from smaf.core.record import RunRecord
from smaf.core.views import Views
from smaf.data.layout import DataRoot
from smaf.data.streams import fused_path
from smaf.engine import distributed
from smaf.engine.outputs import output_run
from smaf.models import Classifier
from smaf.ops import fuse_cams

log = logging.getLogger("smaf")
T = TypeVar("T")
CAM_FORMATS = ("npz", "npy")


def read_ahead(items: Sequence[str], read: Callable[[str], T], *, ahead: int = 4) -> Iterator[T]:
    """Read items in a thread while the caller works on earlier ones; errors are raised in their
    place."""
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


Fused = tuple[str, dict[int, np.ndarray], tuple[int, int]]


def fuse_list(
    model: Classifier, data: DataRoot, ids: Sequence[str], views: Views, *, precision: str = "fp32"
) -> Generator[Fused, None, None]:
    """Yield (id, fused maps of the labelled classes, (H, W)) for each image, with a progress
    bar."""
    device = next(model.parameters()).device
    labels = data.labels_of(ids)
    told: set[str] = set()
    photos = read_ahead(ids, data.photo)
    bar = tqdm(
        zip(ids, photos, labels, strict=True),
        total=len(ids),
        unit="image",
        mininterval=1.0,
        disable=distributed.rank() > 0,
    )
    for image_id, photo, label in bar:
        with (
            during(f"fusing the views of {data.photo_path(image_id)}"),
            autocast(device, precision),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            cams = fuse_cams(model, photo, label, views=views)
        for entry in caught:  # the size cap's, and others
            if (place := f"{entry.filename}:{entry.lineno}") not in told:
                log.warning("warning: %s; said once", entry.message)
                told.add(place)
        yield image_id, cams, (photo.height, photo.width)


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
    """Check that a stored map is whole and of the image's labels: :class:`InputError`, or
    FileNotFoundError."""
    stored = set(read_fused(path, num_classes=data.num_classes))
    labelled = set(np.flatnonzero(data.all_labels[image_id]).tolist())
    if stored != labelled:
        names = [[data.classes.names[c] for c in sorted(classes)] for classes in (stored, labelled)]
        raise InputError(
            f"fused map {path} is of {', '.join(names[0]) or 'no class'}, the labels are now "
            f"{', '.join(names[1])}"
        )


def require_fused(folder: Path, ids: Sequence[str], data: DataRoot) -> None:
    """Check that the fused map of each id is there, and of the data set's classes."""
    missing = [i for i in ids if not fused_path(folder, i).is_file()]
    if missing:
        raise MissingInputError(
            f"fused map {fused_path(folder, missing[0])} (and {len(missing) - 1} more) does not "
            "exist: run stage 1 (gen_fusion) on this list, or name its folder with --cam_dir"
        )
    check_classes(folder, data)


def gen_fusion(
    model: Classifier,
    data: DataRoot,
    *,
    list_name: str,
    views: Views,
    out: Path,
    facts: Mapping[str, Any],
    device: torch.device,
    precision: str = "fp32",
    cam_format: str = "npz",
    overwrite: bool = False,
) -> None:
    """Run stage 1: write `out/<id>.npz` (or the published `.npy`) for each image; those that are
    there stay."""
    if cam_format not in CAM_FORMATS:
        raise InputError(f"--cam_format {cam_format}: expected one of {', '.join(CAM_FORMATS)}")
    ids = data.ids(list_name)
    data.labels_of(ids)
    data.require(ids)
    share = distributed.share(ids)
    model = model.to(device).to(memory_format=torch.channels_last)
    with output_run(
        out,
        facts,
        results=[f"*.{suffix}" for suffix in CAM_FORMATS],
        images=len(ids),
        overwrite=overwrite,
        per_image=True,
    ) as run:
        run.begin()
        todo = run.left(share, lambda i: check_fused(out / f"{i}.{cam_format}", data, i))
        with (
            ThreadPoolExecutor(1) as writer,
            closing(fuse_list(model, data, todo, views, precision=precision)) as results,
        ):
            pending: Future[None] | None = None
            for image_id, cams, size in results:
                if pending is not None:
                    pending.result()
                path = out / f"{image_id}.{cam_format}"
                pending = (
                    writer.submit(write_fused, path, cams, size)
                    if cam_format == "npz"
                    else writer.submit(write_published, path, cams)
                )
            if pending is not None:
                pending.result()
    if distributed.rank() == 0:
        log.info("wrote %d fused maps to %s", len(ids), out)
