"""What the steps of a run work on and where they write; the same steps run in a rehearsal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from smaf.core.class_maps import BACKGROUND
from smaf.core.errors import InputError
from smaf.data.layout import DataRoot
from smaf.engine.pipeline.lists import Lists
from smaf.engine.pipeline.notes import Notes
from smaf.engine.pipeline.places import RunPlaces
from smaf.engine.pipeline.plan import RunPlan
from smaf.engine.plans import StagePlan, TrainingPlan
from smaf.engine.stages.gen_fusion import FusionPlan
from smaf.engine.stages.gen_pm import MaskPlan
from smaf.engine.stages.test_seg import SegmentPlan

THRESHOLD, NETWORK_THRESHOLD = "threshold", "network_threshold"  # keys of steps
Stage = TypeVar("Stage", bound=StagePlan)
Training = TypeVar("Training", bound=TrainingPlan)


@dataclass(frozen=True)
class Scope:
    """The data set, plan, places and photographs of a run.

    Args:
        data, plan, lists: what it is of.
        at: where it writes.
        notes: what it keeps of its own steps.
        rehearsed: steps of each training in a rehearsal; None: the run itself.
    """

    data: DataRoot
    plan: RunPlan
    lists: Lists
    at: RunPlaces
    notes: Notes
    rehearsed: int | None = None

    def make(self, kind: type[Stage], *, on: str, **values: Any) -> Stage:
        """The plan of a stage by the run's recipe, on one of the run's lists."""
        common = self.plan.common()
        plan = kind.of(common.pop("recipe"))
        known = plan.values().keys()
        shared = {name: value for name, value in common.items() if name in known}
        return plan.changed(**{**shared, "list_name": str(self.at.list(on)), **values})

    def training(self, kind: type[Training], **values: Any) -> Training:
        """The plan of a training on the training list, with its number of steps.

        It takes corrected masks where it can, and the list has some.
        """
        plan = self.make(kind, on="train", **values)
        if "corrected" in plan.values():
            plan = plan.changed(corrected=bool(self.lists.learned))
        steps = self.rehearsed or self.plan.steps(plan.loop, len(self.lists.train))
        return plan.changed(steps=steps)

    def viewed(self, plan: FusionPlan) -> FusionPlan:
        """The plan of fused maps with the run's views."""
        return plan.changed(scales=self.plan.views(plan.views).scales)

    @property
    def classifier(self) -> Path:
        """The classifier that masks come from: the student, without saliency maps plain CAM."""
        return self.at.student if self.plan.saliency else self.at.eps

    @property
    def network(self) -> Path:
        """The segmentation network whose masks are judged and shown."""
        return self.at.network if self.rehearsed is None else self.at.segmenter

    def saliency_weight(self, key: str) -> float:
        """How much saliency maps weigh in the masks whose threshold the step `key` chooses.

        In those that the network learns only where the recipe says so: by the classifier it has
        learned from these maps already.
        """
        if not self.plan.saliency:
            return 0.0
        learned = MaskPlan.of(self.plan.recipe).saliency_weight
        return self.plan.saliency_weight if key == NETWORK_THRESHOLD else learned

    @property
    def salient(self) -> str:
        """The list of the photographs whose saliency maps take part."""
        last = NETWORK_THRESHOLD if self.plan.masks_by == "network" else THRESHOLD
        weighs = self.saliency_weight(THRESHOLD) or self.saliency_weight(last)
        return "photographs" if weighs else "train"

    @property
    def salient_ids(self) -> tuple[str, ...]:
        """The photographs of that list."""
        return self.lists.photographs if self.salient == "photographs" else self.lists.train

    def recipe_threshold(self, key: str) -> tuple[float, str]:
        """The background threshold that needs no true masks, and where it comes from.

        Of the step `key`: stage 3's, or for stage 4's network its own, where the recipe has one.
        """
        recipe = self.plan.recipe
        own = SegmentPlan.of(recipe).threshold if key == NETWORK_THRESHOLD else None
        if own is not None:
            return own, f"the recipe {recipe}"
        if not self.plan.saliency:
            return BACKGROUND, "plain CAM's default"
        return MaskPlan.of(recipe).threshold, f"the recipe {recipe}"

    def threshold(self, key: str) -> float:
        """The background threshold of masks, as far as the step `key` has chosen it already."""
        if self.rehearsed is not None:
            return 0.01  # hardly trained networks must still give masks that show classes
        return float(self.chosen_threshold(key).get("threshold", self.recipe_threshold(key)[0]))

    def chosen_threshold(self, key: str) -> dict[str, Any]:
        """The threshold that was chosen on true masks, where there are any (still)."""
        return self.notes.result(key) if self.lists.thresholds else {}

    @property
    def score(self) -> float:
        """The score from which a class counts as shown, as far as it is chosen already."""
        return float(self.notes.result("network").get("score", 0.5))

    def check(self) -> None:
        """Raise :class:`InputError` for a data set that a run can do nothing with."""
        if not self.data.labels_of(self.lists.train).any():
            raise InputError(
                f"no photograph of list {self.plan.list_name} shows a class: give it labels"
            )
