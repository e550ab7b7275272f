"""Counts of a list: worked out by hand, like an independent implementation, and the same from two
processes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from small_set import PICTURES, make_set

from smaf.core.errors import InputError
from smaf.core.fused_maps import read_fused, write_fused
from smaf.core.images import write_mask
from smaf.data.layout import DataRoot, open_data
from smaf.engine import counting
from smaf.engine.counting import MapCounts, MaskCounts, count_maps, count_masks, sum_counts
from smaf.ops import ConfusionMatrix, SizeStrata

LEVELS = np.array([0.2, 0.5, 0.7], dtype=np.float32)
Listed = list[tuple[str, Path]]


@pytest.fixture
def data(tmp_path: Path) -> DataRoot:
    return open_data(make_set(tmp_path / "set", masks=False))


def listed(data: DataRoot, folder: Path, *, seed: int = 0) -> tuple[Listed, Listed]:
    """Random masks of every picture, as truth and as prediction, and random maps of two classes."""
    rng, masks, maps = np.random.default_rng(seed), [], []
    for image_id in PICTURES:
        shape = tuple(rng.integers(3, 30, 2))
        truth, pred = (rng.choice([0, 0, 1, 2, 3, 255], shape).astype(np.uint8) for _ in range(2))
        masks.append((image_id, folder / f"{image_id}.png"))
        maps.append((image_id, folder / f"{image_id}.npz"))
        write_mask(data.root / "SegmentationClass" / f"{image_id}.png", truth)
        write_mask(masks[-1][1], np.where(rng.random(shape) < 0.5, truth, pred))
        write_fused(maps[-1][1], {c: rng.random(shape, np.float32) for c in (0, 2)}, shape)
    return masks, maps


def test_masks_by_hand(data: DataRoot, tmp_path: Path) -> None:
    write_mask(data.root / "SegmentationClass/p0.png", np.array([[0, 0, 1, 1], [2, 255, 255, 1]]))
    write_mask(tmp_path / "p0.png", np.array([[0, 3, 1, 255], [2, 2, 255, 0]]))
    counts = count_masks(data, [("p0", tmp_path / "p0.png")])
    assert counts.pairs.tolist() == [
        [1, 0, 0, 1, 0],
        [1, 1, 0, 0, 1],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 1, 0, 1],
    ]
    assert counts.true.tolist() == [2, 3, 1, 0, 2]
    assert counts.predicted.tolist() == [2, 1, 1, 1, 1]  # 2 and 255 lie where truth is ignored, too
    # of the 5 pixels that count class 1 has two, one of them found, class 2 has one
    assert counts.objects.tolist() == [0, 0, 2]
    assert counts.sizes[2].tolist() == [[0, 0], [1, 2], [1, 1], [0, 0]]


def test_masks_as_pixel_by_pixel(data: DataRoot, tmp_path: Path) -> None:
    masks, _ = listed(data, tmp_path)
    counts = count_masks(data, masks)
    pairs = np.zeros((5, 5), dtype=np.int64)
    matrix, strata = ConfusionMatrix(4), SizeStrata(4)
    for image_id, path in masks:
        pred, truth = data.mask(image_id), data.mask(image_id)
        pred = np.asarray(counting.read_mask(path))
        for t, p in zip(truth.ravel().tolist(), pred.ravel().tolist(), strict=True):
            pairs[min(t, 4), min(p, 4)] += 1
        kept = np.where(pred == 255, 255, truth)
        matrix.update(np.where(kept == 255, 0, pred), kept)
        strata.update(np.where(kept == 255, 0, pred), kept)
    assert np.array_equal(counts.pairs, pairs) and np.array_equal(matrix.counts, pairs[:4, :4])
    assert np.array_equal(counts.sizes, strata.counts)
    assert np.array_equal(counts.objects, strata.objects) and strata.objects.sum() > 3


def test_maps_as_pixel_by_pixel(data: DataRoot, tmp_path: Path) -> None:
    _, maps = listed(data, tmp_path)
    counts = count_maps(data, maps, levels=LEVELS)
    passed = np.zeros((4, 5, 4), dtype=np.int64)
    for image_id, path in maps:
        cams = read_fused(path, num_classes=3)
        for t, a, b in zip(
            *(x.ravel() for x in (data.mask(image_id), cams[0], cams[2])), strict=True
        ):
            best, winner = (b, 3) if b > a else (a, 1)
            passed[sum(level < best for level in LEVELS), min(t, 4), winner if best > 0 else 0] += 1
    assert np.array_equal(counts.passed, passed)
    for level, front in ((0, passed[1:]), (2, passed[3:])):
        matrix = front.sum(axis=0)[:4]
        matrix[:, 0] += (passed.sum(axis=0) - front.sum(axis=0))[:4].sum(axis=1)
        assert np.array_equal(counts.at(level), matrix)


def test_two_processes_count_as_one(
    data: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_PART", 3)
    masks, maps = listed(data, tmp_path)
    for count, predicted in (
        (partial(count_masks, data), masks),
        (partial(count_maps, data, levels=LEVELS), maps),
    ):
        whole: MaskCounts | MapCounts = count(predicted)
        for many in (len(predicted), len(predicted) - 1):  # in this process, in two
            parts = sum_counts(count, predicted, num_workers=2, many=many)
            assert type(parts) is type(whole)
            assert all(np.array_equal(vars(parts)[k], v) for k, v in vars(whole).items())


@pytest.mark.parametrize("many", [0, 100])
def test_the_first_bad_mask_is_named(
    many: int, data: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_PART", 2)
    masks, _ = listed(data, tmp_path)
    write_mask(masks[3][1], np.full(data.mask(masks[3][0]).shape, 4))
    write_mask(masks[5][1], np.zeros((1, 1)))
    with pytest.raises(InputError, match=r"p3\.png has the value 4, the task has the classes 1..3"):
        sum_counts(partial(count_masks, data), masks, num_workers=2, many=many)
