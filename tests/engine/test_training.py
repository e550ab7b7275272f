"""Training of stages 0 and 2: seeds, accumulation, mixed precision, and what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_set import (
    ADAMW,
    SGD,
    Done,
    distance,
    good,
    make_set,
    same,
    stage0,
    stage1,
    stage2,
    weights_of,
)

from smaf.core.labels import read_image_labels, write_image_labels
from smaf.models import LIGHT


def trained(done: Done, out: Path) -> dict[str, torch.Tensor]:
    good(done)
    return weights_of(out / "classifier.pth")


def test_seed_decides_the_weights(small: Path, tmp_path: Path, dropout: None) -> None:
    runs = [
        trained(stage0(small, tmp_path / name, "--steps", 3, *SGD, "--seed", seed), tmp_path / name)
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    assert same(runs[0], runs[1])
    assert distance(runs[0], runs[2]) > 0.01


def test_accumulated_batches_count_as_one(small: Path, tmp_path: Path, losses: list[float]) -> None:
    """BatchNorm is frozen and losses are means over equal batches: 4 × 1 is 2 × 2 but for
    rounding."""
    options = ("--steps", 5, *SGD, "--lr", 1)
    one = trained(stage0(small, tmp_path / "one", *options, "--batch_size", 4), tmp_path / "one")
    two = trained(stage0(small, tmp_path / "two", *options, "--accumulate", 2), tmp_path / "two")
    half = trained(stage0(small, tmp_path / "half", *options), tmp_path / "half")
    assert distance(one, two) < 1e-6
    assert distance(one, half) > 5e-3
    assert losses[:5] == pytest.approx(losses[5:10], abs=1e-6)


def test_bfloat16_follows_float32(small: Path, tmp_path: Path, losses: list[float]) -> None:
    """With ImageNet weights: the tiny network's first maps are near 0, where rounding does not
    show."""
    options = ("--steps", 4, *ADAMW, "--lr", 1e-4, "--backbone", LIGHT, "--weights", "imagenet")
    good(stage0(small, tmp_path / "fp32", *options))
    good(stage0(small, tmp_path / "bf16", *options, "--precision", "bf16"))
    exact, rounded = losses[:4], losses[4:]
    assert rounded[:2] == pytest.approx(exact[:2], rel=0.05)
    assert rounded == pytest.approx(
        exact, rel=0.15
    )  # a class at EPS's threshold may fall to the other side
    assert max(abs(a - b) for a, b in zip(exact, rounded, strict=True)) > 1e-4  # it did round


def test_float16_scales_its_gradients(small: Path, tmp_path: Path, losses: list[float]) -> None:
    good(stage0(small, tmp_path / "fp16", "--steps", 2, *SGD, "--precision", "fp16"))
    scale = torch.load(tmp_path / "fp16/checkpoint.pth", weights_only=True)["scaler"]["scale"]
    assert scale >= 1024
    assert all(0 < loss < 10 for loss in losses)


def test_loss_that_is_not_finite_stops_the_run(small: Path, tmp_path: Path) -> None:
    done = stage0(small, tmp_path / "run", "--steps", 10, "--optimiser", "sgd", "--lr", 1e20)
    assert done.status == 2
    assert done.lines == [
        f"error: {tmp_path}/run: the loss is not finite at step 10: lower --lr, or use --precision "
        "fp32; the last checkpoint is kept"
    ]
    assert not (tmp_path / "run/classifier.pth").exists()


def test_training_reads_no_masks(small: Path, classifier: Path, cams: Path, tmp_path: Path) -> None:
    """Stages 0 to 2 give the same bits on a copy of the data set that has no masks."""
    bare = make_set(tmp_path / "bare", masks=False)
    assert not list(bare.glob("Segmentation*"))
    eps = trained(stage0(bare, tmp_path / "eps", "--steps", 8, *ADAMW), tmp_path / "eps")
    assert same(eps, weights_of(classifier))
    good(stage1(bare, classifier, tmp_path / "cams"))
    assert all(
        (tmp_path / "cams" / path.name).read_bytes() == path.read_bytes()
        for path in cams.glob("*.npz")
    )
    students = [
        trained(
            stage2(root, classifier, maps, tmp_path / name, "--steps", 2, *ADAMW), tmp_path / name
        )
        for root, maps, name in (
            (bare, tmp_path / "cams", "bare_student"),
            (small, cams, "student"),
        )
    ]
    assert same(*students)


def test_validation_goes_without_masks_and_leaves_training_alone(
    small: Path, tmp_path: Path, dropout: None
) -> None:
    bare = make_set(tmp_path / "bare", masks=False)
    options = ("--steps", 2, *SGD)
    without = good(stage0(bare, tmp_path / "a", *options, "--val_list", "val"))
    assert without.lines[0] == f"no validation: {bare} has no mask for p6"
    within = good(stage0(small, tmp_path / "b", *options, "--val_list", "val", "--val_every", 1))
    assert [line.split(" mIoU")[0] for line in within.lines[:2]] == [
        "step 1: validation",
        "step 2: validation",
    ]
    assert same(
        weights_of(tmp_path / "a/classifier.pth"), weights_of(tmp_path / "b/classifier.pth")
    )


def test_validation_list_is_checked_before_the_first_step(
    small: Path, tmp_path: Path, losses: list[float]
) -> None:
    table = dict(read_image_labels(small / "labels.csv", ("ball", "box", "tent")))
    del table["p7"]
    write_image_labels(tmp_path / "few.csv", table, ("ball", "box", "tent"))
    done = stage0(
        small, tmp_path / "run", "--steps", 2, "--val_list", "val", "--labels", tmp_path / "few.csv"
    )
    assert done.status == 2 and "few.csv has no labels for p7" in done.lines[0]
    assert losses == []


def test_plain_cam_needs_no_saliency_map(tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", masks=False)
    for path in (root / "SALImages").iterdir():
        path.unlink()
    plain = tmp_path / "cls"
    state = trained(stage0(root, plain, "--network", "cls", "--steps", 2, *SGD), plain)
    assert state["fc8.weight"].shape[0] == 3  # no background channel
    good(stage1(root, plain / "classifier.pth", tmp_path / "cams"))
    done = stage2(
        root, plain / "classifier.pth", tmp_path / "cams", tmp_path / "student", "--steps", 2
    )
    assert done.status == 2 and "is a plain-CAM network" in done.lines[0].replace("are a", "is a")
