"""The training loop of stages 0, 2 and 4."""

from __future__ import annotations

import logging
import multiprocessing
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from smaf.core.device import autocast
from smaf.core.errors import InputError
from smaf.core.parallel import end_with_parent
from smaf.data.streams import StreamSampler, TrainingStream
from smaf.engine import distributed
from smaf.engine.checkpoint import (
    CHECKPOINT,
    REMEDY,
    random_states,
    read_checkpoint,
    set_random_states,
    write_checkpoint,
)
from smaf.engine.optim import OptimSettings, make_optimiser, parameter_groups, set_poly_rate
from smaf.models import Trainable

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger("smaf")


@dataclass(frozen=True)
class LoopSettings:
    """`batch_size` photographs a forward pass and process, `accumulate` passes a step; precision
    fp32, bf16, fp16."""

    steps: int = 20_000
    batch_size: int = 8
    accumulate: int = 1
    precision: str = "fp32"
    optim: OptimSettings = field(default_factory=OptimSettings)
    num_workers: int = 2
    checkpoint_minutes: float = 5.0
    val_every: int = 1000


class Task(Protocol):
    """What a stage adds to the loop: its loss, what it does after a step, and the state it
    keeps."""

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and its named terms for the log."""

    def after_step(self, model: nn.Module) -> None:
        """Called after each step of the optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""


class _StopAfterStep:
    """Ctrl-C and SIGTERM wait for the end of the step, so that a checkpoint can be written."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        try:
            before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: whoever runs it handles signals
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        self.asked = True


def _leave_signals_to_the_parent(_: int) -> None:
    """In a worker: a stop that reaches the whole process group must not kill it before the step's
    end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # PyTorch's own watch misses a parent that was killed while the worker's modules loaded
    end_with_parent()


def _worker_start() -> str:
    """How workers are started: never forked from this process, whose threads a fork would break."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@contextmanager
def _told() -> Iterator[None]:
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
def _batches(
    stream: TrainingStream, settings: LoopSettings, start: int
) -> Iterator[Iterator[dict[str, Tensor]]]:
    """The training's batches from step `start` on; the workers that read them are sent home at the
    block's end."""
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
            num_workers=settings.num_workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_leave_signals_to_the_parent,
            multiprocessing_context=_worker_start() if settings.num_workers else None,
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
def _naming(path: Path) -> Iterator[None]:
    """Name the file on errors of the disk that do not: TensorBoard's writer says "No space left on
    device"."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


class Trainer:
    """One training: model, task and optimiser, with a checkpoint every few minutes in `folder`."""

    def __init__(
        self,
        model: Trainable,
        task: Task,
        stream: TrainingStream,
        *,
        settings: LoopSettings,
        folder: Path,
        device: torch.device,
        validate: Callable[[Any], float] | None = None,
    ) -> None:
        self.model = model.to(device)
        self.model = self.model.to(memory_format=torch.channels_last)
        self.task, self.stream, self.settings, self.folder = task, stream, settings, folder
        self.device, self.validate = device, validate
        groups = parameter_groups(model, settings.optim, head=model.head_modules)
        self.optimiser = make_optimiser(groups, settings.optim)
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self.step = 0

    def restore(self) -> bool:
        """Go on from the folder's checkpoint; False where there is none."""
        state = read_checkpoint(self.folder)
        if state is None:
            return False
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.scaler.load_state_dict(state["scaler"])
            self.task.load_state_dict(state["task"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(
                f"checkpoint {self.folder / CHECKPOINT} does not fit this training "
                f"({str(error)[:200]}): {REMEDY}"
            ) from error
        self.step = state["step"]
        set_random_states(state["random"])
        return True

    def save(self) -> None:
        """Write the checkpoint: weights, optimiser (with its rates), step, random states, the
        task's state."""
        if distributed.rank() == 0:
            write_checkpoint(
                self.folder,
                {
                    "model": self.model.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "step": self.step,
                    "scaler": self.scaler.state_dict(),
                    "task": self.task.state_dict(),
                    "random": random_states(),
                },
            )

    def run(self) -> None:
        """Train from the present step to the last."""
        from torch.utils.tensorboard import SummaryWriter  # takes a second: not at import

        network: nn.Module = self.model
        if distributed.world() > 1:
            # BatchNorm's buffers are frozen, or each process's own. Before PyTorch 2.13 the option
            # has another name
            options: dict[str, Any] = {"forward_sync_buffers": False}
            if options.keys() - signature(DistributedDataParallel).parameters.keys():
                options = {"broadcast_buffers": False}
            network = DistributedDataParallel(self.model, **options)
        first = distributed.rank() == 0
        stop, saved = _StopAfterStep(), time.monotonic()
        board = (
            SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step) if first else None
        )
        bar = tqdm(
            total=self.settings.steps,
            initial=self.step,
            unit="step",
            disable=not first,
            mininterval=1.0,
        )
        self.model.train()
        with (
            stop.listening(),
            bar,
            _told(),
            _batches(self.stream, self.settings, self.step) as batches,
        ):
            while self.step < self.settings.steps:
                optim = self.settings.optim
                set_poly_rate(
                    self.optimiser,
                    self.step - self.step % optim.rate_every,
                    self.settings.steps,
                    power=optim.power,
                )
                terms = self._step(network, batches)
                self.task.after_step(self.model)
                self.step += 1
                with _naming(self.folder / "tensorboard"):
                    self._report(bar, board, terms)
                due = time.monotonic() - saved > 60 * self.settings.checkpoint_minutes
                stopping = distributed.any_process(stop.asked)  # all stop after the same step
                if self.step == self.settings.steps or stopping or due:
                    self.save()
                    saved = time.monotonic()
                if stopping:
                    raise KeyboardInterrupt
        if board is not None:
            with _naming(self.folder / "tensorboard"):
                board.close()

    def _step(self, network: nn.Module, batches: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
        """One step of the optimiser over `accumulate` batches; returns the means of the loss's
        terms."""
        sums: dict[str, Tensor] = {}
        for part in range(self.settings.accumulate):
            batch = {
                key: value.to(self.device, non_blocking=True)
                for key, value in next(batches).items()
            }
            batch["image"] = batch["image"].contiguous(memory_format=torch.channels_last)
            last = part == self.settings.accumulate - 1
            with (
                nullcontext()
                if last or not isinstance(network, DistributedDataParallel)
                else network.no_sync()
            ):
                with autocast(self.device, self.settings.precision):
                    loss, terms = self.task.loss(network, batch)
                self.scaler.scale(loss / self.settings.accumulate).backward()
            for name, value in {"loss": loss, **terms}.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / self.settings.accumulate
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        return sums

    def _report(
        self, bar: tqdm[Any], board: SummaryWriter | None, terms: dict[str, Tensor]
    ) -> None:
        bar.update()
        if (
            self.step % 10 == 0 or self.step == self.settings.steps
        ):  # reading a loss waits for the device
            values = {name: value.item() for name, value in terms.items()}
            if not all(abs(v) < float("inf") for v in values.values()):
                raise InputError(
                    f"{self.folder}: the loss is not finite at step {self.step}: lower --lr, or "
                    "use --precision fp32; the last checkpoint is kept"
                )
            bar.set_postfix(loss=f"{values['loss']:.4f}")
            if board is not None:
                for name, value in values.items():
                    board.add_scalar(f"train/{name}", value, self.step)
                board.add_scalar("train/rate", self.optimiser.param_groups[0]["lr"], self.step)
        last = self.step == self.settings.steps
        if self.validate is not None and (last or self.step % self.settings.val_every == 0):
            miou = self.validate(self.model)
            self.model.train()
            if board is not None:
                board.add_scalar("val/miou", miou, self.step)
                log.info("step %d: validation mIoU %.2f %%", self.step, 100 * miou)
