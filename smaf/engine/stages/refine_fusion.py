"""Between stages 1 and 2, beyond the paper: fused maps refined by edges and saliency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from smaf.core.class_maps import BACKGROUND
from smaf.core.errors import InputError
from smaf.core.fused_maps import fused_path
from smaf.core.options import NOT_NEGATIVE, OPEN_FRACTION, POSITIVE, Role, option
from smaf.core.parallel import map_parallel
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.engine.distributed import process_group
from smaf.engine.fused import check_fused, require_fused
from smaf.engine.outputs import Output, Places, image_run, settings_of
from smaf.engine.plans import StagePlan, crf_threads, sharpen_option
from smaf.engine.refining import MapsJob, write_refined_maps
from smaf.engine.saliency import check_saliency


@dataclass(frozen=True)
class RefinementPlan(StagePlan):
    """Plan of the refinement."""

    GROUP: ClassVar[str] = "refinement"
    command: ClassVar[str] = "refine_fusion"

    cam_dir: str | Path | None = option(
        None,
        "stage 1's fused maps (or .npy); default: below --logdir",
        role=Role.CONTENTS,
        files=".npz",
    )
    background: float = option(
        BACKGROUND, "constant that a class must exceed", within=OPEN_FRACTION
    )
    saliency_weight: float = option(
        0.0,
        "power of the saliency map's odds that multiply the classes'; 0: without saliency",
        within=NOT_NEGATIVE,
    )
    long_side: int | None = option(
        None,
        "longer side at which CRF (its kernels shrunk alike) and PAR run; default: the "
        "photograph's own, for PAR 250",
        kind=int,
        within=POSITIVE,
    )
    crf: bool = option(True, "refine by edges; without, by saliency alone")
    sharpen: str = sharpen_option("before that, or with --no_crf in its place, sharpen the maps")
    num_workers: int = option(
        2, "processes that run the CRF; 0: threads of this one", within=NOT_NEGATIVE, role=Role.RUN
    )
    threads: int | None = option(
        None,
        "with --num_workers 0 the CRF's threads, at most two; default: as many as cores",
        kind=int,
        within=POSITIVE,
        role=Role.RUN,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.crf and not self.saliency_weight and self.sharpen == "none":
            raise InputError(
                "--no_crf without --saliency_weight or --sharpen refines nothing: give one of them"
            )

    @property
    def saliency_decides(self) -> bool:
        """Whether the saliency maps of the list take part in the result."""
        return self.saliency_weight > 0

    def located(self, places: Places) -> RefinementPlan:
        """The plan with the files of a whole run where it names none."""
        return self.filled(cam_dir=places.fused)

    def job(self, data: DataRoot, image_id: str, out: Path) -> MapsJob:
        """What a worker is told of one image; one that shows no class needs no saliency map."""
        labels = data.all_labels[image_id]
        salient = self.saliency_weight > 0 and labels.any()
        return MapsJob(
            labels,
            data.photo_path(image_id),
            fused_path(Path(self.cam_dir or ""), image_id),
            data.saliency_path(image_id) if salient else None,
            out,
            background=self.background,
            saliency_weight=self.saliency_weight,
            long_side=self.long_side,
            crf=self.crf,
            sharpen=self.sharpen,
        )


def refine_fusion(data: DataRoot, plan: RefinementPlan, output: Output | Path | str) -> Path:
    """Write refined maps `<id>.npz`, class probabilities, to a folder; return the folder.

    Maps that are there and whole, of the same settings and labels, are not made again. Raises
    :class:`InputError` for data or maps that do not serve.
    """
    plan.require("cam_dir")
    output = Output.of(output)
    with process_group(torch.device("cpu")):
        ids, settings = data.ids(plan.list_name), settings_of(data, plan)
        data.require(ids, labels=True, saliency=plan.saliency_decides)
        require_fused(Path(plan.cam_dir or ""), ids, data)
        if plan.saliency_decides:
            check_saliency(data, ids)
        with image_run(
            output,
            settings,
            ids=ids,
            results=("*.npz",),
            check=lambda i: check_fused(output.folder / f"{i}.npz", data, i),
            what="refined maps",
        ) as run:
            map_parallel(
                write_refined_maps,
                [plan.job(data, i, output.folder / f"{i}.npz") for i in run.todo],
                num_workers=plan.num_workers,
                what="refine",
                chunk=2,
                quiet=distributed.rank() > 0,
                threads=crf_threads(plan.threads),
            )
    return output.folder
