"""Networks in `torch.export` programs (`.pt2`), judged before PyTorch reads them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smaf.core.device import choose_device, cpu_threads
from smaf.core.errors import InputError
from smaf.core.files import require_file
from smaf.core.network_facts import NAME_ANOTHER, parse_facts
from smaf.engine.predicting.network import Network, first_line
from smaf.models.programs import check_program
from smaf.models.tensor_values import check_tensors


class ProgramNetwork(Network):
    """A network that :func:`smaf.models.export.export_program` wrote, on a device PyTorch knows.

    Raises :class:`InputError` where the file is damaged, was not exported by this project, or holds
    more than a program of known operators and its tensors (:mod:`smaf.models.programs`).
    """

    def __init__(self, path: Path, device: str = "auto", *, threads: int | None = None) -> None:
        require_file(path, "weights", NAME_ANOTHER)
        self.device, self.threads = choose_device(device), threads
        try:
            self.facts = parse_facts(check_program(path), f"weights {path}")
            with _tensors_only():
                program = torch.export.load(str(path))
        except InputError:
            raise
        except Exception as error:  # a damaged file raises nearly anything
            raise InputError(
                f"weights {path} cannot be read as a program of this project "
                f"({first_line(error)}): {NAME_ANOTHER}"
            ) from error
        tensors = {**program.state_dict, **program.constants}
        check_tensors(
            {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)},
            path,
        )
        self.program: Any = program.module().to(self.device)
        self._check_run(path)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(n, 3, h, w) float32 images → the network's own logits, run by PyTorch."""
        with cpu_threads(self.threads), torch.inference_mode():
            return np.asarray(self.program(torch.from_numpy(images).to(self.device)).float().cpu())


@contextlib.contextmanager
def _tensors_only() -> Iterator[None]:
    """Let `torch.load` take tensors and plain values alone meanwhile, by PyTorch's own switch."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
