"""What a run's masks and its network are worth, on the true masks of the validation list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smaf.core.files import read_json
from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import OwnStep, made
from smaf.engine.stages.evaluate import EvaluationPlan, evaluate

_KEPT = ("miou", "precision", "recall", "accuracy", "iou", "images")


def judged(run: Scope) -> dict[str, Path]:
    """What is judged, by its name: folders of masks."""
    return {
        "pseudo masks (labels known)": run.at.pseudo_masks,
        "network (labels unknown)": run.at.network_masks,
        **({"network (labels known)": run.at.known_masks} if run.at.by_network else {}),
    }


def step(run: Scope) -> OwnStep:
    """The step that judges the masks."""
    title = "scores on {} true masks of the validation list"
    return OwnStep("scores", title, judge, basis, count=len(run.lists.scored))


def basis(run: Scope) -> Any:
    """What is judged, on what."""
    truths = [run.data.mask_path(image_id).stat() for image_id in run.lists.scored]
    return [
        [made(folder) for folder in judged(run).values()],
        list(run.lists.scored),
        [[status.st_size, status.st_mtime_ns] for status in truths],
    ]


def judge(run: Scope) -> dict[str, Any]:
    """Name → scores in 0..1; all that `smaf evaluate` gives is in the run's folder `scores`."""
    given: dict[str, Any] = {}
    for name, folder in judged(run).items():
        plan = run.make(EvaluationPlan, on="scored", pred_dir=folder)
        path = evaluate(run.data, plan, run.at.scores / f"{folder.name}.json").path
        written = read_json(path, "scores", "run the same command again")
        given[name] = {key: written[key] for key in _KEPT}
    return given
