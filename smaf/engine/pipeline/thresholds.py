"""The background threshold of the pseudo masks: chosen on true masks of the training list."""

from __future__ import annotations

from typing import Any

from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import OwnStep, made
from smaf.engine.stages.evaluate import EvaluationPlan, evaluate
from smaf.engine.stages.gen_fusion import FusionPlan
from smaf.engine.stages.gen_pm import MaskPlan

SWEEP = "threshold.json"


def final_maps(run: Scope) -> FusionPlan:
    """The plan of the maps that pseudo masks are cut from: the last classifier's, stage 3's views.

    They are made of all photographs, once: for the threshold, the masks and the report.
    """
    views = MaskPlan.of(run.plan.recipe).views
    return run.make(
        FusionPlan,
        on="photographs",
        weights=run.classifier,
        scales=views.scales,
        flip=views.flip,
        long_side=views.long_side,
        max_view_pixels=views.max_pixels,
        label_filter=views.label_filter,
    )


def step(run: Scope) -> OwnStep:
    """The step that chooses the threshold."""
    title = "the background threshold, on {} true masks of the training list"
    return OwnStep("threshold", title, choose, basis, count=len(run.lists.thresholds))


def basis(run: Scope) -> Any:
    """What the threshold is chosen by: the maps, and which of them have true masks."""
    truths = [run.data.mask_path(image_id).stat() for image_id in run.lists.thresholds]
    return [
        made(run.at.student_maps),
        list(run.lists.thresholds),
        [[status.st_size, status.st_mtime_ns] for status in truths],
    ]


def choose(run: Scope) -> dict[str, Any]:
    """The threshold of the highest mIoU on the training list's true masks, before CRF.

    Nothing is trained on these masks. The sweep is written to `threshold.json` and drawn beside it.
    """
    plan = run.make(EvaluationPlan, on="thresholds", cam_dir=run.at.student_maps, sweep=True)
    best = evaluate(run.data, plan, run.at.logdir / SWEEP).result
    return {
        "threshold": best.threshold,
        "from": f"{best.images} true masks of list {run.plan.list_name}",
        "miou": float(best.matrix.compute()["miou"]),
    }


def used(run: Scope) -> dict[str, Any]:
    """The threshold that the masks were cut at, and where it comes from."""
    value, source = run.recipe_threshold()
    return run.chosen_threshold() or {"threshold": value, "from": source}
