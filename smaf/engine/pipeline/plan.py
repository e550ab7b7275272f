"""What decides a whole run, and how many steps and views its stages take."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from smaf.core.options import NOT_NEGATIVE, Role, option, part, redeclared
from smaf.core.saliency_facts import PRESETS
from smaf.core.views import Views
from smaf.engine.plans import Compute, StagePlan, corrected_option, listed_as
from smaf.engine.stages.saliency import SHIPPED
from smaf.engine.training.loop import LoopSettings

# Photographs up to which a recipe's number of steps holds: it was chosen on 1,038, which stage 0
# sees six times each, and sees so many four times
_MEANT_FOR = 1_700
_QUICK, _QUICK_STEPS = 4, 40  # a quick run's part of the steps, and how many it has at least


@dataclass(frozen=True)
class RunPlan(StagePlan):
    """Plan of a whole run; the recipe says the rest."""

    GROUP: ClassVar[str] = "run"
    command: ClassVar[str] = "run"

    list_name: str = listed_as("train")
    recipe: str | None = redeclared(StagePlan, "recipe", "light")
    val_list: str = option(
        "val",
        "list that the scores are of, where it has true masks; nothing is trained or chosen on it",
        role=Role.RUN,
    )
    quick: bool = option(
        False,
        "a first look: a quarter of the steps (at least 40, where the recipe has as many), and "
        "fused maps without their largest scale",
    )
    saliency: bool = option(
        True,
        "saliency maps take part; without them masks come from plain CAM and there is no "
        "self-training, which costs much accuracy",
    )
    model: str | Path = option(
        SHIPPED,
        "where photographs of the list have no saliency map: what makes it (see smaf saliency)",
        role=Role.CONTENTS,
    )
    preset: str | None = option(
        None, "of --model, where its file does not say", choices=tuple(PRESETS)
    )
    masks_by: str = option(
        "network",
        "whose maps the masks are cut from: those of stage 4's network, labels known, or the last "
        "classifier's, stage 3's masks, which saves a sixth of the time and is less accurate",
        choices=("classifier", "network"),
    )
    saliency_weight: float = option(
        0.6,
        "of the network's masks: power of the saliency map's odds that multiply the classes' "
        "values before CRF; 0: without saliency",
        within=NOT_NEGATIVE,
    )
    # its own check: a run goes on with new corrections, but not without those it was made with
    corrected: bool = corrected_option(Role.RUN)
    seed: int = option(1337, "seed of the trainings", within=NOT_NEGATIVE)
    onnx: bool = option(
        True, "write the network as segmenter.onnx, too, which takes half a minute", role=Role.RUN
    )
    rehearsal: bool = option(
        True,
        "first run all stages on four photographs, which finds faults, and tells time and disk",
        role=Role.RUN,
    )
    compute: Compute = part(Compute)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.masks_by == "classifier":  # stage 3's masks, which the network learns
            object.__setattr__(self, "saliency_weight", 0.0)

    def steps(self, loop: LoopSettings, photographs: int) -> int:
        """Steps of a training on so many photographs.

        The recipe's; on more than 1,700, in proportion. With `quick` a quarter of them.

        Example:
            >>> loop = LoopSettings(steps=480)
            >>> RunPlan().steps(loop, 1_000), RunPlan().steps(loop, 17_000)
            (480, 4800)
            >>> RunPlan(quick=True).steps(loop, 1_000)
            120
        """
        steps = math.ceil(loop.steps * max(1.0, photographs / _MEANT_FOR))
        return min(steps, max(_QUICK_STEPS, math.ceil(steps / _QUICK))) if self.quick else steps

    def views(self, views: Views) -> Views:
        """A recipe's views; with `quick` without the largest scale, where there is another one."""
        if not self.quick or len(views.scales) < 2:
            return views
        largest = max(views.scales)
        return replace(views, scales=tuple(s for s in views.scales if s != largest))

    def common(self) -> dict[str, Any]:
        """The options that stages share, by name."""
        return {"recipe": self.recipe, "seed": self.seed, **self.compute.values()}
