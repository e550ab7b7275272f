"""Regions of masks judged by their like in other photographs, on rendered pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import Done, good, run, stamps

from smaf import vote_regions
from smaf.core.errors import InputError
from smaf.core.images import read_mask, write_mask
from smaf.data.layout import open_data
from smaf.engine.region_bank import BankMaker, read_bank, write_bank
from smaf.models import build_classifier, write_checkpoint
from smaf.ops.bank import Bank

IDS = tuple(f"v{n}" for n in range(6))
RIDER, MOUNT = (30, 30, 110, 130), (130, 30, 220, 130)  # left, top, right, bottom


@pytest.fixture(scope="module")
def riders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of 240×160 pixels: a red rider and a blue mount in the even ones, else one of
    them; true masks."""
    root = tmp_path_factory.mktemp("riders") / "set"
    for folder in ("JPEGImages", "ImageSets/Segmentation", "metadata/riders"):
        (root / folder).mkdir(parents=True)
    rng, rows = np.random.default_rng(0), ["image,labels"]
    for n, image_id in enumerate(IDS):
        pixels, mask = rng.integers(90, 130, (160, 240, 3)), np.zeros((160, 240), dtype=np.uint8)
        for value, (left, top, right, bottom) in ((1, RIDER), (2, MOUNT)):
            if n % 2 == 0 or value == 1 + n // 2 % 2:
                pixels[top:bottom, left:right] = ((220, 40, 40), (40, 60, 230))[value - 1]
                mask[top:bottom, left:right] = value
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"JPEGImages/{image_id}.png")
        write_mask(root / f"SegmentationClassAug/{image_id}.png", mask)
        names = [("rider", "mount")[v - 1] for v in np.unique(mask) if v]
        rows.append(f"{image_id}.png,{';'.join(names)}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    (root / "metadata/riders/labels.txt").write_text("0 background\n1 rider\n2 mount\n")
    (root / "ImageSets/Segmentation/all.txt").write_text("\n".join(IDS) + "\n")
    (root / "ImageSets/Segmentation/some.txt").write_text("\n".join(IDS[:4]) + "\n")
    return root


@pytest.fixture(scope="module")
def masks(riders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True masks, but that the rider of v4 has half of the mount."""
    folder, data = tmp_path_factory.mktemp("wrong"), open_data(riders)
    for image_id in IDS:
        mask = data.mask(image_id)
        mask[0] = 255
        if image_id == "v4":
            mask[:, :175][mask[:, :175] == 2] = 1
        write_mask(folder / f"{image_id}.png", mask)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights, which tells colours apart."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("net") / "classifier.pth"
    write_checkpoint(
        path, build_classifier("test_efficientnet", num_classes=2, head="eps"), ("rider", "mount")
    )
    return path


def vote(riders: Path, masks: Path, out: Path, weights: Path, *extra: object) -> Done:
    return run(
        vote_regions.main,
        *("--data_root", riders, "--list", "all", "--target_dir", masks, "--out", out),
        *("--weights", weights, "--device", "cpu", "--neighbours", 5, "--min_pixels", 100),
        *("--superpixels", 40, *extra),
    )


def test_a_wrong_region_is_mended(riders: Path, masks: Path, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    out, truth = tmp_path / "voted", open_data(riders).mask("v4")
    good(vote(riders, masks, out, weights, "--evaluate"))
    before, after = read_mask(masks / "v4.png"), read_mask(out / "v4.png")
    assert (before[truth == 2] == 1).mean() == 0.5 and (after[truth == 2] == 1).mean() < 0.05
    assert (after[truth == 1] == 1).mean() > 0.95
    assert np.array_equal(after == 0, before == 0) and (after[0] == 255).all()
    for image_id in ("v1", "v3", "v5"):  # one class: nothing to change it to
        assert np.array_equal(
            read_mask(out / f"{image_id}.png"), read_mask(masks / f"{image_id}.png")
        )
    bank = read_bank(out / "bank.npz")
    assert set(bank.values.tolist()) == {0, 1, 2} and set(bank.photos.tolist()) == set(range(6))
    # A stopped run goes on, with the bank that it has
    whole = stamps(out)
    (out / "v4.png").unlink()
    good(vote(riders, masks, out, weights))
    assert np.array_equal(read_mask(out / "v4.png"), after)
    assert all(stamps(out)[name] == whole[name] for name in ("bank.npz", "v0.png"))
    other = vote(riders, masks, out, weights, "--list", "some")
    assert other.status == 2 and "made with other settings" in other.lines[-1]


def test_a_share_that_none_reaches_changes_nothing(
    riders: Path, masks: Path, weights: Path, tmp_path: Path
) -> None:
    pytest.importorskip("skimage")
    words = ("--neighbours", 400, "--share", 1, "--changes", "all")  # all of the bank votes
    good(vote(riders, masks, tmp_path / "o", weights, *words))
    for image_id in IDS:
        assert np.array_equal(
            read_mask(tmp_path / f"o/{image_id}.png"), read_mask(masks / f"{image_id}.png")
        )


def test_bad_input_is_one_line(
    riders: Path, masks: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = vote(riders, tmp_path / "nowhere", tmp_path / "o", weights)
    assert done.status == 2 and "v0.png (and 5 more) does not exist" in done.lines[-1]
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    done = vote(riders, masks, tmp_path / "o", weights)
    assert done.status == 2 and "pip install scikit-image" in done.lines[-1]
    done = vote(riders, masks, tmp_path / "o", weights, "--share", 1.5)
    assert done.status == 2 and "--share 1.5: expected a value from 0 to 1" in done.lines[-1]


def test_a_bank_keeps_as_many_as_it_may_and_is_read_as_written(tmp_path: Path) -> None:
    maker = BankMaker(2, seed=0)
    for number in range(50):
        maker.add(Bank(np.full((2, 3), number), np.array([0, 1]), np.full(2, number)))
    bank = maker.bank()
    assert np.bincount(bank.values).tolist() == [5, 2]  # 2.5 times as many of background
    assert np.array_equal(bank.features[:, 0], bank.photos)
    assert bank.photos.min() < 30  # not the last ones alone
    path = tmp_path / "bank.npz"
    write_bank(path, bank)
    assert np.array_equal(read_bank(path).features, bank.features)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"bank .* cannot be read"):
        read_bank(path)
