"""Stages run on a data set of `smaf init`, whose photographs lie elsewhere under other names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_set import good, make_set, run, stage0, stage1

from smaf import init
from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask
from smaf.data.layout import open_data


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A folder of photographs and a table, nothing else."""
    root, folder = make_set(tmp_path / "voc"), tmp_path / "my photographs"
    (folder / "of summer").mkdir(parents=True)
    for path in sorted((root / "JPEGImages").iterdir()):
        place = "of summer/" if path.stem in {"p1", "p4"} else ""
        shutil.copy(path, folder / f"{place}{path.stem}.JPG")
    shutil.copy(root / "labels.csv", folder / "labels.csv")
    return folder


def test_fusion_of_photographs_elsewhere(stranger: Path, tmp_path: Path) -> None:
    words = ("--masks", tmp_path / "voc/SegmentationClassAug", "--num_workers", 0)
    out = tmp_path / "data"
    good(run(init.main, stranger, "--out", out, *words))
    data = open_data(out)
    assert data.classes.names == ("ball", "box", "tent")
    ids = data.ids("all")
    assert ids == ["of_summer__p1", "of_summer__p4", "p0", "p2", "p3", "p5", "p6", "p7"]
    for image_id in ids:
        truth = read_mask(tmp_path / f"voc/SegmentationClassAug/{image_id[-2:]}.png")
        assert (data.mask(image_id, size=data.photo(image_id).size) == truth).all()
    weights = tmp_path / "eps/classifier.pth"
    good(stage0(out, weights.parent, "--network", "cls", "--steps", "2"))
    good(stage1(out, weights, tmp_path / "cams"))
    fused = {path.stem: path for path in (tmp_path / "cams").glob("*.npz")}
    assert sorted(fused) == ids
    maps = read_fused(fused["of_summer__p4"], num_classes=3)
    assert sorted(maps) == [1, 2]  # box and tent
    done = stage1(out, weights, tmp_path / "more")
    assert done.status == 0
    shutil.rmtree(stranger / "of summer")
    done = stage1(out, weights, tmp_path / "gone")
    assert done.status == 2 and "p1.JPG" in done.err and "smaf init" in done.err
