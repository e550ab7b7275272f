"""Stage 0: the EPS classifier, and the plain-CAM baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from smaf.core.device import seed_everything
from smaf.core.network_facts import STRIDES
from smaf.core.options import FRACTION, Role, option
from smaf.data.augment import TARGET_STRIDE
from smaf.data.layout import DataRoot
from smaf.data.streams import SaliencyStream, TrainingStream
from smaf.engine.distributed import process_group
from smaf.engine.outputs import CLASSIFIER, Output, settings_of
from smaf.engine.plans import TrainingPlan
from smaf.engine.precision import training_trial, with_precision
from smaf.engine.saliency import check_saliency
from smaf.engine.training.run import tell_background, train, training_run
from smaf.engine.training.validation import validator
from smaf.models import (
    IMAGENET,
    RESNET38,
    Classifier,
    ClassifierOutput,
    build_classifier,
    write_checkpoint,
)
from smaf.ops import classification_loss, eps_loss

POOLS = ("mean", "max")


@dataclass(frozen=True)
class EpsPlan(TrainingPlan):
    """Plan of stage 0; the defaults are EPS's published recipe (Lee et al., CVPR 2021)."""

    GROUP: ClassVar[str] = "stage 0"
    command: ClassVar[str] = "train_eps"

    network: str = option("eps", "eps, or cls: plain CAM, no saliency", choices=("eps", "cls"))
    saliency: bool = option(
        True,
        "saliency maps take part; without them it is --network cls, which needs none",
        role=Role.RUN,  # it decides nothing that the network does not say
    )
    backbone: str = option(RESNET38, "resnet38, or any timm model (tf_efficientnet_lite0)")
    head: str = option("smaf", "head of --network eps", choices=("smaf", "eps"))
    output_stride: int | None = option(
        None,
        "default: 8 for resnet38, a vision transformer's patch size, 16 for timm's others",
        kind=int,
        choices=STRIDES,
    )
    weights: str | Path = option(
        IMAGENET, "imagenet (installed, or fetched by timm), none, or a file", role=Role.CONTENTS
    )
    tau: float = option(
        0.4, "EPS: overlap above which a labelled class is salient", within=FRACTION
    )
    lam: float = option(0.5, "EPS: share of the foreground estimate", within=FRACTION)
    pool: str = option(
        "mean",
        "how a CAM's logits become the photograph's score that labels are compared with: their "
        "mean as published, or their maximum, as transformers are trained",
        choices=POOLS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.saliency:
            object.__setattr__(self, "network", "cls")

    @property
    def saliency_decides(self) -> bool:
        """Whether saliency maps take part: not in the plain-CAM baseline."""
        return self.network == "eps"

    def build(self, num_classes: int) -> Classifier:
        """The network that training starts from."""
        return build_classifier(
            self.backbone,
            num_classes=num_classes,
            head=self.head if self.saliency_decides else "cls",
            pretrained=None if self.weights == "none" else self.weights,
            output_stride=self.output_stride,
        )


@dataclass(frozen=True)
class EpsTask:
    """Classification loss plus EPS's saliency loss; without `saliency` the first alone.

    With `centres` the CAM's logits are brought to a quarter of the crop (bilinear, cells at their
    centres), where the saliency map is averaged; the published recipe takes one pixel of it a cell.
    """

    tau: float = 0.4
    lam: float = 0.5
    saliency: bool = True
    centres: bool = False
    pool: str = "mean"

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its two terms; see :class:`smaf.engine.training.loop.Task`."""
        output: ClassifierOutput = network(batch["image"])
        scores = output.scores if self.pool == "mean" else output.cam.amax(dim=(2, 3))
        classification = classification_loss(scores.float(), batch["labels"])
        if not self.saliency:
            return classification, {"classification": classification}
        cam, resize = output.cam, "nearest"
        if self.centres:
            side = batch["saliency"].shape[2] // TARGET_STRIDE
            cam = F.interpolate(
                cam.float(), size=(side, side), mode="bilinear", align_corners=False
            )
            resize = "area"
        saliency = eps_loss(
            cam, batch["saliency"], batch["labels"], tau=self.tau, lam=self.lam, resize=resize
        )
        terms = {"classification": classification, "saliency": saliency}
        return classification + saliency, terms

    def after_step(self, model: nn.Module) -> None:
        """Nothing follows a step."""

    def state_dict(self) -> dict[str, Any]:
        """Stage 0 keeps no state of its own."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to take back."""


def train_eps(data: DataRoot, plan: EpsPlan, output: Output | Path | str) -> Path:
    """Run stage 0 in the folder `output`; return the path of the classifier's checkpoint.

    Reads photographs, image-level labels and, but for plain CAM, saliency maps; no masks. A stopped
    run goes on. Raises :class:`InputError` for data or weights that do not serve.
    """
    output = Output.of(output)
    device = plan.compute.choose_device()
    seed_everything(plan.seed)
    model = plan.prepare(plan.build(data.num_classes))
    with plan.compute.limited(), process_group(device):
        plan = with_precision(plan, output, device=device, trial=lambda: training_trial(model))
        ids, settings = data.ids(plan.list_name), settings_of(data, plan)
        kind = SaliencyStream if plan.saliency_decides else TrainingStream
        stream = kind(
            data,
            ids,
            augmentation=plan.crops.augmentation(),
            seed=plan.seed,
            mean=model.mean,
            std=model.std,
        )
        data.require(ids, labels=True, saliency=plan.saliency_decides)
        tell_background(len(data.shown(ids)), len(ids), "photographs")
        if plan.saliency_decides:
            check_saliency(data, ids)
        validate = validator(model, data, plan.validation)
        task = EpsTask(plan.tau, plan.lam, plan.saliency_decides, plan.crops.centres, plan.pool)

        def save(folder: Path) -> None:
            write_checkpoint(folder / CLASSIFIER, model, data.classes.names)

        training = plan.training(model, task, stream, device=device, save=save, validate=validate)
        with training_run(output, settings, images=len(ids)) as run:
            return train(training, run, result=CLASSIFIER)
