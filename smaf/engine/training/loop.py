"""The training loop of stages 0, 2 and 4."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from smaf.core.device import autocast
from smaf.core.errors import InputError
from smaf.core.options import NOT_NEGATIVE, POSITIVE, Options, Role, option, part
from smaf.data.streams import TrainingStream
from smaf.engine import distributed
from smaf.engine.training.batches import explained, naming, open_batches
from smaf.engine.training.optim import (
    OptimSettings,
    make_optimiser,
    parameter_groups,
    set_poly_rate,
)
from smaf.engine.training.state import (
    CHECKPOINT,
    REMEDY,
    random_states,
    read_state,
    set_random_states,
    write_state,
)
from smaf.engine.training.stops import StopAfterStep
from smaf.models import Trainable

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger("smaf")


@dataclass(frozen=True)
class LoopSettings(Options):
    """How long and on how much a network is trained; defaults are the published recipe's."""

    GROUP: ClassVar[str] = "training"

    steps: int = option(20_000, "steps of the optimiser", within=POSITIVE)
    batch_size: int = option(8, "photographs a forward pass and process", within=POSITIVE)
    accumulate: int = option(1, "forward passes a step", within=POSITIVE)
    checkpoint_minutes: float = option(
        5.0, "minutes between checkpoints", within=NOT_NEGATIVE, role=Role.RUN
    )
    optim: OptimSettings = part(OptimSettings)


class Task(Protocol):
    """A task is what a stage adds to the training loop.

    It gives its loss, what it does after a step, and the state that it keeps.
    """

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


@dataclass(frozen=True)
class Training:
    """What is trained, on what, and how.

    `save` writes the finished network to a folder; `validate` gives the mIoU of the network on a
    list, computed by all processes together.
    """

    model: Trainable
    task: Task
    stream: TrainingStream
    settings: LoopSettings
    device: torch.device
    save: Callable[[Path], None]
    precision: str = "fp32"
    num_workers: int = 0
    validate: Callable[[], float] | None = None
    val_every: int = 1000


class Trainer:
    """Runs a training, with a checkpoint every few minutes in `folder`."""

    def __init__(self, training: Training, folder: Path) -> None:
        self.training, self.settings, self.folder = training, training.settings, folder
        self.task, self.device = training.task, training.device
        self.format = training.model.training_format(self.device)
        self.model = training.model.to(self.device).to(memory_format=self.format)
        optim = self.settings.optim
        head, fresh = self.model.head_modules, self.model.fresh_modules
        groups = parameter_groups(self.model, optim, head=head, fresh=fresh)
        self.optimiser = make_optimiser(groups, optim)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=training.precision == "fp16")
        self.step = 0

    def restore(self) -> bool:
        """Go on from the folder's checkpoint; False where there is none."""
        state = read_state(self.folder)
        step = 0 if state is None else state["step"]
        first = distributed.first_alone(lambda: step)
        if first != step:
            raise InputError(
                f"{self.folder / CHECKPOINT} is at step {step} for process {distributed.rank()}, "
                f"at {first} for process 0: the machines see different files, or a network file "
                "system shows an old one for a minute; run the same command again"
            )
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
        """Write the checkpoint: weights, optimiser with rates, step, random states, task."""
        if distributed.rank() == 0:
            state = {
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.scaler.state_dict(),
                "task": self.task.state_dict(),
                "step": self.step,
                "random": random_states(),
            }
            write_state(self.folder, state)

    def run(self, after_step: Callable[[], None] | None = None) -> None:
        """Train from the present step to the last: set the rate, step, report, validate, save.

        `after_step` is called once a step is taken.
        """
        network, stop, saved = self._network(), StopAfterStep(), time.monotonic()
        workers = self.training.num_workers
        self.model.train()
        with (
            stop.listening(),
            self._board() as board,
            self._bar() as bar,
            explained(),
            open_batches(self.training.stream, self.settings, self.step, workers) as batches,
        ):
            while self.step < self.settings.steps:
                self._set_rate()
                terms = self._step(network, batches)
                self.task.after_step(self.model)
                self.step += 1
                if after_step is not None:
                    after_step()
                with naming(self.folder / "tensorboard"):
                    self._report(bar, board, terms)
                self._validate(board)
                due = time.monotonic() - saved > 60 * self.settings.checkpoint_minutes
                stopping = distributed.any_process(stop.asked)  # all stop after the same step
                if self.step == self.settings.steps or stopping or due:
                    self.save()
                    saved = time.monotonic()
                if stopping:
                    raise KeyboardInterrupt

    def _network(self) -> nn.Module:
        """The model, or what averages its gradients over the processes."""
        if distributed.world() == 1:
            return self.model
        # BatchNorm's buffers are frozen, or each process's own. Before PyTorch 2.13 the option has
        # another name
        options: dict[str, Any] = {"forward_sync_buffers": False}
        if options.keys() - signature(DistributedDataParallel).parameters.keys():
            options = {"broadcast_buffers": False}
        return DistributedDataParallel(self.model, **options)

    @contextmanager
    def _board(self) -> Iterator[SummaryWriter | None]:
        """TensorBoard's writer, of the first process alone; closed where all went well."""
        if distributed.rank() > 0:
            yield None
            return
        from torch.utils.tensorboard import SummaryWriter  # takes a second: not at import

        board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step)
        yield board
        with naming(self.folder / "tensorboard"):
            board.close()

    def _bar(self) -> tqdm[Any]:
        return tqdm(
            total=self.settings.steps,
            initial=self.step,
            unit="step",
            disable=distributed.rank() > 0,
            mininterval=1.0,
        )

    def _set_rate(self) -> None:
        optim = self.settings.optim
        step = self.step - self.step % optim.rate_every
        set_poly_rate(
            self.optimiser, step, self.settings.steps, power=optim.power, warmup=optim.warmup
        )

    def _step(self, network: nn.Module, batches: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
        """One step over `accumulate` batches; returns the means of the loss's terms."""
        sums: dict[str, Tensor] = {}
        for index in range(self.settings.accumulate):
            batch = {
                key: value.to(self.device, non_blocking=True)
                for key, value in next(batches).items()
            }
            batch["image"] = batch["image"].contiguous(memory_format=self.format)
            last = index == self.settings.accumulate - 1
            parallel = network if isinstance(network, DistributedDataParallel) else None
            with nullcontext() if last or parallel is None else parallel.no_sync():
                with autocast(self.device, self.training.precision):
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
        """Show the loss, every ten steps; raise :class:`InputError` where it is not finite."""
        bar.update()
        if self.step % 10 and self.step != self.settings.steps:
            return  # reading a loss waits for the device
        values = {name: value.item() for name, value in terms.items()}
        if not all(abs(v) < float("inf") for v in values.values()):
            raise InputError(
                f"{self.folder}: the loss is not finite at step {self.step}: lower --lr, or use "
                "--precision fp32; the last checkpoint is kept"
            )
        bar.set_postfix(loss=f"{values['loss']:.4f}")
        if board is not None:
            for name, value in values.items():
                board.add_scalar(f"train/{name}", value, self.step)
            board.add_scalar("train/rate", self.optimiser.param_groups[0]["lr"], self.step)

    def _validate(self, board: SummaryWriter | None) -> None:
        """Validate where it is time, at the last step always."""
        validate = self.training.validate
        last = self.step == self.settings.steps
        if validate is None or (self.step % self.training.val_every and not last):
            return
        miou = validate()
        self.model.train()
        if board is not None:
            with naming(self.folder / "tensorboard"):
                board.add_scalar("val/miou", miou, self.step)
            log.info("step %d: validation mIoU %.2f %%", self.step, 100 * miou)
