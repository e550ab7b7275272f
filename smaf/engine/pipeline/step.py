"""The two kinds of steps of a run: stages, and what the run makes of their results itself."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smaf.core.files import files_by_stem, plain_name
from smaf.core.record import RunRecord, checksum
from smaf.data.layout import DataRoot
from smaf.engine.outputs import LABELS, LIST, Output, of_list, settings_of
from smaf.engine.pipeline.scope import Scope
from smaf.engine.plans import StagePlan, TrainingPlan
from smaf.engine.predicting.saliency_network import find_model
from smaf.engine.stages.saliency import SHIPPED, SaliencyPlan
from smaf.engine.training.state import read_state


@dataclass(frozen=True)
class Step(ABC):
    """A step of a run.

    Args:
        key: its name in files.
        title: its name in lines; {} is the number of its photographs or steps.
    """

    key: str
    title: str

    @abstractmethod
    def units(self, run: Scope) -> int:
        """How many photographs, or steps of a training, it is of."""

    @abstractmethod
    def left(self, run: Scope) -> int:
        """How many of them are left to do; files are looked for, not read."""

    @abstractmethod
    def is_done(self, run: Scope) -> bool:
        """Whether its results are there, of the same settings; no network is loaded for that.

        Raises :class:`InputError` where they are of other settings.
        """

    @abstractmethod
    def do(self, run: Scope, after_step: Callable[[], None] | None = None) -> None:
        """Do what is left."""

    def name(self, run: Scope) -> str:
        """What lines call it."""
        return self.title.format(f"{self.units(run):,}")


@dataclass(frozen=True)
class StageStep(Step):
    """A stage: a function of a data set, a plan and an output folder.

    Args:
        stage: the function.
        plan: makes the plan when it is needed: a threshold may be chosen before.
        folder: where it writes.
        result: the file that a training ends with, or what a photograph's file ends with.
        parallel: processes, or threads of this one, share its photographs.
    """

    stage: Callable[[DataRoot, Any, Output], object]
    plan: Callable[[], StagePlan]
    folder: Path
    result: str
    parallel: bool = False

    @property
    def trains(self) -> bool:
        """Whether it trains a network."""
        return not self.result.startswith(".")

    def units(self, run: Scope) -> int:
        """Steps of a training, else photographs."""
        plan = self.plan()
        if isinstance(plan, TrainingPlan):
            return plan.loop.steps
        return len(run.data.ids(plan.list_name))

    def left(self, run: Scope) -> int:
        """Steps after the last checkpoint, or photographs without a file."""
        if not self.trains:
            return len(absent(self.folder, run.data.ids(self.plan().list_name), self.result))
        state = read_state(self.folder)
        return max(0, self.units(run) - (0 if state is None else int(state["step"])))

    def is_done(self, run: Scope) -> bool:
        """Whether the folder's record says so, and no file is missing."""
        plan = self.plan()
        names = [Path(self.result).stem] if self.trains else run.data.ids(plan.list_name)
        if absent(self.folder, names, Path(self.result).suffix if self.trains else self.result):
            return False
        return _recorded(run.data, plan, self.folder)

    def do(self, run: Scope, after_step: Callable[[], None] | None = None) -> None:
        """Run the stage, which goes on where it stopped; in a rehearsal one photograph at once."""
        plan = self.plan()
        if self.parallel and run.rehearsed is not None:
            plan = plan.changed(num_workers=1)
        self.stage(run.data, plan, Output(self.folder, after_step=after_step))


@dataclass(frozen=True)
class SaliencyStep(StageStep):
    """The saliency maps, which belong to the data set: those that are there are taken."""

    def left(self, run: Scope) -> int:
        """Photographs that need a map and have none: what shows no class is not salient."""
        needing = run.data.shown(run.data.ids(self.plan().list_name))
        return len(run.data.missing("saliency map", needing))

    def is_done(self, run: Scope) -> bool:
        """Whether no photograph is without, and none by another network than the one asked for."""
        plan = self.plan()
        assert isinstance(plan, SaliencyPlan)
        if self.left(run):
            return False
        entry = None if plan.model == SHIPPED else RunRecord(self.folder, {}).previous()
        if entry is None:
            return True
        return bool(entry["settings"].get("model") == checksum(find_model(plan.model).read_bytes()))


@dataclass(frozen=True)
class OwnStep(Step):
    """What the run makes of the stages' results.

    Args:
        work: does it, and gives what the run's notes keep.
        basis: what the result is made of, as JSON takes it: where it changes, it is made again.
        files: what is written; where one is missing, it is made again.
        count: photographs.
        like: the step whose pace it has.
        seconds: how long it takes beside that, about.
    """

    work: Callable[[Scope], Mapping[str, Any]]
    basis: Callable[[Scope], Any]
    files: tuple[Path, ...] = ()
    count: int = 0
    like: str = ""
    seconds: float = 0.0

    def units(self, run: Scope) -> int:
        """Photographs."""
        return self.count

    def left(self, run: Scope) -> int:
        """All of them: it is quick, and does not go on in the middle."""
        return self.count

    def is_done(self, run: Scope) -> bool:
        """Whether the notes have its result, of the same basis, and no file is missing."""
        there = all(path.is_file() for path in self.files)
        return there and run.notes.made_of(self.key) == checksum(self.basis(run))

    def do(self, run: Scope, after_step: Callable[[], None] | None = None) -> None:
        """Do it, and note what it gave."""
        gave = self.work(run)
        run.notes.keep(self.key, checksum(self.basis(run)), gave)


def absent(folder: Path, names: Sequence[str], suffix: str) -> list[str]:
    """Those of `names` that have no file `<name><suffix>` in a folder."""
    there = files_by_stem(folder)
    return [
        name
        for name in names
        if not any(os.path.splitext(file)[1] == suffix for file in there.get(plain_name(name), ()))
    ]


def _recorded(data: DataRoot, plan: StagePlan, folder: Path) -> bool:
    """Whether a folder's last run came to its end with these settings, list and labels."""
    entry = RunRecord(folder, {}).previous()
    if entry is None or not entry.get("finished"):
        return False
    before = entry["settings"]
    if plan.values().get("precision") == "auto":  # it stands for what the folder was made with
        plan = plan.changed(precision=before.get("precision", "fp32"))
    settings = settings_of(data, plan)
    keys = of_list(settings.values)
    RunRecord(folder, settings.values, free=settings.free).check_same(but=keys)
    recorded = [key for key in keys if key in before or key in (LIST, LABELS)]  # the others: 0.11
    return all(before.get(key) == settings.values.get(key) for key in recorded)


def made(folder: Path) -> str | None:
    """What tells a folder's results from others: the settings of its last run, list and labels."""
    entry = RunRecord(folder, {}).previous()
    if entry is None or not entry.get("finished"):
        return None
    free = set(entry.get("free", ()))
    return checksum({key: v for key, v in entry["settings"].items() if key not in free})
