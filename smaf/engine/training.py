"""What the training stages share around the loop: the folder, its record, resume and the finished network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from smaf.core.errors import InputError
from smaf.core.files import output_folder
from smaf.core.record import RECORD, RunRecord
from smaf.data.streams import TrainingStream
from smaf.engine import distributed
from smaf.engine.checkpoint import CHECKPOINT
from smaf.engine.loop import LoopSettings, Task, Trainer
from smaf.models import Trainable

log = logging.getLogger("smaf")
CLASSIFIER = "classifier.pth"
EMA_CLASSIFIER = "classifier_ema.pth"
SEGMENTER = "segmenter.pth"
# These may change between a stop and its resume: they do not decide the result
FREE = ("num_workers", "checkpoint_minutes", "val_every", "val_list", "val_long_side", "device")


@dataclass(frozen=True)
class RunFolder:
    """Where a training writes; `resume` demands a checkpoint, `overwrite` drops one. Default: go on if there is one."""

    path: Path
    resume: bool = False
    overwrite: bool = False

    def prepare(self, settings: Mapping[str, Any]) -> RunRecord:
        """Make the folder and check that what is in it belongs to the same settings."""
        output_folder(self.path)
        if self.resume and self.overwrite:
            raise InputError("--resume and --overwrite exclude each other: choose one")
        if self.overwrite and distributed.rank() == 0:
            for name in (CHECKPOINT, CLASSIFIER, EMA_CLASSIFIER, SEGMENTER, RECORD):
                (self.path / name).unlink(missing_ok=True)
        if self.resume and not (self.path / CHECKPOINT).is_file():
            raise InputError(f"--resume: {self.path / CHECKPOINT} does not exist: start without --resume, or name the "
                             "folder of the stopped run")
        record = RunRecord(self.path, settings)
        if not self.overwrite:
            record.check_same(free=FREE)
        return record


def train(model: Trainable, task: Task, stream: TrainingStream, *, settings: LoopSettings, folder: RunFolder,
          facts: Mapping[str, Any], device: torch.device, save: Callable[[Path], None], result_name: str = CLASSIFIER,
          validate: Callable[[Any], float] | None = None, save_extra: Callable[[Path], None] | None = None) -> Path:
    """Train in `folder`, from its checkpoint where there is one; return the path of the finished network.

    `facts` are the settings that the record keeps and a resumed run must share; `save` writes the network to a path.
    """
    record = folder.prepare(facts)
    trainer = Trainer(model, task, stream, settings=settings, folder=folder.path, device=device, validate=validate)
    distributed.wait_for_all()
    if trainer.restore():
        log.info("%s: goes on at step %d of %d", folder.path, trainer.step, settings.steps)
    result = folder.path / result_name
    if trainer.step >= settings.steps and result.is_file():
        log.info("%s is finished; --overwrite trains it again", result)
        return result
    if distributed.rank() == 0:
        record.write(finished=False, images=len(stream.ids))
    trainer.run()
    if distributed.rank() == 0:
        if save_extra is not None:  # first: the network's file says that all is done
            save_extra(folder.path)
        save(result)
        record.write(finished=True, images=len(stream.ids))
        log.info("wrote %s", result)
    distributed.wait_for_all()
    return result
