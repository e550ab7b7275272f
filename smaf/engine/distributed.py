"""One process or many: what `torchrun` says in the environment, and nothing where it does not run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def rank() -> int:
    """This process's number, 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """Number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def share(items: Sequence[T]) -> list[T]:
    """The part of `items` that this process works on."""
    return list(items[rank()::world()])


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes (NCCL on CUDA, gloo elsewhere) for the block; nothing to do for one process."""
    if world() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Block until every process is here."""
    if dist.is_initialized():
        dist.barrier()
