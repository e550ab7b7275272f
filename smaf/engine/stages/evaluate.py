"""Scores of masks, or of fused maps at a background threshold, against true masks."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from smaf.core.class_maps import BACKGROUND
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import output_folder
from smaf.core.options import NOT_NEGATIVE, OPEN_FRACTION, Role, option
from smaf.core.record import RunRecord
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.engine.evaluation import (
    SWEEP_NOTE,
    Evaluation,
    evaluate_cams,
    evaluate_masks,
    write_evaluation,
    write_sweep,
)
from smaf.engine.outputs import MIRRORED
from smaf.engine.plans import StagePlan, listed_as

log = logging.getLogger("smaf")
THRESHOLDS = tuple(round(float(t), 2) for t in np.arange(0.02, 0.81, 0.02))  # of a sweep


@dataclass(frozen=True)
class EvaluationPlan(StagePlan):
    """Plan of an evaluation."""

    GROUP: ClassVar[str] = "evaluation"
    command: ClassVar[str] = "evaluate"

    list_name: str = listed_as("train")
    pred_dir: str | Path | None = option(
        None, "masks <id>.png, values 0 background, class index + 1"
    )
    cam_dir: str | Path | None = option(
        None, "fused maps <id>.npz (or published <id>.npy) instead of masks"
    )
    threshold: float = option(
        BACKGROUND, "background threshold of fused maps", within=OPEN_FRACTION
    )
    sweep: bool = option(False, "try the thresholds 0.02, 0.04 … 0.80, draw their mIoU")
    num_workers: int = option(
        2,
        "processes that read and count, where a list has over 10000 masks or 1000 fused maps",
        within=NOT_NEGATIVE,
        role=Role.RUN,
    )

    @property
    def labels_decide(self) -> bool:
        """Masks are compared; image-level labels do not take part."""
        return False

    @property
    def folder(self) -> Path:
        """The folder of what is evaluated."""
        return Path(self.cam_dir or self.pred_dir or "")

    def check(self) -> None:
        """Raise :class:`InputError` where the plan names no predictions, or none that are there."""
        if (self.pred_dir is None) == (self.cam_dir is None):
            raise InputError("expected either --pred_dir (masks) or --cam_dir (fused maps)")
        if self.sweep and self.cam_dir is None:
            raise InputError("--sweep needs fused maps: name their folder with --cam_dir")

    def place(self) -> Path:
        """Where the scores go by default: beside the predictions."""
        return self.folder / f"evaluation_{Path(self.list_name).stem}.json"


@dataclass(frozen=True)
class Scores:
    """What an evaluation gives: the result, or the best of a sweep; and the file that holds it."""

    result: Evaluation
    path: Path
    sweep: tuple[Evaluation, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"threshold {entry.threshold:.2f}  mIoU {100 * entry.matrix.compute()['miou']:.2f} %"
            for entry in self.sweep
        ]
        if self.sweep:
            best, name = self.result.threshold, self.result.list_name
            lines.append(f"best threshold {best:g} on list {name}: {SWEEP_NOTE}")
        return "\n".join([*lines, self.result.table(), f"wrote {self.path}"])


def evaluate(data: DataRoot, plan: EvaluationPlan, output: Path | str | None = None) -> Scores:
    """Evaluate predictions of a list and write the scores to the JSON file `output`.

    By default that is `evaluation_<list>.json` beside the predictions. One confusion matrix over
    the whole list, as PASCAL VOC has it; each of many processes counts its share. Raises
    :class:`InputError` where predictions or true masks are missing, or do not fit each other.
    """
    plan.check()
    if not plan.folder.is_dir():
        raise MissingInputError(
            f"predictions {plan.folder} do not exist: make them first (gen_pm, gen_fusion), or "
            "name their folder"
        )
    path = plan.place() if output is None else Path(output)
    if path.is_dir():
        raise InputError(f"--out {path} is a folder: name a JSON file in it")
    output_folder(path.parent)
    with distributed.process_group(torch.device("cpu")):
        return _scores(data, plan, path)


def _scores(data: DataRoot, plan: EvaluationPlan, path: Path) -> Scores:
    """Count together, write in the first process."""
    common: dict[str, Any] = {"list_name": plan.list_name, "num_workers": plan.num_workers}
    if plan.cam_dir is None:
        result = evaluate_masks(data, pred_dir=plan.folder, **common)
        if distributed.rank() == 0:
            _tell_corrected(data, plan)
        distributed.first_alone(lambda: write_evaluation(path, result))
        return Scores(result, path)
    thresholds = THRESHOLDS if plan.sweep else (plan.threshold,)
    results = evaluate_cams(data, cam_dir=plan.folder, thresholds=thresholds, **common)
    if plan.sweep:
        best = distributed.first_alone(lambda: write_sweep(path, results))
        return Scores(best, path, tuple(results))
    distributed.first_alone(lambda: write_evaluation(path, results[0]))
    return Scores(results[0], path)


def _tell_corrected(data: DataRoot, plan: EvaluationPlan) -> None:
    """Warn where masks of the list are what people corrected: a run's `masks/` has them."""
    folder = plan.folder.absolute()
    if folder.name != MIRRORED:
        return
    with suppress(InputError):  # another file of that name, or a damaged one: not this command's
        run = RunRecord(folder.parent, {}).previous()
        corrected = data.corrected_ids(data.ids(plan.list_name))
        if run is not None and run["settings"].get("corrected") and corrected:
            log.warning(
                "warning: %s has corrected masks, %d of them of list %s: these are scored here, "
                "not the method's, which are in pseudo_mask/ or network_mask/ beside it",
                plan.folder,
                len(corrected),
                plan.list_name,
            )
