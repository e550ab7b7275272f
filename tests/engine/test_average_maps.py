"""The mean of the fused maps of several networks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_set import PICTURES, Done, good, run, stamps

from smaf import average_maps
from smaf.core.errors import InputError
from smaf.core.fused_maps import read_fused, write_fused
from smaf.engine.stages.average_maps import AveragePlan


def averaged(small: Path, out: Path, *folders: Path, **options: object) -> Done:
    words: list[object] = [
        "--data_root",
        small,
        "--list",
        "all",
        "--cam_dir",
        *folders,
        "--out",
        out,
    ]
    for name, value in options.items():
        words += [f"--{name}", value]
    return run(average_maps.main, *words)


@pytest.fixture
def others(cams: Path, tmp_path: Path) -> Path:
    """Other maps of the same photographs: one minus the first ones."""
    folder = tmp_path / "others"
    for image_id, (w, h, _) in PICTURES.items():
        maps = read_fused(cams / f"{image_id}.npz", num_classes=3)
        other = {c: 0.5 * (1.0 - cam) for c, cam in maps.items()}
        write_fused(folder / f"{image_id}.npz", other, (h, w))
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_the_mean_by_hand(
    small: Path, cams: Path, others: Path, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "mean"
    good(averaged(small, out, cams, others, num_workers=workers))
    assert {path.stem for path in out.glob("*.npz")} == set(PICTURES)
    for image_id in PICTURES:
        first = read_fused(cams / f"{image_id}.npz", num_classes=3)
        mean = read_fused(out / f"{image_id}.npz", num_classes=3)
        assert set(mean) == set(first)
        for c, cam in first.items():
            assert np.abs(mean[c] - (0.25 + 0.25 * cam)).max() < 1.1e-3
    good(averaged(small, tmp_path / "three", cams, cams, others, num_workers=0))
    cam = read_fused(cams / "p0.npz", num_classes=3)[0]
    mean = read_fused(tmp_path / "three/p0.npz", num_classes=3)[0]
    assert np.abs(mean - (2 * cam + 0.5 * (1 - cam)) / 3).max() < 1.1e-3


def test_what_is_there_stays_and_other_maps_are_other_settings(
    small: Path, cams: Path, others: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mean"
    good(averaged(small, out, cams, others))
    (out / "p3.npz").unlink()
    before = stamps(out)
    good(averaged(small, out, cams, others))
    after = stamps(out)
    assert all(after[f"{i}.npz"] == before[f"{i}.npz"] for i in PICTURES if i != "p3")
    refused = averaged(small, out, others, cams)
    assert refused.status == 2 and "--overwrite" in refused.lines[0]


def test_maps_that_do_not_serve(small: Path, cams: Path, others: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name two or more"):
        AveragePlan(cam_dir=(cams,))
    gone = Path(shutil.copytree(others, tmp_path / "gone"))
    (gone / "p1.npz").unlink()
    done = averaged(small, tmp_path / "a", cams, gone)
    assert done.status == 2 and f"{gone}/p1.npz" in done.lines[0]
    (w, h, (shown, *_)) = PICTURES["p0"]
    write_fused(gone / "p1.npz", {}, PICTURES["p1"][1::-1])
    done = averaged(small, tmp_path / "b", cams, gone, num_workers=0)
    assert done.status == 2 and f"{gone}/p1.npz lacks class" in done.lines[-1]
    write_fused(gone / "p0.npz", {shown: np.zeros((h - 1, w), dtype=np.float32)}, (h - 1, w))
    done = averaged(small, tmp_path / "c", cams, gone, num_workers=0)
    assert done.status == 2 and "p0.npz is 60×47 pixels" in done.lines[-1]
    assert not (tmp_path / "c/p0.npz").exists()
