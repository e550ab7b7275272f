"""Stage 2: the student learns the denoised and reactivated fused maps; ProDA's parts around it as
options."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.core.record import checksum
from smaf.data.augment import Augmentation
from smaf.data.layout import DataRoot
from smaf.data.streams import FusedStream
from smaf.engine import distributed
from smaf.engine.inference import require_fused
from smaf.engine.loop import LoopSettings
from smaf.engine.prototypes import PROTOTYPES, initial_prototypes, read_prototypes, write_prototypes
from smaf.engine.training import EMA_CLASSIFIER, RunFolder, train
from smaf.engine.validation import validator
from smaf.models import Classifier, ClassifierOutput, write_checkpoint
from smaf.ops import (
    class_prototypes,
    move_prototypes,
    prototype_weights,
    reactivation_target,
    self_training_loss,
)

RECTIFY = ("none", "cosine", "proda")


@dataclass(frozen=True)
class SelfTrainingSettings:
    """The target and its loss (`background`, `weight`, `soft_background`, `denoise`, `reactivate`;
    `centres`: as in :class:`smaf.data.augment.Augmentation`), and ProDA's parts: `rectify` fused
    maps by prototypes, `ema` teacher (decay `ema_decay`), `moving_prototype` with momentum
    `prototype_momentum`."""

    background: float = 0.2
    weight: float = 100.0
    denoise: bool = True
    reactivate: bool = True
    rectify: str = "none"
    soft_background: bool = False
    centres: bool = False
    ema: bool = False
    ema_decay: float = 0.999
    moving_prototype: bool = False
    prototype_momentum: float = 1e-4

    @property
    def teacher_sees(self) -> bool:
        """Whether the teacher's forward pass is needed at all."""
        return self.rectify != "none" or self.moving_prototype


class SelfTrainingTask:
    """Loss of stage 2. The teacher is a copy of the starting model; with `ema` it follows the
    student."""

    def __init__(
        self, model: Classifier, settings: SelfTrainingSettings, prototypes: Tensor | None
    ) -> None:
        self.settings, self.prototypes = settings, prototypes
        self.teacher: Classifier | None = None
        if settings.ema or settings.teacher_sees:
            self.teacher = copy.deepcopy(model).eval().requires_grad_(False)

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :class:`smaf.engine.loop.Task`."""
        fused = batch["fused"]
        if self.settings.teacher_sees:
            fused = self._rectified(fused, batch)
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
            output.cam, target, weight=self.settings.weight, align_corners=not self.settings.centres
        ), {}

    @torch.no_grad()
    def _rectified(self, fused: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Multiply the fused maps by the teacher's prototype weights, in the crop's geometry
        (ProDA, eq. 4)."""
        assert (
            self.teacher is not None and self.prototypes is not None
        )  # made in __init__ and train_fusion
        output: ClassifierOutput = self.teacher(batch["whole"])
        cam, features = output.cam.float(), output.features.float()
        self.prototypes = self.prototypes.to(features)
        if self.settings.moving_prototype:
            vectors, ids = class_prototypes(features, cam)
            self.prototypes = move_prototypes(
                self.prototypes, vectors, ids, momentum=self.settings.prototype_momentum
            )
            if dist.is_initialized():  # each process has seen other photographs
                dist.all_reduce(self.prototypes)
                self.prototypes /= dist.get_world_size()
        if self.settings.rectify == "none":
            return fused
        crop = F.grid_sample(
            features, batch["grid"], mode="bilinear", padding_mode="border", align_corners=False
        )
        weights = prototype_weights(crop, self.prototypes, kind=self.settings.rectify)  # type: ignore[arg-type]
        return fused * weights[:, : fused.shape[1]]

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        """Move the teacher after the student: parameters by the decay, buffers copied."""
        if self.teacher is None or not self.settings.ema:
            return
        for ours, theirs in zip(self.teacher.parameters(), model.parameters(), strict=True):
            ours.lerp_(theirs.to(ours), 1.0 - self.settings.ema_decay)
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
    model: Classifier, data: DataRoot, ids: list[str], folder: Path, side: int, source: str
) -> Tensor:
    """The folder's initial prototypes, computed by the starting model where they are not there yet.

    `source` tells what they are made of: those of other weights are an error.
    """
    path = folder / PROTOTYPES
    if not distributed.any_process(path.is_file()):
        prototypes = initial_prototypes(model, data, ids, side=side)
        if distributed.rank() == 0:
            write_prototypes(path, prototypes, data.classes.names, source=source)
        distributed.wait_for_all()
    return read_prototypes(
        path, class_names=data.classes.names, channels=model.feature_channels, source=source
    )


def train_fusion(
    model: Classifier,
    data: DataRoot,
    *,
    list_name: str,
    cam_dir: Path,
    settings: SelfTrainingSettings,
    augmentation: Augmentation,
    seed: int,
    loop: LoopSettings,
    folder: RunFolder,
    facts: Mapping[str, Any],
    device: torch.device,
    val_list: str | None = None,
    val_long_side: int | None = None,
) -> Path:
    """Run stage 2 and return the student's path. `model` holds stage 0's weights. Reads no
    masks."""
    ids = data.ids(list_name)
    stream = FusedStream(
        data, ids, augmentation=augmentation, seed=seed, mean=model.mean, std=model.std
    )
    stream.whole, stream.maps_folder = settings.teacher_sees, cam_dir
    data.require(ids)
    require_fused(cam_dir, ids, data)
    validate = validator(data, val_list, background=settings.background, long_side=val_long_side)
    with folder.open(facts, images=len(ids)) as run:
        model.to(device)
        prototypes = None
        if settings.teacher_sees:
            source = checksum([facts.get("weights"), *ids, augmentation.crop])
            prototypes = _prototypes(model, data, ids, run.folder, augmentation.crop, source)
        task = SelfTrainingTask(model, settings, prototypes)

        def save_teacher(path: Path) -> None:
            if task.teacher is not None and settings.ema:
                write_checkpoint(path / EMA_CLASSIFIER, task.teacher, data.classes.names)

        return train(
            model,
            task,
            stream,
            settings=loop,
            run=run,
            device=device,
            validate=validate,
            save=lambda path: write_checkpoint(path, model, data.classes.names),
            save_extra=save_teacher,
        )
