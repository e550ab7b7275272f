"""Estimates of a mask's quality, on masks and maps of a few pixels worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smaf.ops.quality import (
    estimated_quality,
    mask_agreement,
    photograph_iou,
    saliency_agreement,
    scale_agreement,
    spearman,
)


def mask(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)


def test_masks_agree_by_the_mean_iou_of_the_classes_shown() -> None:
    first, second = mask([1, 1, 1, 0], [2, 2, 0, 0]), mask([1, 1, 0, 0], [0, 2, 2, 0])
    assert mask_agreement(first, second, [0, 1]) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert mask_agreement(first, first, [0, 1]) == 1.0
    assert mask_agreement(first, second, [0, 1, 2]) == pytest.approx(1 / 3)  # both miss class 2
    assert mask_agreement(first, second, []) is None


def test_pixels_marked_255_agree_with_all() -> None:
    first, second = mask([1, 255, 0, 0]), mask([1, 1, 255, 0])
    assert mask_agreement(first, second, [0]) == 1.0


def test_a_photographs_iou() -> None:
    truth = mask([1, 1, 0, 255], [0, 0, 2, 2])
    found = mask([1, 0, 0, 3], [0, 0, 2, 0])
    assert photograph_iou(found, truth, [0]) == 0.5  # class 1, which truth shows, counts, too
    assert photograph_iou(found, truth, [0, 5]) == 0.5  # nobody has class 5
    assert photograph_iou(found, mask([0, 0, 0, 255], [0, 0, 0, 0]), [0]) == 0.0  # all is wrong
    assert photograph_iou(mask([0, 0]), mask([0, 255]), []) is None


def test_scales_that_agree_leave_nothing_between() -> None:
    sharp = {0: np.array([[1.0, 1.0, 0.0, 0.0]], dtype=np.float32)}
    assert scale_agreement(sharp, mask([1, 1, 0, 0])) == 1.0
    soft = {0: np.array([[1.0, 0.5, 0.5, 0.0]], dtype=np.float32)}
    assert scale_agreement(soft, mask([1, 1, 0, 0])) == pytest.approx(1.25 / 2.25)
    assert scale_agreement(soft, mask([1, 1, 255, 0])) == pytest.approx(1.25 / 2)
    none = {1: np.zeros((1, 4), dtype=np.float32)}
    assert scale_agreement(none, mask([0, 0, 0, 0])) == 0.0
    assert scale_agreement({**none, **sharp}, mask([1, 1, 0, 0])) == 0.5
    assert scale_agreement({}, mask([0])) is None


def test_saliency_is_compared_with_all_foreground() -> None:
    salient = np.array([[0.9, 0.6, 0.5, 0.0]])
    assert saliency_agreement(mask([1, 2, 0, 0]), salient) == 1.0
    assert saliency_agreement(mask([1, 255, 2, 0]), salient) == 0.5
    assert saliency_agreement(mask([0, 0]), np.zeros((1, 2))) is None


def test_an_estimate_is_the_mean_of_what_is_known() -> None:
    assert estimated_quality({"scales": None, "crf": None, "saliency": None}) is None
    assert estimated_quality({"scales": 0.25, "crf": None, "saliency": None}) == 0.25
    assert estimated_quality({"scales": 1.0, "crf": 0.5, "saliency": 0.5}) == pytest.approx(5.5 / 7)
    assert estimated_quality({"scales": 1.0, "crf": 0.5, "saliency": None}) == pytest.approx(5 / 6)
    parts = {"scales": 1.0, "crf": 1.0, "saliency": 0.5, "networks": 0.25}
    assert estimated_quality(parts) == 0.375  # of two networks: with saliency alone
    assert estimated_quality({**parts, "saliency": None}) == 0.25


def test_ranks_as_scipy_has_them() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    first = rng.integers(0, 6, 40).astype(float)  # with many ties
    second = first + rng.normal(0, 2, 40)
    expected = stats.spearmanr(first, second)[0]
    assert spearman(first.tolist(), second.tolist()) == pytest.approx(float(expected))
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert math.isnan(spearman([1, 2], [1, 2])) and math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    with pytest.raises(ValueError, match="got 2 and 1"):
        spearman([1, 2], [1])
