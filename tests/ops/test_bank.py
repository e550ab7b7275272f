"""Regions, their features, and the vote of a bank, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from smaf.ops.bank import Bank, confident, region_features, regions_of, voted


def test_only_what_lies_well_inside_is_sure() -> None:
    mask = np.zeros((5, 6), dtype=np.uint8)
    mask[:, 3:] = 2
    assert confident(mask, 0).tolist() == mask.tolist()
    assert confident(mask, 1)[2].tolist() == [0, 0, 255, 255, 2, 2]
    assert confident(mask, 2)[0].tolist() == [0, 255, 255, 255, 255, 2]  # no edge at the border
    mask[2, 0] = 255  # what is ignored is an edge, too
    assert confident(mask, 1)[:, 0].tolist() == [0, 255, 255, 255, 0]


def test_regions_have_one_value_and_one_superpixel() -> None:
    mask = np.array([[0, 0, 1, 1], [0, 255, 1, 1]], dtype=np.uint8)
    pieces = np.array([[4, 4, 4, 9], [4, 4, 9, 9]])
    regions, values = regions_of(mask, pieces)
    assert values.tolist() == [0, 1, 1]
    assert regions.tolist() == [[0, 0, 1, 2], [0, -1, 2, 2]]
    regions, values = regions_of(np.full((1, 2), 255, dtype=np.uint8), np.zeros((1, 2)))
    assert regions.tolist() == [[-1, -1]] and not len(values)


def test_features_are_means_by_area_of_cells_of_length_one() -> None:
    features = np.array([[[10.0, 0.0]], [[0.0, 1.0]]])  # cells (1, 0) and (0, 1), once normalised
    regions = np.array([[0, 0, 0, 1], [0, 0, 1, 1]])  # two columns of pixels a cell
    means, pixels = region_features(features, regions, 2)
    assert pixels.tolist() == [5, 3]
    expected = np.array([[4, 1], [0, 3]]) / np.array([[17**0.5], [3]])
    assert means == pytest.approx(expected, abs=1e-6)


def test_the_farthest_quarter_goes_but_not_of_background_or_of_few() -> None:
    angles = np.radians([0, 1, 2, 3, 4, 5, 80, 90])
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    values = np.repeat([0, 1, 2], [8, 8, 7])
    bank = Bank(np.concatenate([circle, circle, circle[:7]]), values, np.arange(23))
    kept = bank.without_farthest()
    assert kept.photos.tolist() == [*range(14), *range(16, 23)]  # 80° and 90° of class 1


def test_votes_are_counted_among_the_allowed_of_other_photographs() -> None:
    features = np.eye(3)[[0, 0, 1, 2, 0]]
    bank = Bank(features, np.array([1, 2, 2, 0, 3]), np.array([0, 1, 2, 3, 4]))
    region = np.array([[0.9, 0.3, 0.1]])

    def vote(**how: int) -> tuple[int, float]:
        values, share = voted(region, bank, allowed=[0, 1, 2], **how)
        return int(values[0]), float(share[0])

    # nearest first: 1 and 2 (photographs 0 and 1), 2 (photograph 2), background
    assert vote(photo=9, neighbours=3) == (2, pytest.approx(2 / 3))
    assert vote(photo=1, neighbours=2) == (1, 0.5)  # a tie: the smaller value
    assert vote(photo=0, neighbours=1) == (2, 1.0)
    assert vote(photo=9, neighbours=25) == (2, 0.5)  # all four of the allowed
    assert voted(region, bank, allowed=[3], photo=4, neighbours=5)[1].tolist() == [0.0]
