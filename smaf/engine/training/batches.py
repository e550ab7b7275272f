"""The batches of a training, read by worker processes, and the errors that come with those."""

from __future__ import annotations

import multiprocessing
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from smaf.core.errors import InputError
from smaf.core.parallel import end_with_parent
from smaf.data.streams import StreamSampler, TrainingStream
from smaf.engine import distributed


class Course(Protocol):
    """How many batches there are; :class:`smaf.engine.training.loop.LoopSettings`."""

    @property
    def steps(self) -> int:
        """Steps of the optimiser."""

    @property
    def batch_size(self) -> int:
        """Photographs a forward pass and process."""

    @property
    def accumulate(self) -> int:
        """Forward passes a step."""


def _leave_signals_to_the_parent(_: int) -> None:
    """In a worker: a stop of the whole process group must not kill it before the step's end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # PyTorch's own watch misses a parent that was killed while the worker's modules loaded
    end_with_parent()


def _worker_start() -> str:
    """How workers are started: never forked from this process, whose threads a fork would break."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@contextmanager
def explained() -> Iterator[None]:
    """Say in one line what PyTorch says in forty of its loader's workers, and of BatchNorm."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        text = str(error)
        if isinstance(error, InputError):
            raise
        if "Expected more than 1 value per channel" in text:
            raise InputError(
                "--batchnorm free needs more than one value a channel to train on: use a larger "
                "--batch_size or --crop, or --batchnorm frozen"
            ) from error
        if re.search(r"/torch_\d+|shared memory|shm|Bus error", text):
            raise InputError(
                "the shared memory (/dev/shm) is too small for the processes that read "
                "photographs: use --num_workers 0, or give the container more (docker run "
                "--shm-size=2g)"
            ) from error
        if re.search(r"DataLoader worker .* (exited unexpectedly|is killed)", text):
            raise InputError(
                "a process that reads photographs was killed, most likely because the memory is "
                "full: run the same command again with fewer --num_workers (0: none)"
            ) from error
        raise


@contextmanager
def open_batches(
    stream: TrainingStream, settings: Course, start: int, num_workers: int
) -> Iterator[Iterator[dict[str, Tensor]]]:
    """Batches from step `start` on; the workers that read them are ended with the block."""
    sampler = StreamSampler(
        start=start,
        steps=settings.steps,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        rank=distributed.rank(),
        world=distributed.world(),
    )
    # The loader draws a worker seed from the generator it is given; the global one stays as the
    # checkpoint has it
    batches = iter(
        DataLoader(
            stream,
            batch_size=settings.batch_size,
            sampler=sampler,
            num_workers=num_workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_leave_signals_to_the_parent,
            multiprocessing_context=_worker_start() if num_workers else None,
            generator=torch.Generator().manual_seed(0),
        )
    )
    try:
        yield batches
    finally:
        # An error that a worker raised holds on to the loader in a cycle. Python would wait at its
        # exit for workers that nobody told to go and that do not hear its SIGTERM
        shut_down = getattr(batches, "_shutdown_workers", None)
        if shut_down is not None:
            shut_down()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file on errors of the disk that do not, such as TensorBoard's."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
