"""What the steps of a run work on and where they write; the same steps run in a rehearsal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from smaf.core.class_maps import BACKGROUND
from smaf.core.errors import InputError
from smaf.core.files import write_text
from smaf.data.layout import DataRoot
from smaf.engine.outputs import SEGMENTER, Places
from smaf.engine.pipeline.notes import Notes
from smaf.engine.pipeline.plan import RunPlan
from smaf.engine.plans import StagePlan, TrainingPlan
from smaf.engine.stages.gen_pm import MaskPlan
from smaf.engine.truth import require_shown

Stage = TypeVar("Stage", bound=StagePlan)
Training = TypeVar("Training", bound=TrainingPlan)
ROWS = 40  # of the report
CHOSEN_ON = 300  # photographs that a threshold is chosen on, at most


@dataclass(frozen=True)
class RunPlaces(Places):
    """Where a run writes: where the stages do, and what it makes of their results."""

    @property
    def student_maps(self) -> Path:
        """Fused maps of all photographs by the last classifier, which the masks are cut from."""
        return self.logdir / "cam_student"

    @property
    def masks(self) -> Path:
        """Stage 3's pseudo masks of all photographs, `<id>.png`."""
        return self.logdir / "pseudo_mask"

    @property
    def network_masks(self) -> Path:
        """The network's masks, labels unknown, of the photographs that are scored or shown."""
        return self.logdir / "segmented"

    @property
    def network_masks_known(self) -> Path:
        """The network's masks, labels known, of the photographs that are scored."""
        return self.logdir / "segmented_known"

    @property
    def network(self) -> Path:
        """The segmentation network that `smaf predict` takes."""
        return self.logdir / SEGMENTER

    @property
    def mirrored(self) -> Path:
        """The pseudo masks again, in the folders of the photographs."""
        return self.logdir / "masks"

    @property
    def scores(self) -> Path:
        """What the evaluations wrote."""
        return self.logdir / "scores"

    @property
    def stage_folders(self) -> tuple[Path, ...]:
        """The folders that the stages write to."""
        trained = (self.eps, self.student, self.segmenter)
        maps = (self.fused, self.refined, self.student_maps, self.masks)
        made = (self.network_masks, self.network_masks_known)
        return (*(path.parent for path in trained), *maps, *made)

    def list(self, name: str) -> Path:
        """The file of one of the run's own lists."""
        return self.logdir / "lists" / f"{name}.txt"


@dataclass(frozen=True)
class Lists:
    """Which photographs take part in what.

    Args:
        train: trained on.
        photographs: all, which get masks.
        thresholds: of `train`, with true masks: the background threshold is chosen on them.
        scored: of the validation list, with true masks.
        rows: the report's.
    """

    train: tuple[str, ...]
    photographs: tuple[str, ...]
    thresholds: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    @property
    def segmented(self) -> tuple[str, ...]:
        """Those that the network segments."""
        return tuple(dict.fromkeys((*self.scored, *self.rows)))

    def write(self, at: RunPlaces) -> None:
        """Write the lists to the run's folder, where they are not there already."""
        for name in ("train", "photographs", "thresholds", "scored", "segmented"):
            text = "".join(f"{image_id}\n" for image_id in getattr(self, name))
            path = at.list(name)
            if text and not (path.is_file() and path.read_bytes() == text.encode()):
                write_text(path, text)


def spread(ids: Sequence[str], count: int) -> tuple[str, ...]:
    """At most `count` of `ids`, evenly spaced, in their order.

    Example:
        >>> spread("abcdefg", 3)
        ('a', 'c', 'e')
    """
    count = min(count, len(ids))
    return tuple(ids[index * len(ids) // count] for index in range(count))


def lists_of(data: DataRoot, plan: RunPlan) -> Lists:
    """The photographs of a run.

    Those that get masks are on the list `all`, where the data set has one, or on that of the
    training or validation. Raises :class:`InputError` where photographs, labels or lists are
    missing, or true masks show no class.
    """
    train, val = tuple(data.ids(plan.list_name)), list[str]()
    if plan.val_list != RunPlan().val_list or data.list_path(plan.val_list).is_file():
        val = data.ids(plan.val_list)
    others = tuple(data.ids("all")) if data.list_path("all").is_file() else ()
    photographs = tuple(dict.fromkeys((*train, *val, *others)))
    data.require(photographs, labels=True)
    unjudged = set(data.missing("mask", photographs))
    chosen_on = spread([i for i in train if i not in unjudged], CHOSEN_ON)
    on_train = set(train)
    scored = tuple(i for i in val if i not in unjudged and i not in on_train)
    for ids, name in ((chosen_on, plan.list_name), (scored, plan.val_list)):
        if ids:
            require_shown(data, ids, name)
    unseen = [i for i in val if i not in on_train]
    rows = spread(unseen, ROWS)
    rows += spread([i for i in photographs if i not in set(unseen)], ROWS - len(rows))
    return Lists(train, photographs, chosen_on, scored, rows)


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
        """The plan of a training on the training list, with its number of steps."""
        plan = self.make(kind, on="train", **values)
        steps = self.rehearsed or self.plan.steps(plan.loop, len(self.lists.train))
        return plan.changed(steps=steps)

    @property
    def classifier(self) -> Path:
        """The classifier that masks come from: the student, without saliency maps plain CAM."""
        return self.at.student if self.plan.saliency else self.at.eps

    @property
    def network(self) -> Path:
        """The segmentation network whose masks are judged and shown."""
        return self.at.network if self.rehearsed is None else self.at.segmenter

    def recipe_threshold(self) -> tuple[float, str]:
        """The background threshold that needs no true masks, and where it comes from."""
        if not self.plan.saliency:
            return BACKGROUND, "plain CAM's default"
        return MaskPlan.of(self.plan.recipe).threshold, f"the recipe {self.plan.recipe}"

    @property
    def threshold(self) -> float:
        """The background threshold of the pseudo masks, as far as it is chosen already."""
        if self.rehearsed is not None:
            return 0.01  # hardly trained networks must still give masks that show classes
        return float(self.notes.result("threshold").get("threshold", self.recipe_threshold()[0]))

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
