"""A step of stages 0, 2 and 4 as this project's training loop does it, and batches for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from smaf.core.device import autocast
from smaf.data.augment import TARGET_STRIDE
from smaf.engine.stages.train_eps import EpsTask
from smaf.engine.stages.train_fusion import SelfTrainingSettings, SelfTrainingTask
from smaf.engine.stages.train_seg import SegmentationPlan, SegmentationTask
from smaf.engine.training.loop import LoopSettings, Task
from smaf.engine.training.optim import OptimSettings, make_optimiser, parameter_groups
from smaf.models import Classifier, Trainable, build_classifier, build_segmenter

CLASSES = 20
STAGES = (0, 2, 4)
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Step:
    """What a step is of: a stage, its network, the photographs of a forward pass, the crop."""

    stage: int
    network: str
    photographs: int
    crop: int

    def build(self) -> Trainable:
        """The network with random weights, always the same ones."""
        torch.manual_seed(0)
        if self.stage == 4:
            return build_segmenter(self.network, num_classes=CLASSES + 1)
        return build_classifier(self.network, num_classes=CLASSES)

    def task(self, model: Trainable) -> Task:
        """The published losses."""
        if self.stage == 0:
            return EpsTask()
        if self.stage == 4:
            return SegmentationTask()
        assert isinstance(model, Classifier)
        return SelfTrainingTask(model, SelfTrainingSettings(), None)

    @property
    def loop(self) -> LoopSettings:
        """The published rates, and forward passes a step."""
        return SegmentationPlan().loop if self.stage == 4 else LoopSettings()

    def batch(self) -> Batch:
        """Made-up photographs of two classes each, and what the stage learns of them."""
        made = torch.Generator().manual_seed(0)
        n, side = self.photographs, self.crop // TARGET_STRIDE
        image = torch.randn(n, 3, self.crop, self.crop, generator=made)
        labels = torch.zeros(n, CLASSES)
        labels[:, 7] = labels[:, 14] = 1.0
        if self.stage == 0:
            saliency = torch.rand(n, 1, self.crop, self.crop, generator=made)
            return {"image": image, "labels": labels, "saliency": saliency}
        if self.stage == 2:
            fused = torch.rand(n, CLASSES, side, side, generator=made)
            return {"image": image, "labels": labels, "fused": fused}
        mask = torch.randint(0, CLASSES + 1, (n, side, side), generator=made)
        grown = mask.repeat_interleave(TARGET_STRIDE, 1).repeat_interleave(TARGET_STRIDE, 2)
        mask = torch.full((n, self.crop, self.crop), 255)
        mask[:, : grown.shape[1], : grown.shape[2]] = grown
        return {"image": image, "mask": mask}


def groups_of(model: Trainable, settings: OptimSettings) -> list[dict[str, object]]:
    """The groups of parameters that have any."""
    groups = parameter_groups(model, settings, head=model.head_modules, fresh=model.fresh_modules)
    return [group for group in groups if group["params"]]


def training_step(
    model: Trainable,
    task: Task,
    loop: LoopSettings,
    *,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
) -> Callable[[Batch], float]:
    """A step of the optimiser as :class:`smaf.engine.training.loop.Trainer` does it.

    It is a function of the batch, which stands for all of the step's, and returns the loss.
    """
    device = torch.device(device)
    layout = model.training_format(device)
    model.to(device).to(memory_format=layout)
    optimiser = make_optimiser(groups_of(model, loop.optim), loop.optim)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    model.train()

    def step(batch: Batch) -> float:
        total = torch.zeros((), device=device)
        for _ in range(loop.accumulate):
            there = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
            there["image"] = there["image"].contiguous(memory_format=layout)
            with autocast(device, precision):
                loss, _ = task.loss(model, there)
            scaler.scale(loss / loop.accumulate).backward()
            total += loss.detach() / loop.accumulate
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad(set_to_none=True)
        return float(total)

    return step
