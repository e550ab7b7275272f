"""What the training stages share around the loop: the folder, its record, resume and the finished
network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from smaf.core.errors import InputError
from smaf.data.streams import TrainingStream
from smaf.engine import distributed
from smaf.engine.checkpoint import CHECKPOINT
from smaf.engine.loop import LoopSettings, Task, Trainer
from smaf.engine.outputs import OutputRun, output_run
from smaf.models import Trainable

log = logging.getLogger("smaf")
CLASSIFIER = "classifier.pth"
EMA_CLASSIFIER = "classifier_ema.pth"
SEGMENTER = "segmenter.pth"
_RESULTS = (
    CHECKPOINT,
    CLASSIFIER,
    EMA_CLASSIFIER,
    SEGMENTER,
    "prototypes_*.npz",
    "tensorboard/events.*",
)


@dataclass(frozen=True)
class RunFolder:
    """Where a training writes; `resume` demands a checkpoint, `overwrite` drops one. Default: go on
    if there is one."""

    path: Path
    resume: bool = False
    overwrite: bool = False

    @contextmanager
    def open(self, settings: Mapping[str, Any], *, images: int) -> Iterator[OutputRun]:
        """Hold the folder for a training with these settings, see
        :func:`smaf.engine.outputs.output_run`."""
        if self.resume and self.overwrite:
            raise InputError("--resume and --overwrite exclude each other: choose one")
        if self.resume and not (self.path / CHECKPOINT).is_file():
            raise InputError(
                f"--resume: {self.path / CHECKPOINT} does not exist: start without --resume, or "
                "name the folder of the stopped run"
            )
        with output_run(
            self.path, settings, results=_RESULTS, images=images, overwrite=self.overwrite
        ) as run:
            yield run


def train(
    model: Trainable,
    task: Task,
    stream: TrainingStream,
    *,
    settings: LoopSettings,
    run: OutputRun,
    device: torch.device,
    save: Callable[[Path], None],
    result_name: str = CLASSIFIER,
    validate: Callable[[Any], float] | None = None,
    save_extra: Callable[[Path], None] | None = None,
) -> Path:
    """Train in the run's folder, from its checkpoint where there is one; return the path of the
    finished network.

    `save` writes the network to a path.
    """
    trainer = Trainer(
        model, task, stream, settings=settings, folder=run.folder, device=device, validate=validate
    )
    if trainer.restore():
        log.info("%s: goes on at step %d of %d", run.folder, trainer.step, settings.steps)
    result = run.folder / result_name
    if trainer.step >= settings.steps and result.is_file():
        log.info("%s is finished; --overwrite trains it again", result)
        return result
    run.begin()
    trainer.run()
    if distributed.rank() == 0:
        if save_extra is not None:  # first: the network's file says that all is done
            save_extra(run.folder)
        save(result)
        log.info("wrote %s", result)
    distributed.wait_for_all()
    return result
