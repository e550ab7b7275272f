"""Saliency maps that say nothing: told once, or an error, before training begins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_set import TRAIN, good, make_set, run, same, stage0, weights_of

from smaf import refine_fusion
from smaf.engine.saliency import is_flat


def flatten(root: Path, ids: tuple[str, ...], value: int) -> None:
    for image_id in ids:
        path = root / "SALImages" / f"{image_id}.png"
        Image.new("L", Image.open(path).size, value).save(path)


@pytest.mark.parametrize(
    ("values", "flat"),
    [
        ([[0, 0]], True),
        ([[255, 255]], True),
        ([[128, 128]], True),
        ([[0, 15]], True),
        ([[0, 16]], False),
        ([[0, 1]], False),
        ([[0]], False),
    ],
)
def test_what_is_flat(values: list[list[int]], flat: bool, tmp_path: Path) -> None:
    """0 and 1 alone are read as 0 and 255; a single pixel cannot be otherwise."""
    Image.fromarray(np.array(values, dtype=np.uint8)).save(tmp_path / "s.png")
    assert is_flat(tmp_path / "s.png") is flat


def test_some_are_told_once(tmp_path: Path) -> None:
    root = make_set(tmp_path / "set")
    flatten(root, ("p1", "p4"), 0)
    done = good(stage0(root, tmp_path / "out", "--steps", 1))
    said = [line for line in done.lines if "all black or all white" in line]
    assert (
        len(said) == 1
        and "2 of 6 saliency maps" in said[0]
        and "SALImages/p1.png is the first" in said[0]
    )


@pytest.mark.parametrize("value", [0, 255])
def test_all_are_an_error(value: int, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set")
    flatten(root, TRAIN, value)
    done = stage0(root, tmp_path / "out", "--steps", 1)
    assert done.status == 2 and "6 of 6 saliency maps are all black or all white" in done.lines[-1]
    assert not (tmp_path / "out/classifier.pth").exists()
    assert "train_eps --no_saliency" in done.lines[-1]
    good(stage0(root, tmp_path / "plain", "--steps", 1, "--network", "cls"))


def test_without_saliency_is_plain_cam(tmp_path: Path) -> None:
    """It needs no maps, gives the network of --network cls, and either goes on with the other."""
    root = make_set(tmp_path / "set")
    (root / "SALImages").rename(root / "none")
    done = stage0(root, tmp_path / "eps", "--steps", 2)
    assert done.status == 2 and "train_eps --no_saliency" in done.lines[-1]
    good(stage0(root, tmp_path / "without", "--steps", 2, "--no_saliency"))
    good(stage0(root, tmp_path / "cls", "--steps", 2, "--network", "cls"))
    assert same(*(weights_of(tmp_path / f / "classifier.pth") for f in ("without", "cls")))
    (entry,) = json.loads((tmp_path / "without/run.json").read_text())
    assert (entry["settings"]["network"], entry["settings"]["saliency"]) == ("cls", False)
    good(stage0(root, tmp_path / "cls", "--steps", 2, "--no_saliency"))
    (root / "none").rename(root / "SALImages")
    done = stage0(root, tmp_path / "without", "--steps", 2)
    assert done.status == 2 and "network was 'cls', is 'eps'" in done.lines[-1]


def test_maps_as_detectors_write_them_train_the_same(tmp_path: Path) -> None:
    """Cut-outs, and 0 and 1: the network of maps 0 and 255."""
    root = make_set(tmp_path / "set")
    good(stage0(root, tmp_path / "plain", "--steps", 2))
    for image_id in TRAIN:
        path = root / "SALImages" / f"{image_id}.png"
        grey = Image.open(path)
        if image_id in {"p0", "p1"}:
            Image.fromarray((np.asarray(grey) > 0).astype(np.uint8)).save(path)
        else:
            photo = Image.open(root / "JPEGImages" / f"{image_id}.jpg")
            photo.putalpha(grey.copy())
            photo.save(path)
    good(stage0(root, tmp_path / "kinds", "--steps", 2))
    assert same(*(weights_of(tmp_path / name / "classifier.pth") for name in ("plain", "kinds")))


def test_refine_fusion_looks_at_them(cams: Path, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set")
    flatten(root, tuple(f"p{k}" for k in range(8)), 255)
    done = run(
        refine_fusion.main,
        "--data_root",
        root,
        "--list",
        "all",
        "--cam_dir",
        cams,
        "--num_workers",
        0,
        "--no_crf",
        "--saliency_weight",
        0.5,
        "--out",
        tmp_path / "a",
    )
    assert (
        done.status == 2
        and "8 of 8 saliency maps" in done.lines[-1]
        and not (tmp_path / "a/p0.npz").exists()
    )
