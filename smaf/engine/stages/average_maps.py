"""Before stage 3, beyond the paper: the mean of the fused maps of several networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from smaf.core.class_maps import ClassMaps
from smaf.core.errors import InputError, during
from smaf.core.fused_maps import fused_path, read_fused, write_fused
from smaf.core.options import NOT_NEGATIVE, Role, option
from smaf.core.parallel import map_parallel
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.engine.distributed import process_group
from smaf.engine.fused import check_fused, require_fused
from smaf.engine.outputs import Output, image_run, settings_of
from smaf.engine.plans import StagePlan


@dataclass(frozen=True)
class AveragePlan(StagePlan):
    """Plan of the mean."""

    GROUP: ClassVar[str] = "mean"
    command: ClassVar[str] = "average_maps"

    cam_dir: tuple[str | Path, ...] = option(
        (),
        "two or more folders of fused maps, as gen_fusion and test_seg --threshold --save_maps "
        "write them",
        many="+",
        role=Role.CONTENTS,
        files=".npz",
    )
    num_workers: int = option(
        2, "processes that read and write maps", within=NOT_NEGATIVE, role=Role.RUN
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.cam_dir) == 1:
            raise InputError("--cam_dir names one folder of maps: name two or more")

    @property
    def folders(self) -> list[Path]:
        """The folders of maps."""
        return [Path(folder) for folder in self.cam_dir]


@dataclass(frozen=True)
class _Job:
    """One photograph: the classes of its labels, its size (W, H), and the files of its maps."""

    image_id: str
    labels: np.ndarray
    size: tuple[int, int]
    maps: tuple[Path, ...]
    out: Path


def _job(data: DataRoot, plan: AveragePlan, out: Path, image_id: str) -> _Job:
    maps = tuple(fused_path(folder, image_id) for folder in plan.folders)
    labels, size = data.all_labels[image_id], data.photo_size(image_id)
    return _Job(image_id, labels, size, maps, out / f"{image_id}.npz")


def _write_mean(job: _Job) -> None:
    """In a worker: write the mean of the maps of one photograph's labels."""
    with during(f"the mean of the maps of {job.image_id}"):
        read = partial(read_fused, num_classes=len(job.labels), size=job.size)
        found = [read(path) for path in job.maps]
        mean: ClassMaps = {}
        for c in np.flatnonzero(job.labels).tolist():
            for maps, path in zip(found, job.maps, strict=True):
                if c not in maps:
                    raise InputError(
                        f"fused map {path} lacks class {c} of the photograph's labels: make it "
                        "again from the same labels"
                    )
            mean[c] = np.mean([maps[c] for maps in found], axis=0)
        write_fused(job.out, mean, job.size[::-1])


def average_maps(data: DataRoot, plan: AveragePlan, output: Output | Path | str) -> Path:
    """Write the mean of several fused maps `<id>.npz` of each image to a folder; return the folder.

    Each of a class's maps in 0..1 counts alike; the mean is not divided by its maximum again. Maps
    that are there and whole, of the same settings and labels, are not made again. Raises
    :class:`InputError` for data or maps that do not serve.
    """
    plan.require("cam_dir")
    output = Output.of(output)
    with process_group(torch.device("cpu")):
        ids, settings = data.ids(plan.list_name), settings_of(data, plan)
        data.require(ids, labels=True)
        for folder in plan.folders:
            require_fused(folder, ids, data)
        with image_run(
            output,
            settings,
            ids=ids,
            results=("*.npz",),
            check=lambda i: check_fused(output.folder / f"{i}.npz", data, i),
            what="mean maps",
        ) as run:
            map_parallel(
                _write_mean,
                [_job(data, plan, output.folder, i) for i in run.todo],
                num_workers=plan.num_workers,
                what="mean",
                chunk=8,
                quiet=distributed.rank() > 0,
            )
    return output.folder
