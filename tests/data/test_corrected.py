"""Corrected masks of a data set, and the training samples that are made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from smaf.core.class_maps import maps_of_mask
from smaf.core.errors import InputError
from smaf.core.fused_maps import write_fused
from smaf.core.images import write_mask
from smaf.data.augment import Augmentation
from smaf.data.layout import DataRoot, open_data
from smaf.data.streams import FusedStream, MaskStream
from smaf.ops import reactivation_target

PLAIN = Augmentation(long_side=(8, 8), crop=8, flip=0.0, jitter=None, centres=True)
COMMON: dict[str, Any] = {"augmentation": PLAIN, "seed": 0, "mean": (0, 0, 0), "std": (1, 1, 1)}


def correct(root: Path, image_id: str, mask: np.ndarray) -> None:
    write_mask(root / "CorrectedMasks" / f"{image_id}.png", mask)


@pytest.fixture
def pair(tmp_path: Path) -> DataRoot:
    """Photographs a and b of 8×8 pixels; both show cat and dog; a has a corrected mask of blocks.

    Above cat and ignored, below background and a half of dog.
    """
    root = tmp_path / "pair"
    for folder in ("JPEGImages", "ImageSets/Segmentation", "metadata/pair"):
        (root / folder).mkdir(parents=True)
    for image_id in "ab":
        Image.new("RGB", (8, 8)).save(root / f"JPEGImages/{image_id}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    (root / "metadata/pair/labels.txt").write_text("0 background\n1 cat\n2 dog\n3 cow\n")
    (root / "labels.csv").write_text("image,labels\na,cat;dog\nb,cat;dog\n")
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[:4, :4], mask[:4, 4:], mask[4:, 6:] = 1, 255, 2
    correct(root, "a", mask)
    return open_data(root)


def test_which_photographs_have_one(tiny_voc: Path) -> None:
    data = open_data(tiny_voc)
    assert data.corrected_folder == tiny_voc / "CorrectedMasks"
    assert data.corrected_ids(data.ids("train_aug")) == []
    for image_id, (w, h) in {"three": (48, 32), "one": (40, 30)}.items():
        correct(tiny_voc, image_id, np.full((h, w), 3, np.uint8))
    assert data.corrected_ids(["two", "three", "one"]) == ["three", "one"]
    assert (data.corrected("one") == 3).all() and data.corrected("one").shape == (30, 40)
    assert data.mask("one")[10, 10] == 1  # true masks are others


def test_values_are_those_of_true_masks(tiny_voc: Path) -> None:
    """Of the data set's classes; those that the task leaves out are ignored."""
    correct(tiny_voc, "one", np.tile(np.array([0, 1, 2, 3, 255], np.uint8), (30, 8)))
    (tiny_voc / "keep.txt").write_text("cow\ncat\n")
    data = open_data(tiny_voc, classes="keep.txt")
    assert data.corrected("one", size=(40, 30))[0, :5].tolist() == [0, 2, 255, 1, 255]


def test_faults_are_those_of_true_masks(tiny_voc: Path) -> None:
    data, path = open_data(tiny_voc), tiny_voc / "CorrectedMasks/one.png"
    with pytest.raises(InputError, match=r"mask .*CorrectedMasks.one\.png does not exist"):
        data.corrected("one")
    correct(tiny_voc, "one", np.zeros((30, 39), np.uint8))
    with pytest.raises(InputError, match="is 39×30 pixels, its photograph is 40×30: make them the"):
        data.corrected("one", size=data.photo_size("one"))
    correct(tiny_voc, "one", np.full((30, 40), 9, np.uint8))
    with pytest.raises(
        InputError, match=r"one\.png has the values \[9\], but the data set's class"
    ):
        data.corrected("one")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"mask .*CorrectedMasks.one\.png"):
        data.corrected("one")


def test_the_size_is_that_of_the_upright_photograph(tiny_voc: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 300)).save(tiny_voc / "JPEGImages/one.jpg", exif=exif)
    (tiny_voc / "JPEGImages/one.png").unlink()
    assert open_data(tiny_voc).photo_size("one") == (300, 400)


def test_labels_gain_classes(tiny_voc: Path) -> None:
    data = replace(open_data(tiny_voc), gained=(("one", 1), ("four", 0)))
    gained = data.labels_of(["one", "two", "four"]).tolist()
    assert gained == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert open_data(tiny_voc).labels_of(["one"]).tolist() == [[1, 0, 0]]


def test_maps_of_a_mask() -> None:
    mask = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    assert maps_of_mask(mask, [1])[1].tolist() == [[0.0, 0.0, 1.0, 0.5]]
    assert maps_of_mask(mask, []) == {}
    assert maps_of_mask(mask, [0, 1])[0].dtype == np.float32


def targets(data: DataRoot, folder: Path, *, soft: bool) -> torch.Tensor:
    """(2, 4, 2, 2): stage 2's targets of a and b; background last."""
    even = None if soft else 0.2
    stream = FusedStream(data, ["a", "b"], maps_folder=folder, corrected=["a"], even=even, **COMMON)
    samples = {stream.place(k): stream[k] for k in range(2)}
    fused, labels = (
        torch.stack([samples[i][key] for i in range(2)]) for key in ("fused", "labels")
    )
    return reactivation_target(fused, labels, background=0.2, soft_background=soft)


@pytest.mark.parametrize("soft", [True, False])
def test_the_target_worked_out_by_hand(pair: DataRoot, tmp_path: Path, soft: bool) -> None:
    """A cell is the mean of 4×4 pixels; even odds where the mask is ignored; b keeps its maps."""
    maps = {0: np.full((8, 8), 0.5, np.float32), 1: np.full((8, 8), 0.25, np.float32)}
    write_fused(tmp_path / "maps/b.npz", maps, (8, 8))  # there is none of a
    target = targets(pair, tmp_path / "maps", soft=soft)
    cat, dog, cow, background = target[0]
    np.testing.assert_allclose(cat, [[1, 1], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(dog, [[0, 1], [0, 1]], atol=1e-6)
    assert not cow.any()
    below = 1.0 if soft else 0.4  # a half is dog: 0.5 to 0.5, or to the constant 0.2
    above = 1e-5 if soft else 0.2
    np.testing.assert_allclose(background, [[above, 1], [1, below]], atol=1e-6)
    others = [1, 0.5, 0, 0.5] if soft else [1, 0.5, 0, 0.4]
    np.testing.assert_allclose(target[1, :, 0, 0], others, atol=1e-6)


def test_stage_4_reads_it_in_the_place_of_the_pseudo_mask(pair: DataRoot, tmp_path: Path) -> None:
    write_mask(tmp_path / "b.png", np.full((8, 8), 3, np.uint8))
    stream = MaskStream(pair, ["a", "b"], masks_folder=tmp_path, corrected=["a"], **COMMON)
    masks = {stream.place(k): stream[k]["mask"] for k in range(2)}
    np.testing.assert_array_equal(masks[0], pair.corrected("a"))
    assert (masks[1] == 3).all()
    assert stream.mask_path("a") == pair.root / "CorrectedMasks/a.png"
    correct(pair.root, "a", np.zeros((4, 8), np.uint8))
    with pytest.raises(InputError, match="is 8×4 pixels, its photograph is 8×8"):
        stream[[stream.place(0), stream.place(1)].index(0)]
