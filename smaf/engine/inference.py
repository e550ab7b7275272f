"""Stage 1: fused maps of every image on a list. Also the first half of stage 3."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from smaf.core.device import autocast
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import output_folder
from smaf.core.fused_maps import write_fused, write_published
from smaf.core.record import RECORD, RunRecord
from smaf.data.layout import DataRoot
from smaf.data.streams import fused_path
from smaf.engine import distributed
from smaf.models import Classifier
from smaf.ops import MAX_VIEW_PIXELS, SCALES, fuse_cams

log = logging.getLogger("smaf")
T = TypeVar("T")
CAM_FORMATS = ("npz", "npy")


@dataclass(frozen=True)
class ViewSettings:
    """Which views are fused; see :func:`smaf.ops.fuse_cams`."""

    scales: tuple[float, ...] = SCALES
    flip: bool = True
    long_side: int | None = None
    max_pixels: int = MAX_VIEW_PIXELS
    precision: str = "fp32"
    label_filter: str = "maps"


def read_ahead(items: Sequence[str], read: Callable[[str], T], *, ahead: int = 4) -> Iterator[T]:
    """Read items in a thread while the caller works on earlier ones; errors are raised in their place."""
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


class _CapNotice:
    """Turns the size cap's warnings into one line for the whole run."""

    def __init__(self) -> None:
        self.given = False

    def __call__(self, message: Warning | str, *_: Any, **__: Any) -> None:
        if not self.given:
            log.warning("warning: %s; said once", message)
        self.given = True


Fused = tuple[str, dict[int, np.ndarray], tuple[int, int]]


def fuse_list(model: Classifier, data: DataRoot, ids: Sequence[str], views: ViewSettings
              ) -> Generator[Fused, None, None]:
    """Yield (id, fused maps of the labelled classes, (H, W)) for each image, with a progress bar."""
    device = next(model.parameters()).device
    labels = data.labels_of(ids)
    notice = _CapNotice()
    photos = read_ahead(ids, data.photo)
    bar = tqdm(zip(ids, photos, labels, strict=True), total=len(ids), unit="image", mininterval=1.0,
               disable=distributed.rank() > 0)
    for image_id, photo, label in bar:
        with warnings.catch_warnings(record=True) as caught, autocast(device, views.precision):
            warnings.simplefilter("always")
            cams = fuse_cams(model, photo, label, scales=views.scales, flip=views.flip, long_side=views.long_side,
                             max_pixels=views.max_pixels, label_filter=views.label_filter)
        for entry in caught:
            notice(entry.message)
        yield image_id, cams, (photo.height, photo.width)


def start_folder(folder: Path, facts: Mapping[str, Any], *, overwrite: bool, patterns: Sequence[str]) -> RunRecord:
    """Make an output folder, drop its results where `overwrite`, and check that the rest has the same settings.

    Results without a record of their run are neither taken nor dropped: the folder may be that of the true masks.
    """
    output_folder(folder)
    record = RunRecord(folder, facts)
    results = [path for pattern in patterns for path in folder.glob(pattern)]
    if results and not record.path.is_file():
        raise InputError(f"output folder {folder} holds {results[0].name}, which no recorded run made (it has no "
                         f"{RECORD}): choose another folder with --out")
    distributed.wait_for_all()
    if overwrite and distributed.rank() == 0:
        for path in [*results, record.path]:
            path.unlink(missing_ok=True)
    distributed.wait_for_all()
    record.check_same(free=("device", "num_workers", "list"))
    return record


def check_classes(folder: Path, data: DataRoot) -> None:
    """Refuse maps or masks whose folder says that they were made with another class list."""
    entry = RunRecord(folder, {}).previous()
    names = (entry or {}).get("settings", {}).get("class_list")
    if names is not None and names != list(data.classes.names):
        raise InputError(f"{folder} was made with the classes {', '.join(names)}; the data set keeps "
                         f"{', '.join(data.classes.names)}: name the right --classes, or another folder")


def require_fused(folder: Path, ids: Sequence[str], data: DataRoot) -> None:
    """Check that the fused map of each id is there, and of the data set's classes."""
    missing = [i for i in ids if not fused_path(folder, i).is_file()]
    if missing:
        raise MissingInputError(f"fused map {fused_path(folder, missing[0])} (and {len(missing) - 1} more) does not "
                                "exist: run stage 1 (gen_fusion) on this list, or name its folder with --cam_dir")
    check_classes(folder, data)


def gen_fusion(model: Classifier, data: DataRoot, *, list_name: str, views: ViewSettings, out: Path,
               facts: Mapping[str, Any], device: torch.device, cam_format: str = "npz",
               overwrite: bool = False) -> None:
    """Run stage 1: write `out/<id>.npz` (or the published `.npy`) for each image; those that are there stay."""
    if cam_format not in CAM_FORMATS:
        raise InputError(f"--cam_format {cam_format}: expected one of {', '.join(CAM_FORMATS)}")
    ids = data.ids(list_name)
    data.labels_of(ids)
    data.require(ids)
    record = start_folder(out, facts, overwrite=overwrite, patterns=[f"*.{suffix}" for suffix in CAM_FORMATS])
    share = distributed.share(ids)  # before files are looked for: another process may have begun to write
    todo = [i for i in share if not (out / f"{i}.{cam_format}").is_file()]
    if len(todo) < len(share):
        log.info("%s: %d of %d images are done; --overwrite does them again", out, len(share) - len(todo), len(share))
    if distributed.rank() == 0:
        record.write(finished=False, images=len(ids))
    model = model.to(device).to(memory_format=torch.channels_last)
    with ThreadPoolExecutor(1) as writer, closing(fuse_list(model, data, todo, views)) as results:
        pending: Future[None] | None = None
        for image_id, cams, size in results:
            if pending is not None:
                pending.result()
            path = out / f"{image_id}.{cam_format}"
            pending = (writer.submit(write_fused, path, cams, size) if cam_format == "npz"
                       else writer.submit(write_published, path, cams))
        if pending is not None:
            pending.result()
    distributed.wait_for_all()
    if distributed.rank() == 0:
        record.write(finished=True, images=len(ids))
        log.info("wrote %d fused maps to %s", len(ids), out)
