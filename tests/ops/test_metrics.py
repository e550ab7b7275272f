"""The confusion matrix against a loop over pixels, and against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smaf.ops import ConfusionMatrix, SizeStrata
from smaf.ops.metrics import count_pairs, value_runs


def by_loop(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int) -> dict[str, object]:
    """An independent implementation: sets of pixels, one at a time."""
    hit, union, true, predicted = ([0] * classes for _ in range(4))
    kept = right = 0
    for pred, target in pairs:
        for p, t in zip(pred.ravel().tolist(), target.ravel().tolist(), strict=True):
            if t == 255:
                continue
            kept += 1
            right += p == t
            true[t] += 1
            predicted[p] += 1
            hit[t] += p == t
            for c in {p, t}:
                union[c] += 1

    def ratio(a: list[int], b: list[int]) -> list[float]:
        return [x / y if y else math.nan for x, y in zip(a, b, strict=True)]

    iou = ratio(hit, union)
    occurring = [v for v in iou if not math.isnan(v)]
    return {
        "iou": iou,
        "precision": ratio(hit, predicted),
        "recall": ratio(hit, true),
        "accuracy": right / kept,
        "miou": sum(occurring) / len(occurring),
        "fwiou": sum(t / kept * v for t, v in zip(true, iou, strict=True) if t),
    }


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_a_loop_over_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 9))
    pairs = []
    matrix = ConfusionMatrix(classes)
    for _ in range(3):
        shape = tuple(rng.integers(1, 25, 2))
        target = rng.integers(0, max(1, classes - 1), shape).astype(
            np.uint8
        )  # the last class is only predicted
        pred = np.where(rng.random(shape) < 0.5, target, rng.integers(0, classes, shape)).astype(
            np.uint8
        )
        target[rng.random(shape) < 0.1] = 255
        pairs.append((pred, target))
        matrix.update(pred, target)
    result = matrix.compute()
    for name, expected in by_loop(pairs, classes).items():
        np.testing.assert_allclose(result[name], expected, rtol=0, atol=1e-12, err_msg=name)
    assert matrix.ignored == sum(int((t == 255).sum()) for _, t in pairs)
    assert matrix.counts.sum() + matrix.ignored == sum(t.size for _, t in pairs)


def test_by_hand() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 255]]))
    result = matrix.compute()
    np.testing.assert_array_equal(matrix.counts, [[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(result["iou"], [0.5, 0.5, np.nan])
    np.testing.assert_allclose(result["precision"], [1, 0.5, np.nan])
    np.testing.assert_allclose(result["recall"], [0.5, 1, np.nan])
    assert (result["miou"], matrix.ignored) == (0.5, 1)
    assert result["accuracy"] == pytest.approx(2 / 3) and result["fwiou"] == pytest.approx(0.5)


def test_one_matrix_over_the_list_not_a_mean_over_images() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([1]), np.array([1]))  # alone: 1.0
    matrix.update(np.array([0, 0, 0, 1]), np.array([1, 1, 1, 1]))  # alone: (0 + 1/4) / 2
    assert matrix.compute()["miou"] == pytest.approx((0 + 2 / 5) / 2)


def test_an_ignored_prediction_does_not_matter_but_others_must_be_classes() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([200, 1]), np.array([255, 1]))
    assert matrix.counts.sum() == 1
    for pred, target, message in (
        ([2], [1], r"prediction has values 2\.\.2, expected 0\.\.1"),
        ([0], [2], r"target has values 2\.\.2"),
        ([-1], [0], "prediction"),
        ([255], [0], "prediction"),
        ([0, 1], [0], "differ in shape"),
    ):
        with pytest.raises(ValueError, match=message):
            matrix.update(np.array(pred), np.array(target))
    assert matrix.counts.sum() == 1 and matrix.ignored == 1  # a refused pair is not half counted
    other = ConfusionMatrix(2, ignore_index=9)
    other.update(np.array([0, 1]), np.array([9, 0]))
    assert other.counts.tolist() == [[0, 1], [0, 0]]


def test_nothing_counted_is_nan() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0]), np.array([255]))
    result = matrix.compute()
    assert all(
        np.isnan(result[name]).all()
        for name in ("miou", "iou", "precision", "recall", "accuracy", "fwiou")
    )
    with pytest.raises(ValueError, match="at least 1"):
        ConfusionMatrix(0)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 5)])
def test_runs_put_together_are_the_masks(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pred, target = (rng.integers(0, 2, shape).astype(np.uint8) for _ in range(2))
    found, true, pixels = value_runs(pred, target)
    assert np.array_equal(np.repeat(found, pixels), pred.ravel())
    assert np.array_equal(np.repeat(true, pixels), target.ravel())
    assert not ((found[1:] == found[:-1]) & (true[1:] == true[:-1])).any()  # none could be longer
    counts = count_pairs(found, true, pixels, num_classes=2)
    assert counts.tolist() == [
        [int(((target == t) & (pred == p)).sum()) for p in (0, 1)] for t in (0, 1)
    ]


def test_size_strata_by_hand() -> None:
    """An object of 1 pixel in 100 half found, one of 30 wholly found, one of 10 missed; 50 pixels
    ignored."""
    target = np.zeros((10, 10), dtype=np.uint8)
    target[0, :2], target[1:4], target[4] = 1, 2, 1
    small = np.where(target == 1, 0, target)
    small[0, 0] = small[0, 1] = 1  # 2 of 100
    pred = np.zeros((10, 10), dtype=np.uint8)
    pred[0, 0], pred[1:4] = 1, 2
    strata = SizeStrata(3)
    strata.update(pred, small.astype(np.uint8))
    medium = np.zeros((10, 10), dtype=np.uint8)
    medium[4], medium[5:] = 1, 255  # 10 of the 50 that count
    strata.update(np.zeros_like(medium), medium)
    result = strata.compute()
    assert result["small"] == {"iou": 0.5, "objects": 1}
    assert result["large"] == {
        "iou": pytest.approx((1.0 + 0.0) / 2),
        "objects": 2,
    }  # class 2 found, class 1 (20 %) not
    assert np.isnan(result["medium"]["iou"]) and result["medium"]["objects"] == 0
