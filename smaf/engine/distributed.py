"""One process or many, as `torchrun` says in the environment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from smaf.core.errors import InputError
from smaf.engine.heartbeat import watched

T = TypeVar("T")
# One process may read a large list while the others wait; where one fails, its launcher ends the
# others at once, and smaf.engine.heartbeat where a machine fails
_PATIENCE = timedelta(days=7)
# Seconds before the group is left: where gloo's threads still hold tensors PyTorch 2.6 waited for
# ever in 3 of 14 runs, in none of 26 after this pause
_PAUSE = 0.2
_LATE = 65.0  # seconds after which a network file system shows what another machine wrote


def rank() -> int:
    """This process's number, 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """Number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def share(items: Sequence[T]) -> list[T]:
    """The part of `items` that this process works on."""
    return list(items[rank() :: world()])


class _Control:
    """The group through which processes agree, on the CPU.

    It neither waits for a GPU nor keeps one busy.
    """

    group: Any = None


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes for the block; for one process there is nothing to do.

    NCCL joins them on CUDA, gloo elsewhere. A block within another one joins nothing new: a command
    that runs two stages joins once, around both.
    """
    if world() == 1 or _Control.group is not None:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with watched(rank(), world()):
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
        _Control.group = dist.new_group(backend="gloo", timeout=_PATIENCE)
        try:
            # one that left now, for an error in its input, would look like a fault of the
            # connection
            wait_for_all()
            yield
            wait_for_all()
        finally:
            _Control.group = None
            time.sleep(_PAUSE)
            dist.destroy_process_group()


def wait_for_all() -> None:
    """Block until every process is here."""
    any_process(False)


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in any of the processes; they wait for each other."""
    if _Control.group is None:
        return flag
    value = torch.tensor(int(flag))
    dist.all_reduce(value, dist.ReduceOp.MAX, group=_Control.group)
    return bool(value)


def nodes() -> int:
    """Number of machines, as far as the launcher tells."""
    return max(1, world() // int(os.environ.get("LOCAL_WORLD_SIZE", world())))


def sum_counts(*arrays: np.ndarray) -> None:
    """Replace integer arrays by their sums over the processes, which are exact."""
    for array in arrays:
        total = sum_over_processes(torch.from_numpy(array.astype(np.int64)))
        array[...] = total.numpy().reshape(array.shape)


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of a tensor over the processes; on the CPU where there are many."""
    if _Control.group is None:
        return tensor
    total = tensor.detach().cpu().clone()
    dist.all_reduce(total, group=_Control.group)
    return total


def find_all(find: Callable[[], Mapping[str, T]], wanted: int) -> Mapping[str, T]:
    """What `find` finds; with many machines, waits a minute until it finds all that is `wanted`.

    A network file system shows late what another machine wrote (NFS keeps listings for up to 60 s).
    """
    found, until = find(), time.monotonic() + _LATE
    while len(found) < wanted and nodes() > 1 and time.monotonic() < until:
        time.sleep(1.0)
        found = find()
    return found


def first_alone(action: Callable[[], T]) -> T:
    """Let process 0 do something that the others wait for; return what it gives, to all.

    Where it is refused, every process raises that error. What is read so is the same everywhere,
    also where a network file system shows another machine's files late.
    """
    if _Control.group is None:
        return action()
    outcome: list[Any] = [None, ""]
    if rank() == 0:
        try:
            outcome[0] = action()
        except InputError as error:
            outcome[1] = str(error)
    dist.broadcast_object_list(outcome, src=0, group=_Control.group)
    if outcome[1]:
        raise InputError(outcome[1])
    given: T = outcome[0]
    return given
