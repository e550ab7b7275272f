"""Where the computation runs, and the one place that seeds it."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator

import numpy as np
import torch

from smaf.core.errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("fp32", "bf16", "fp16")
AUTO_PRECISION = "auto"  # stands for one of these, see smaf.engine.precision
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the device called `name`: auto takes CUDA, then MPS, then the CPU.

    Under `torchrun` each process takes the CUDA device of its local rank.
    """
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "--device cuda: PyTorch finds no CUDA device here: use --device auto or --device cpu"
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "--device mps: PyTorch finds no MPS device here: use --device auto or --device cpu"
        )
    if name not in DEVICES:
        raise InputError(f"--device {name}: expected one of {', '.join(DEVICES)}")
    if name == "cuda":
        number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if number >= there:
            raise InputError(
                f"--device cuda: {os.environ.get('LOCAL_WORLD_SIZE', number + 1)} processes, but "
                f"{there} CUDA devices: run as many processes (NPROC, or TORCHRUN's "
                "--nproc_per_node), or use --device cpu"
            )
        return torch.device("cuda", number)
    return torch.device(name)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Mixed precision on `device`: bf16 or fp16 as named, nothing for fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])


@contextlib.contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let PyTorch's operations take `count` CPU threads in the block; None: as many as before."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


def seed_everything(seed: int) -> None:
    """Seed PyTorch, NumPy and Python, and ask cuDNN for deterministic kernels."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
