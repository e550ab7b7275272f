"""What `--precision auto` stands for: chosen before a run begins, recorded, and kept from then on.

bf16 halves the time on some CPUs and takes 14 times as long on others, whatever they say that they
can do: there the stage's own network is timed.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from smaf.core.device import AUTO_PRECISION, PRECISIONS, autocast
from smaf.core.options import Options
from smaf.core.record import RunRecord
from smaf.engine import distributed
from smaf.engine.outputs import Output
from smaf.models import Trainable, for_inference

log = logging.getLogger("smaf")
Plan = TypeVar("Plan", bound=Options)
_CPU = torch.device("cpu")
_SIDES = (64, 128, 256, 384)  # of the images that are timed, as far as the time goes
_ROUNDS = 3  # at each side: the fastest pass counts, the first one prepares kernels
_SECONDS = 1.0  # for all passes; a network that needs longer for one has one in each precision
_CLEARLY = 3.0  # times as long: bf16 is tried no further, not even to the end of a pass
_LEAST = 0.2  # seconds before a pass is cut: kernels are prepared in the first
_WORTH = 0.9  # of fp32's time: a smaller gain may be the clock's


@dataclass(frozen=True)
class Trial:
    """The networks that a stage runs in fp32 and in bf16, on `count` images at once.

    With `training` a pass goes backward, too, but for networks that take long for one.
    """

    fp32: nn.Module
    bf16: nn.Module
    count: int = 1
    training: bool = False
    layout: torch.memory_format = torch.channels_last

    def seconds(self, precision: str, side: int) -> float:
        """How long one pass takes on square images."""
        network = self.fp32 if precision == "fp32" else self.bf16
        images = torch.zeros(self.count, 3, side, side)
        images = images.contiguous(memory_format=self.layout)
        started = time.perf_counter()
        with torch.set_grad_enabled(self.training):
            with autocast(_CPU, precision):
                given: Any = network(images)
                maps = [given] if isinstance(given, Tensor) else list(given)
            if self.training:
                losses = [m.float().square().mean() for m in maps if m.requires_grad]
                torch.stack(losses).sum().backward()
                network.zero_grad(set_to_none=True)
        return time.perf_counter() - started

    def ready(self) -> Trial:
        """The trial once threads are started; without backward passes where they take too long."""
        forward = replace(self, training=False)
        forward.seconds("fp32", _SIDES[0] // 2)  # it pays for what only a first pass does
        if not self.training or 8 * forward.seconds("fp32", _SIDES[0]) < _SECONDS:
            return self
        return forward


def inference_trial(model: nn.Module) -> Trial:
    """The trial of a network that predicts: fp32 is what :func:`smaf.models.for_inference` runs."""
    return Trial(for_inference(model.eval()), model)


def training_trial(model: Trainable) -> Trial:
    """The trial of a network in training, on a copy of it."""
    layout = model.training_format(_CPU)
    copied = copy.deepcopy(model).to(memory_format=layout).train()
    return Trial(copied, copied, count=2, training=True, layout=layout)


def with_precision(
    plan: Plan, output: Output, *, device: torch.device, trial: Callable[[], Trial] | None
) -> Plan:
    """The plan with a precision that networks know where its `--precision` is auto.

    A run keeps the one that its folder was made with: results of two precisions never mix, and a
    trial that comes out otherwise refuses no folder. A new run takes bf16 on a CUDA device that has
    it, on a CPU where it is faster in a trial of a second, else fp32. The first of many processes
    decides. `trial` is None where no network is run, or its file says how.
    """
    if plan.values()["precision"] != AUTO_PRECISION:
        return plan
    return plan.changed(precision=distributed.first_alone(lambda: _chosen(output, device, trial)))


def _chosen(output: Output, device: torch.device, trial: Callable[[], Trial] | None) -> str:
    """The precision, told in one line."""
    if (kept := _recorded(output)) is not None:
        precision, why = kept, f"as {output.folder} was begun"
    elif trial is None:
        return "fp32"
    elif device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if has else "fp32"
        why = f"the CUDA device has {'' if has else 'no '}bf16"
    elif device.type != "cpu":
        precision, why = "fp32", f"as always on {device.type}"
    else:
        times = slowdown(trial())
        precision = "bf16" if times < _WORTH else "fp32"
        known = f"{times:.2g}" if times < math.inf else f"more than {_CLEARLY:g}"
        why = f"{'it' if precision == 'bf16' else 'bf16'} takes {known} times as long here"
    log.info("precision auto: %s (%s)", precision, why)
    return precision


def _recorded(output: Output) -> str | None:
    """The precision of the run that is to go on; None where there is none."""
    entry = None if output.overwrite else RunRecord(output.folder, {}).previous()
    if entry is None:
        return None
    precision = entry["settings"].get("precision", "fp32")  # versions without the option had fp32
    return precision if precision in PRECISIONS else None


def slowdown(trial: Trial) -> float:
    """How many times as long as fp32 bf16 takes on this CPU; infinity where it was cut off.

    The images grow as far as a second goes; the largest tell. Random states are left as they were.
    """
    with torch.random.fork_rng(devices=[]):
        trial = trial.ready()
        started, ratio = time.perf_counter(), math.inf
        for side in _SIDES:
            began = time.perf_counter()
            ratio, finished = _compared(trial, side, until=started + _SECONDS)
            ended = time.perf_counter()
            if not finished or ratio > _CLEARLY or ended + 4 * (ended - began) > started + _SECONDS:
                break
    return ratio


def _compared(trial: Trial, side: int, *, until: float) -> tuple[float, bool]:
    """bf16's time as a part of fp32's on images of one side, and whether there was time for it."""
    fp32 = bf16 = math.inf
    for number in range(_ROUNDS):
        began = time.perf_counter()
        fp32 = min(fp32, trial.seconds("fp32", side))
        limit = max(_LEAST, _CLEARLY * fp32)
        try:
            with _cut_after(limit, trial.bf16):
                bf16 = min(bf16, trial.seconds("bf16", side))
        except _Cut:
            return math.inf, False
        now = time.perf_counter()
        if bf16 > limit or (now > until and (number or now - began > _SECONDS)):
            return bf16 / fp32, False
    return bf16 / fp32, True


class _Cut(Exception):
    """A pass took too long."""


@contextmanager
def _cut_after(seconds: float, network: nn.Module) -> Iterator[None]:
    """Raise :class:`_Cut` at the first layer that begins later than that."""
    until = time.perf_counter() + seconds

    def check(*_: object) -> None:
        if time.perf_counter() > until:
            raise _Cut

    handles = [layer.register_forward_pre_hook(check) for layer in network.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
