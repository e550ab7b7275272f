"""A run folder as `smaf run` leaves it, but for what exports do not read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_set import CLASSES, PICTURES, Done, make_set, run

from smaf import export, import_masks
from smaf.core.images import read_mask, write_mask
from smaf.core.record import RunRecord


def make_run(data: Path, folder: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    """A run whose masks are the true ones without a few pixels, with values of `classes`."""
    RunRecord(folder, {"class_list": classes}).write(
        finished=True, data_set={"folder": str(data.absolute())}
    )
    table = np.full(256, 255, dtype=np.uint8)
    table[0] = 0
    for value, name in enumerate(classes, start=1):
        table[CLASSES.index(name) + 1] = value
    for image_id in PICTURES:
        mask = table[read_mask(data / f"SegmentationClassAug/{image_id}.png")]
        mask[20:24] = 0
        write_mask(folder / f"pseudo_mask/{image_id}.png", mask)
    return folder


def smaf_export(folder: Path, *words: object) -> Done:
    """Run the command in this process."""
    return run(export.main, folder, *words)


def smaf_import(source: Path, data: Path, *words: object) -> Done:
    """Run the command in this process."""
    return run(import_masks.main, source, "--into", data, *words)


def corrected(data: Path, image_id: str) -> np.ndarray:
    """A corrected mask of a data set."""
    return read_mask(data / f"CorrectedMasks/{image_id}.png")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set and a run on it; tests only read them."""
    folder = tmp_path_factory.mktemp("made")
    data = make_set(folder / "data")
    return data, make_run(data, folder / "run")


@pytest.fixture
def own(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A data set and its run for one test."""
    data = shutil.copytree(made[0], tmp_path / "data")
    return data, make_run(data, tmp_path / "run")
