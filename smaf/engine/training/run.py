"""A training in its output folder: goes on from its checkpoint, writes the finished network."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smaf.engine import distributed
from smaf.engine.outputs import (
    CLASSIFIER,
    EMA_CLASSIFIER,
    SEGMENTER,
    Output,
    OutputRun,
    Settings,
    output_run,
)
from smaf.engine.training.loop import Trainer, Training
from smaf.engine.training.state import CHECKPOINT

log = logging.getLogger("smaf")
# Patterns of what a training writes
RESULTS = (
    CHECKPOINT,
    CLASSIFIER,
    EMA_CLASSIFIER,
    SEGMENTER,
    "prototypes_*.npz",
    "tensorboard/events.*",
)


@contextmanager
def training_run(output: Output, settings: Settings, *, images: int) -> Iterator[OutputRun]:
    """Hold the output folder of a training, see :func:`smaf.engine.outputs.output_run`."""
    output.check_resume(CHECKPOINT)
    with output_run(output, settings, results=RESULTS, images=images) as run:
        yield run


def tell_background(shown: int, images: int, what: str) -> None:
    """Log how many of the `images` of a list show none of the classes, where there are any."""
    if shown < images and distributed.rank() == 0:
        log.info(
            "%d of %d %s show none of the classes: background everywhere",
            images - shown,
            images,
            what,
        )


def train(training: Training, run: OutputRun, *, result: str) -> Path:
    """Train in the run's folder, from its checkpoint where there is one.

    Returns the path of the finished network, which is called `result` there.
    """
    trainer = Trainer(training, run.folder)
    steps = training.settings.steps
    if trainer.restore():
        log.info("%s: goes on at step %d of %d", run.folder, trainer.step, steps)
    path = run.folder / result
    if trainer.step >= steps and distributed.first_alone(path.is_file):
        log.info("%s is finished; --overwrite trains it again", path)
        return path
    run.begin()
    trainer.run(run.after_step)
    if distributed.rank() == 0:
        training.save(run.folder)
        log.info("wrote %s", path)
    distributed.wait_for_all()
    return path
