"""The state of a stopped training: written whole or not at all, read as tensors only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from smaf.core.errors import InputError
from smaf.core.files import atomic_path
from smaf.models.state_dicts import load_torch

CHECKPOINT = "checkpoint.pth"
PARTS = ("model", "optimiser", "step", "scaler", "task", "random")
REMEDY = "use --overwrite to start afresh, or another output folder"


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


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, text, lists and dicts) to the folder's checkpoint."""
    with atomic_path(folder / CHECKPOINT, durable=True) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except (
            RuntimeError
        ) as error:  # PyTorch's writer hides a full disk behind an error of its own
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read_state(folder: Path) -> dict[str, Any] | None:
    """Read the folder's checkpoint; None where there is none."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    state = load_torch(path, "checkpoint")
    absent = [key for key in PARTS if key not in state] if isinstance(state, dict) else list(PARTS)
    if absent:
        raise InputError(
            f"checkpoint {path} has no {absent[0]}: it is not of this project; {REMEDY}"
        )
    return dict(state)
