"""Whole runs on the small data set: a recipe of four steps a training with the tiny network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smaf.engine.pipeline import RunPlan, network
from smaf.engine.pipeline import run as running
from smaf.engine.pipeline.estimate import Pace

_TRAINING = "--crop 64 --resize_long 48 72 --batch_size 6 --steps 4 --optimiser adamw --lr 0.003"
RECIPE = {
    "train_eps": "--backbone test_efficientnet --weights none --head eps --cells centres",
    "gen_fusion": "--scales 0.5 1.0 --no_flip --label_filter logits",
    "refine_fusion": "--background 0.4 --saliency_weight 0.8",
    "train_fusion": "--soft_background --cells centres",
    "gen_pm": "--scales 1.0 --no_flip --label_filter logits --threshold 0.38",
    "train_seg": "--network test_efficientnet --weights student --loss_at quarter",
}


def write_recipe(folder: Path) -> Path:
    """Write the recipe's files; of the trainings' options, too."""
    folder.mkdir()
    for command, words in RECIPE.items():
        more = f"\n{_TRAINING}" if command.startswith("train_") else ""
        (folder / f"{command}.args").write_text(f"{words}{more}\n")
    return folder


def run_plan(recipe: Path, **values: Any) -> RunPlan:
    """The plan of a run in this process on the CPU, with all steps that there are."""
    common = {"num_workers": 0, "device": "cpu", "masks_by": "network"}
    return RunPlan().changed(**{**common, "recipe": str(recipe), **values})


def without_rehearsal_and_export(patch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest: the rehearsal, and the export to ONNX."""
    patch.setattr(running, "rehearse", lambda run: {"train_eps": Pace(1.0)})
    patch.setattr(network, "onnx_fault", lambda: "pip install onnx")
