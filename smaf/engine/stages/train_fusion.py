"""Stage 2: the student learns the denoised and reactivated fused maps; ProDA's parts as options."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.core.class_maps import BACKGROUND
from smaf.core.device import seed_everything
from smaf.core.errors import InputError
from smaf.core.options import FRACTION, OPEN_FRACTION, POSITIVE, Options, Role, option, part
from smaf.core.record import checksum
from smaf.data.layout import DataRoot
from smaf.data.streams import FusedStream
from smaf.engine import distributed
from smaf.engine.corrections import Corrections, corrections_of
from smaf.engine.distributed import process_group
from smaf.engine.fused import require_fused
from smaf.engine.outputs import (
    CLASSIFIER,
    EMA_CLASSIFIER,
    Output,
    OutputRun,
    Places,
    Settings,
    settings_of,
)
from smaf.engine.plans import AUTO, Crops, TrainingPlan, corrected_option, sharpen_option
from smaf.engine.precision import training_trial, with_precision
from smaf.engine.trained import trained_classifier
from smaf.engine.training.prototypes import (
    PROTOTYPES,
    initial_prototypes,
    read_prototypes,
    write_prototypes,
)
from smaf.engine.training.run import tell_background, train, training_run
from smaf.engine.training.validation import validator
from smaf.models import Classifier, ClassifierOutput, write_checkpoint
from smaf.ops import (
    class_prototypes,
    move_prototypes,
    par_maps,
    prototype_weights,
    reactivation_target,
    self_training_loss,
)

RECTIFY = ("none", "cosine", "proda")


@dataclass(frozen=True)
class ProdaSettings(Options):
    """ProDA's parts around self-training (Zhang et al., CVPR 2021); off, as in SMAF's release."""

    GROUP: ClassVar[str] = "ProDA's parts (off, as in the release)"

    rectify: str = option("none", "weigh fused maps by prototypes", choices=RECTIFY)
    moving_prototype: bool = option(False, "let prototypes follow the teacher's features")
    prototype_momentum: float = option(1e-4, "of their move", within=FRACTION)
    ema: bool = option(False, "the teacher follows the student, and is saved as classifier_ema.pth")
    ema_decay: float = option(0.999, "its decay a step", within=FRACTION)


@dataclass(frozen=True)
class SelfTrainingSettings(Options):
    """The target that the student learns and its loss."""

    GROUP: ClassVar[str] = "self-training"

    background: float = option(
        BACKGROUND, "background constant of the target", within=OPEN_FRACTION
    )
    soft_background: bool = option(
        False,
        "background is what the maps leave to 1, not the constant: for those of refine_fusion",
    )
    weight: float = option(100.0, "factor of the loss", name="loss_weight", within=POSITIVE)
    denoise: bool = option(
        True, "filter by labels, and let the background constant win (without: an ablation)"
    )
    reactivate: bool = option(True, "reactivate the fused maps (without: an ablation)")
    sharpen: str = sharpen_option("sharpen a crop's maps, at a quarter of its size,")
    proda: ProdaSettings = part(ProdaSettings)

    @property
    def even(self) -> float | None:
        """What every labelled class has where a corrected mask is ignored: as the background."""
        return None if self.soft_background else self.background

    @property
    def teacher_sees(self) -> bool:
        """Whether the teacher's forward pass is needed at all."""
        return self.proda.rectify != "none" or self.proda.moving_prototype


@dataclass(frozen=True)
class FusionTrainingPlan(TrainingPlan):
    """Plan of stage 2; the defaults are SMAF's release."""

    GROUP: ClassVar[str] = "stage 2"
    command: ClassVar[str] = "train_fusion"

    weights: str | Path | None = option(
        None,
        "stage 0's classifier, or EPS's published checkpoint; default: below --logdir",
        role=Role.CONTENTS,
    )
    head: str = option(
        AUTO,
        "auto: the weights' own; smaf turns an EPS head into SMAF's with the same CAMs",
        choices=(AUTO, "smaf", "eps"),
    )
    cam_dir: str | Path | None = option(
        None,
        "fused maps (or published .npy); default: below --logdir stage 1's, with --soft_background "
        "those of refine_fusion",
        role=Role.CONTENTS,
        files=".npz",
    )
    corrected: bool = corrected_option()
    target: SelfTrainingSettings = part(SelfTrainingSettings)
    crops: Crops = part(lambda: Crops(jitter=False), without=("scale", "jitter"))

    @property
    def corrections_decide(self) -> bool:
        """Whether corrected masks are among the targets."""
        return self.corrected

    def located(self, places: Places) -> FusionTrainingPlan:
        """The plan with the files of a whole run where it names none."""
        maps = places.refined if self.target.soft_background else places.fused
        return self.filled(weights=places.eps, cam_dir=maps)


class SelfTrainingTask:
    """This is the task of stage 2, with its self-training loss and its teacher.

    The teacher is a copy of the starting model; with `ema` it follows the student.
    """

    def __init__(
        self,
        model: Classifier,
        settings: SelfTrainingSettings,
        prototypes: Tensor | None,
        centres: bool = False,
    ) -> None:
        self.settings, self.prototypes, self.centres = settings, prototypes, centres
        self.teacher: Classifier | None = None
        if settings.proda.ema or settings.teacher_sees:
            self.teacher = copy.deepcopy(model).eval().requires_grad_(False)

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; see :class:`smaf.engine.training.loop.Task`."""
        fused = batch["fused"]
        if self.settings.teacher_sees:
            fused = self._rectified(fused, batch)
        if self.settings.sharpen == "par":
            fused = self._sharpened(fused, batch)
        target = reactivation_target(
            fused,
            batch["labels"],
            background=self.settings.background,
            denoise=self.settings.denoise,
            reactivate=self.settings.reactivate,
            soft_background=self.settings.soft_background,
        )
        output: ClassifierOutput = network(batch["image"])
        return self_training_loss(
            output.cam, target, weight=self.settings.weight, align_corners=not self.centres
        ), {}

    @torch.no_grad()
    def _rectified(self, fused: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Multiply the fused maps by the teacher's prototype weights (ProDA, eq. 4).

        The weights are those at the crop's place, in its geometry. What people corrected stays.
        """
        # both are made where the teacher sees
        assert self.teacher is not None and self.prototypes is not None
        seen: ClassifierOutput = self.teacher(batch["whole"])
        cam, features = seen.cam.float(), seen.features.float()
        self.prototypes = self.prototypes.to(features)
        if self.settings.proda.moving_prototype:
            vectors, ids = class_prototypes(features, cam, labels=batch["labels"])
            self.prototypes = move_prototypes(
                self.prototypes, vectors, ids, momentum=self.settings.proda.prototype_momentum
            )
            if dist.is_initialized():  # each process has seen other photographs
                dist.all_reduce(self.prototypes)
                self.prototypes /= dist.get_world_size()
        if self.settings.proda.rectify == "none":
            return fused
        crop = F.grid_sample(
            features, batch["grid"], mode="bilinear", padding_mode="border", align_corners=False
        )
        weights = prototype_weights(crop, self.prototypes, kind=self.settings.proda.rectify)  # type: ignore[arg-type]
        rectified = fused * weights[:, : fused.shape[1]]
        return torch.where(batch["corrected"][:, None, None, None], fused, rectified)

    @torch.no_grad()
    def _sharpened(self, fused: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """The fused maps after PAR, which is beyond the paper; what people corrected stays."""
        sharpened = par_maps(batch["image"], fused)
        return torch.where(batch["corrected"][:, None, None, None], fused, sharpened)

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        """Move the teacher after the student: parameters by the decay, buffers copied."""
        if self.teacher is None or not self.settings.proda.ema:
            return
        for ours, theirs in zip(self.teacher.parameters(), model.parameters(), strict=True):
            ours.lerp_(theirs.to(ours), 1.0 - self.settings.proda.ema_decay)
        for buffer, source in zip(self.teacher.buffers(), model.buffers(), strict=True):
            buffer.copy_(source)

    def state_dict(self) -> dict[str, Any]:
        """Prototypes and the teacher's weights."""
        state: dict[str, Any] = {"prototypes": self.prototypes}
        if self.teacher is not None:
            state["teacher"] = self.teacher.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.prototypes = state["prototypes"]
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])


def _prototypes(
    model: Classifier, data: DataRoot, ids: list[str], *, folder: Path, side: int, source: str
) -> Tensor:
    """The folder's initial prototypes, computed by the starting model where they are not there yet.

    `source` tells what they are made of: those of other weights are an error.
    """
    path = folder / PROTOTYPES
    if not distributed.first_alone(path.is_file):
        prototypes = initial_prototypes(model, data, ids, side=side)
        if distributed.rank() == 0:
            write_prototypes(path, prototypes, data.classes.names, source=source)
    return distributed.first_alone(
        lambda: read_prototypes(
            path, class_names=data.classes.names, channels=model.feature_channels, source=source
        )
    )


def _task(
    model: Classifier, data: DataRoot, plan: FusionTrainingPlan, run: OutputRun, settings: Settings
) -> SelfTrainingTask:
    """The task, with prototypes where the teacher needs them; `data` as corrected."""
    prototypes, ids = None, data.ids(plan.list_name)
    if plan.target.teacher_sees:
        shown = set(data.shown(ids))
        background = [i for i in ids if i not in shown]
        source = checksum([settings.values.get("weights"), *ids, plan.crops.crop, *background])
        prototypes = _prototypes(
            model, data, ids, folder=run.folder, side=plan.crops.crop, source=source
        )
    return SelfTrainingTask(model, plan.target, prototypes, plan.crops.centres)


def _stream(corrections: Corrections, plan: FusionTrainingPlan, model: Classifier) -> FusedStream:
    data, cam_dir = corrections.data, Path(plan.cam_dir or "")
    ids = data.ids(plan.list_name)
    stream = FusedStream(
        data,
        ids,
        maps_folder=cam_dir,
        whole=plan.target.teacher_sees,
        corrected=corrections.ids,
        even=plan.target.even,
        augmentation=plan.crops.augmentation(),
        seed=plan.seed,
        mean=model.mean,
        std=model.std,
    )
    data.require(ids, labels=True)
    tell_background(len(data.shown(ids)), len(ids), "photographs")
    require_fused(cam_dir, [i for i in ids if i not in corrections.ids], data)
    return stream


def train_fusion(data: DataRoot, plan: FusionTrainingPlan, output: Output | Path | str) -> Path:
    """Run stage 2 in the folder `output`; return the path of the student's checkpoint.

    Reads photographs, image-level labels and fused maps, and no masks but corrected ones, where the
    plan says so. A stopped run goes on. Raises :class:`InputError` for data or weights that do not
    serve.
    """
    plan.require("weights", "cam_dir")
    output = Output.of(output)
    device = plan.compute.choose_device()
    seed_everything(plan.seed)
    model = trained_classifier(plan.weights or "", data, head=plan.head)
    if model.head == "cls":
        raise InputError(
            f"weights {plan.weights} are a plain-CAM network without a background channel: "
            "self-training needs stage 0 with --network eps"
        )
    plan.prepare(model)
    with plan.compute.limited(), process_group(device):
        plan = with_precision(plan, output, device=device, trial=lambda: training_trial(model))
        settings = settings_of(data, plan)
        corrections = corrections_of(data, data.ids(plan.list_name), wanted=plan.corrected)
        stream = _stream(corrections, plan, model)
        background = plan.target.background
        # by the labels of the file: what people corrected is learned, not judged by
        validate = validator(model, data, plan.validation, background=background)
        with training_run(output, settings, images=len(stream.ids)) as run:
            task = _task(model.to(device), corrections.data, plan, run, settings)

            def save(folder: Path) -> None:
                if task.teacher is not None and plan.target.proda.ema:
                    write_checkpoint(folder / EMA_CLASSIFIER, task.teacher, data.classes.names)
                # last: this file says that all is done
                write_checkpoint(folder / CLASSIFIER, model, data.classes.names)

            training = plan.training(
                model, task, stream, device=device, save=save, validate=validate
            )
            return train(training, run, result=CLASSIFIER)
