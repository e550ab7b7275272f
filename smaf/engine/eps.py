"""Stage 0: the EPS classifier, and the plain-CAM baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smaf.data.augment import TARGET_STRIDE, Augmentation
from smaf.data.layout import DataRoot
from smaf.data.streams import SaliencyStream, TrainingStream
from smaf.engine.loop import LoopSettings
from smaf.engine.saliency import check_saliency
from smaf.engine.training import RunFolder, train
from smaf.engine.validation import validator
from smaf.models import Classifier, ClassifierOutput, write_checkpoint
from smaf.ops import classification_loss, eps_loss


@dataclass(frozen=True)
class EpsTask:
    """Classification loss plus EPS's saliency loss; a network of head `"cls"` has the first alone.

    With `centres` the CAM's logits are brought to a quarter of the crop (bilinear, cells at their
    centres), where the saliency map is averaged; the published recipe takes one pixel of it a cell.
    """

    tau: float = 0.4
    lam: float = 0.5
    saliency: bool = True
    centres: bool = False

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :class:`smaf.engine.loop.Task`."""
        output: ClassifierOutput = network(batch["image"])
        classification = classification_loss(output.scores.float(), batch["labels"])
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
        return classification + saliency, {"classification": classification, "saliency": saliency}

    def after_step(self, model: nn.Module) -> None:
        """Nothing to do."""

    def state_dict(self) -> dict[str, Any]:
        """Stage 0 keeps no state of its own."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take back."""


def train_eps(
    model: Classifier,
    data: DataRoot,
    *,
    list_name: str,
    task: EpsTask,
    augmentation: Augmentation,
    seed: int,
    settings: LoopSettings,
    folder: RunFolder,
    facts: Mapping[str, Any],
    device: torch.device,
    val_list: str | None = None,
    val_long_side: int | None = None,
) -> Path:
    """Run stage 0 and return the classifier's path. Reads photographs, image labels and saliency
    maps, no masks."""
    ids = data.ids(list_name)
    kind = SaliencyStream if task.saliency else TrainingStream
    stream = kind(data, ids, augmentation=augmentation, seed=seed, mean=model.mean, std=model.std)
    data.require(ids, saliency=task.saliency)
    if task.saliency:
        check_saliency(data, ids)
    validate = validator(data, val_list, long_side=val_long_side)
    with folder.open(facts, images=len(ids)) as run:
        return train(
            model,
            task,
            stream,
            settings=settings,
            run=run,
            device=device,
            validate=validate,
            save=lambda path: write_checkpoint(path, model, data.classes.names),
        )
