"""One process or many, as `torchrun` says in the environment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from smaf.core.errors import InputError

T = TypeVar("T")
# One process may read a large list while the others wait; where one fails, its launcher ends the
# others at once
_PATIENCE = timedelta(days=7)
# Seconds before the group is left: where gloo's threads still hold tensors PyTorch 2.6 waited for
# ever in 3 of 14 runs, in none of 26 after this pause
_PAUSE = 0.2


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

    NCCL joins them on CUDA, gloo elsewhere.
    """
    if world() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    _Control.group = dist.new_group(backend="gloo", timeout=_PATIENCE)
    try:
        # one that left now, for an error in its input, would look like a fault of the connection
        wait_for_all()
        yield
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


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of a tensor over the processes; on the CPU where there are many."""
    if _Control.group is None:
        return tensor
    total = tensor.detach().cpu().clone()
    dist.all_reduce(total, group=_Control.group)
    return total


def first_alone(action: Callable[[], None]) -> None:
    """Let process 0 do something that the others wait for.

    Where it is refused, every process raises that error.
    """
    message = [""]
    if rank() == 0:
        try:
            action()
        except InputError as error:
            if _Control.group is None:
                raise
            message = [str(error)]
    if _Control.group is not None:
        dist.broadcast_object_list(message, src=0, group=_Control.group)
    if message[0]:
        raise InputError(message[0])
