"""Stage 1: fused maps of every image on a list."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from smaf.core.fused_maps import write_fused, write_published
from smaf.core.options import Role, option, part
from smaf.core.views import Views
from smaf.data.layout import DataRoot
from smaf.engine.distributed import process_group
from smaf.engine.fused import FusedPhoto, check_fused, fuse_list
from smaf.engine.outputs import Output, Places, image_run, settings_of
from smaf.engine.plans import Compute, StagePlan, attention_option, head_option
from smaf.engine.precision import inference_trial, with_precision
from smaf.engine.trained import trained_classifier
from smaf.models import attention_layers

CAM_FORMATS = ("npz", "npy")


@dataclass(frozen=True)
class FusionPlan(StagePlan):
    """Plan of stage 1; the defaults are the paper's views."""

    GROUP: ClassVar[str] = "stage 1"
    command: ClassVar[str] = "gen_fusion"

    weights: str | Path | None = option(
        None,
        "stage 0's classifier, or EPS's or SMAF's published checkpoint; default: below --logdir",
        role=Role.CONTENTS,
    )
    head: str = head_option()
    cam_format: str = option(
        "npz",
        "npz: compact, no pickle; npy: the published format, for exchange",
        choices=CAM_FORMATS,
    )
    attention_refine: bool = attention_option()
    views: Views = part(Views)
    compute: Compute = part(Compute)

    def located(self, places: Places) -> FusionPlan:
        """The plan with the files of a whole run where it names none."""
        return self.filled(weights=places.eps)


def _write(folder: Path, cam_format: str, fused: FusedPhoto) -> None:
    path = folder / f"{fused.image_id}.{cam_format}"
    if cam_format == "npz":
        write_fused(path, fused.cams, fused.shape)
    else:
        write_published(path, fused.cams)


def gen_fusion(data: DataRoot, plan: FusionPlan, output: Output | Path | str) -> Path:
    """Run stage 1: write the fused maps of each image, `<id>.npz`, to a folder; return the folder.

    With `cam_format="npy"` they have the published format. Maps that are there and whole, of the
    same settings and labels, are not made again. Raises :class:`InputError` for data or weights
    that do not serve.
    """
    plan.require("weights")
    output = Output.of(output)
    device = plan.compute.choose_device()
    model = trained_classifier(plan.weights or "", data, head=plan.head)
    layers = attention_layers(model) if plan.attention_refine else None
    with plan.compute.limited(), process_group(device):
        model = model.to(device).to(memory_format=torch.channels_last)
        plan = with_precision(plan, output, device=device, trial=lambda: inference_trial(model))
        ids, settings = data.ids(plan.list_name), settings_of(data, plan)
        precision = plan.compute.precision
        data.require(ids, labels=True)
        with (
            image_run(
                output,
                settings,
                ids=ids,
                results=[f"*.{suffix}" for suffix in CAM_FORMATS],
                check=lambda i: check_fused(output.folder / f"{i}.{plan.cam_format}", data, i),
                what="fused maps",
            ) as run,
            ThreadPoolExecutor(1) as writer,
            closing(
                fuse_list(model, data, run.todo, plan.views, precision=precision, attending=layers)
            ) as results,
        ):
            pending: Future[None] | None = None
            for fused in results:
                if pending is not None:
                    pending.result()
                pending = writer.submit(_write, output.folder, plan.cam_format, fused)
            if pending is not None:
                pending.result()
    return output.folder
