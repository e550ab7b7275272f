"""The state of a stopped training: written whole or not at all, read as tensors only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from smaf.core.files import atomic_path
from smaf.models.weights import load_torch

CHECKPOINT = "checkpoint.pth"


def random_states() -> dict[str, Any]:
    """PyTorch's random states, on the CPU and on each CUDA device."""
    states: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Go back to states from :func:`random_states`."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available() and len(states.get("cuda", [])) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, text, lists and dicts) to the folder's checkpoint."""
    with atomic_path(folder / CHECKPOINT) as temporary:
        torch.save(state, temporary)


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Read the folder's checkpoint; None where there is none."""
    path = folder / CHECKPOINT
    state: dict[str, Any] | None = load_torch(path, "checkpoint") if path.is_file() else None
    return state
