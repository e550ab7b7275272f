"""What the plans of all stages share. A plan is all that decides a stage's result but its data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch

from smaf.core.command import make_parser
from smaf.core.device import AUTO_PRECISION, DEVICES, PRECISIONS, choose_device, cpu_threads
from smaf.core.errors import InputError
from smaf.core.options import (
    NOT_NEGATIVE,
    POSITIVE,
    Options,
    Range,
    Role,
    add_options,
    option,
    part,
    plan_from,
    redeclared,
)
from smaf.data.augment import Augmentation
from smaf.data.streams import TrainingStream
from smaf.engine.outputs import Places
from smaf.engine.training.loop import LoopSettings, Task, Training
from smaf.engine.training.validation import Validation
from smaf.models import HEADS, Trainable

_CRF_AT_ONCE = 2  # a photograph of 2 million pixels, the most, takes 1 GB
Stage = TypeVar("Stage", bound="StagePlan")
Net = TypeVar("Net", bound=Trainable)
AUTO = "auto"  # of --head: the weights' own
SHARPEN = ("none", "par")


@dataclass(frozen=True)
class StagePlan(Options):
    """Plan of a stage; subclasses add what theirs needs."""

    GROUP: ClassVar[str] = "stage"
    command: ClassVar[str]

    list_name: str = option(
        "train_aug",
        "name below ImageSets/Segmentation, or a .txt file of ids",
        name="list",
        role=Role.CONTENTS,
    )
    recipe: str | None = option(
        None, "options by name, as light; those after it win", role=Role.RUN
    )

    @property
    def labels_decide(self) -> bool:
        """Whether the image-level labels of the list take part in the result."""
        return True

    @property
    def corrections_decide(self) -> bool:
        """Whether the corrected masks of the list take part in the result."""
        return False

    @property
    def saliency_decides(self) -> bool:
        """Whether the saliency maps of the list take part in the result."""
        return False

    @classmethod
    def of(cls: type[Stage], recipe: str | None = None, **values: Any) -> Stage:
        """The plan with the options of a recipe, and `values` by the options' names.

        Raises :class:`InputError` for an unknown recipe or option, and a value out of range.

        Example:
            ``EpsPlan.of("light", list_name="train", steps=60)``
        """
        plan = cls()
        if recipe is not None:
            parser = make_parser(cls.command, "")
            add_options(parser, plan)
            plan = plan_from(plan, parser.parse_args(["--recipe", recipe]))
        return plan.changed(**values)

    def located(self: Stage, places: Places) -> Stage:
        """The plan with the files of a whole run where it names none."""
        return self

    def require(self, *names: str) -> None:
        """Raise :class:`InputError` where a field that a stage cannot do without is None."""
        for name in names:
            if getattr(self, name) is None:
                raise InputError(f"{type(self).__name__} needs {name}: name it")


@dataclass(frozen=True)
class Compute(Options):
    """Where and how a stage computes."""

    GROUP: ClassVar[str] = "computing"

    device: str = option("auto", "where to compute", choices=DEVICES, role=Role.RUN)
    precision: str = option(
        "fp32",
        "mixed precision of forward passes; auto: bf16 where it is faster, by a trial of a second "
        "on a CPU; a run that goes on keeps its own",
        choices=(*PRECISIONS, AUTO_PRECISION),
    )
    num_workers: int = option(
        2,
        "processes that read photographs or run the CRF; 0: up to two threads run the CRF",
        within=NOT_NEGATIVE,
        role=Role.RUN,
    )
    threads: int | None = option(
        None,
        "CPU threads of PyTorch's operations; default: as many as cores",
        kind=int,
        within=POSITIVE,
        role=Role.RUN,
    )

    def limited(self) -> AbstractContextManager[None]:
        """A block in which PyTorch takes as many CPU threads as the plan says."""
        return cpu_threads(self.threads)

    def choose_device(self) -> torch.device:
        """The device; :class:`InputError` where it is not there."""
        return choose_device(self.device)


@dataclass(frozen=True)
class Crops(Options):
    """How photographs are resized, cut and jittered for training; defaults are EPS's.

    Where `resize_long` is given it decides the size, else `scale`.
    """

    GROUP: ClassVar[str] = "crops"

    resize_long: tuple[int, int] | None = option(
        Augmentation().long_side,
        "range of the photograph's longer side",
        kind=int,
        many=2,
        metavar=("MIN", "MAX"),
        within=POSITIVE,
        ordered="length",
    )
    scale: tuple[float, float] | None = option(
        None,
        "range of the factor of the photograph's size",
        kind=float,
        many=2,
        metavar=("MIN", "MAX"),
        within=POSITIVE,
        ordered="factor",
    )
    crop: int = option(
        Augmentation().crop,
        "side of the square crop, in pixels",
        within=Range(lambda side: side >= 8, "at least 8 pixels"),
    )
    cells: str = option(
        "corners",
        "where a CAM's cells lie in the crop when it is compared with a map: corners as published, "
        "centres where resizing takes them to be",
        choices=("corners", "centres"),
    )
    jitter: bool = option(True, "colour jitter")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resize_long is None and self.scale is None:
            raise InputError("crops need --resize_long or --scale: give one of them")

    @property
    def centres(self) -> bool:
        """Whether a CAM's cells lie where resizing takes them to be."""
        return self.cells == "centres"

    def augmentation(self) -> Augmentation:
        """The ranges that training draws from."""
        ranges: dict[str, Any] = {"crop": self.crop, "centres": self.centres}
        if not self.jitter:
            ranges["jitter"] = None
        if self.resize_long is None:
            return Augmentation(scale=self.scale, **ranges)
        return Augmentation(long_side=self.resize_long, **ranges)


@dataclass(frozen=True)
class TrainingPlan(StagePlan):
    """Plan of a stage that trains a network."""

    seed: int = option(
        1337, "seed of initial weights, order, crops and dropout", within=NOT_NEGATIVE
    )
    batchnorm: str = option("frozen", "BatchNorm in training", choices=("frozen", "free"))
    freeze: tuple[str, ...] = option(
        (), "layers of the backbone that stay as they are (conv_stem blocks.0)", metavar="LAYER"
    )
    loop: LoopSettings = part(LoopSettings, without=("rate_every",))
    crops: Crops = part(Crops, without=("scale",))
    validation: Validation = part(Validation)
    compute: Compute = part(Compute)

    def prepare(self, model: Net) -> Net:
        """Freeze what the plan names, let gradients reach the rest; return the model."""
        model.freeze_batchnorm = self.batchnorm == "frozen"
        model.freeze(self.freeze)
        return model.set_trainable()

    def training(
        self,
        model: Trainable,
        task: Task,
        stream: TrainingStream,
        *,
        device: torch.device,
        save: Callable[[Path], None],
        validate: Callable[[], float] | None,
    ) -> Training:
        """What the loop needs; see :class:`smaf.engine.training.loop.Training`."""
        return Training(
            model,
            task,
            stream,
            settings=self.loop,
            device=device,
            save=save,
            precision=self.compute.precision,
            num_workers=self.compute.num_workers,
            validate=validate,
            val_every=self.validation.val_every,
        )


def head_option() -> Any:
    """The field `head` of a plan that reads a trained classifier."""
    return option(
        AUTO,
        "auto: the weights' own; cls for a release's plain-CAM checkpoint (its keys are EPS's)",
        choices=(AUTO, *HEADS),
    )


def attention_option() -> Any:
    """The field `attention_refine` of a plan whose classifier makes fused maps."""
    return option(
        False,
        "refine each view's maps by the attention of the last 8 layers (CLIP-ES), within the boxes "
        "of what is above 0.4 of a map's maximum; vision transformers alone",
    )


def sharpen_option(what: str) -> Any:
    """The field `sharpen` of a plan that can sharpen maps; `what` says which, and when."""
    return option(
        "none",
        f"par: {what} by PAR (means over 48 neighbours of like colour, ten rounds)",
        choices=SHARPEN,
    )


def proposals_option() -> Any:
    """The field `proposals` of a plan whose masks may choose among proposals."""
    return option(
        None,
        "masks without a class, <id>/*.png or <id>.json (docs/formats.md): those that a class of "
        "the mask fills give it their outline",
        role=Role.CONTENTS,
        files=".json",
    )


def corrected_option(role: Role = Role.RESULT) -> Any:
    """The field `corrected` of a plan that takes corrected masks."""
    return option(
        False,
        "take the data set's corrected masks, CorrectedMasks/<id>.png, in the place of what the "
        "method made of these photographs",
        role=role,
    )


def listed_as(default: str) -> Any:
    """The field `list_name` of a plan whose default list is another one."""
    return redeclared(StagePlan, "list_name", default)


def crf_threads(threads: int | None = None) -> int:
    """How many CRF run at once in one process: its threads, by default PyTorch's; at most two."""
    return min(threads or torch.get_num_threads(), _CRF_AT_ONCE)
