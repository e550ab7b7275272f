"""A plain folder and a table: `smaf init`, then `smaf run` with maps by the network that ships."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_set import run_plan, without_rehearsal_and_export, write_recipe
from small_set import good, make_set, run

from smaf import init
from smaf.core.files import read_json
from smaf.core.images import read_mask
from smaf.core.saliency_maps import made_here
from smaf.data.layout import open_data
from smaf.engine.pipeline import run_all


def test_from_a_folder_and_a_table_to_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All photographs lie in one folder below the named one; one shows none of the classes."""
    without_rehearsal_and_export(monkeypatch)
    voc, folder = make_set(tmp_path / "voc"), tmp_path / "photographs"
    shutil.copytree(voc / "JPEGImages", folder / "of summer")
    Image.new("RGB", (60, 48), (90, 140, 90)).save(folder / "of summer" / "grass.jpg")
    table = (voc / "labels.csv").read_text() + "grass.jpg,\n"
    (folder / "labels.csv").write_text(table)
    words = ("--out", tmp_path / "data", "--val_share", 0, "--num_workers", 0)
    good(run(init.main, folder, *words))
    data = open_data(tmp_path / "data")
    plan = run_plan(write_recipe(tmp_path / "recipe"))
    at = run_all(data, plan, tmp_path / "run")
    masks = sorted(path.relative_to(at.mirrored).as_posix() for path in at.mirrored.rglob("*.png"))
    assert masks == sorted(
        f"of summer/{name}.png" for name in ("grass", *(f"p{k}" for k in range(8)))
    )
    assert not read_mask(at.mirrored / "of summer/grass.png", size=(60, 48)).any()
    assert np.any(read_mask(at.mirrored / "of summer/p0.png", size=(60, 48)))
    assert made_here(tmp_path / "data/SALImages/of_summer__p0.png")
    record = read_json(at.logdir / "run.json", "record", "")[-1]
    assert record["finished"] and record["scores"] == {}
