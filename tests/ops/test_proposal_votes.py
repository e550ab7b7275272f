"""The vote of proposals, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from smaf.ops import vote_proposals


def line(text: str) -> np.ndarray:
    """A mask (1, W): digits are values, `x` is 255."""
    return np.array([[255 if c == "x" else int(c) for c in text]], dtype=np.uint8)


def voted(mask: str, *proposals: str) -> str:
    """The vote's result; `#` marks a proposal's pixels."""
    regions = [np.array([[c == "#" for c in text]]) for text in proposals]
    return "".join("x" if v == 255 else str(v) for v in vote_proposals(line(mask), regions)[0])


@pytest.mark.parametrize(
    ("mask", "proposals", "expected"),
    [
        ("0110", ["0###"], "0111"),  # 2·2 > 3: the class gains a pixel
        ("0110", ["####"], "1111"),  # 2·2 = 4 is not more; but all of P is in it, 1 ≥ 0.85
        ("1111110", ["#####  "], "1111110"),  # accepted; P beyond it lies under no proposal
        ("110011", ["###   "], "111011"),  # P has 4: 2 of 3
        ("110011", ["####  "], "000011"),  # 2 of 4, half of P: refused, so background there
        ("110022", ["   ###", "#     "], "110222"),
        ("112222", ["####  "], "111122"),  # a tie 2:2 is the lower class's: all of P = 2 ≥ 0.85
        ("000000", ["###   "], "000000"),  # no class, nothing to vote
        ("1100", [], "1100"),
        ("xx11", ["##  "], "xx11"),  # ignored pixels stay so under a refused proposal
        ("x111", ["####"], "1111"),  # and become the class of an accepted one
    ],
)
def test_by_hand(mask: str, proposals: list[str], expected: str) -> None:
    assert voted(mask, *proposals) == expected


def test_the_share_of_the_class() -> None:
    """17 of 20 pixels are 0.85, 16 are less; the proposal is far larger than the class."""
    mask = np.zeros((10, 20), dtype=np.uint8)
    mask[0] = 3
    for kept, accepted in ((17, True), (16, False)):
        region = np.ones((10, 20), dtype=bool)
        region[0, kept:] = False
        result = vote_proposals(mask, [region])
        assert (result[region] == (3 if accepted else 0)).all()
        assert (result[0, kept:] == 3).all()
    assert (vote_proposals(mask, [region], held=0.8)[region] == 3).all()


def test_the_smallest_accepted_proposal_lies_on_top() -> None:
    """In any order; of equal ones the first."""
    mask = "1111112200"
    large, small = "########  ", "      ### "
    assert voted(mask, large, small) == voted(mask, small, large) == "1111112220"
    assert voted("1122", "### ", " ###") == "1112" and voted("1122", " ###", "### ") == "1222"
    assert voted("1111", "####", " ## ") == "1111"


def test_another_shape_is_refused_and_the_mask_stays() -> None:
    mask = line("0110")
    with pytest.raises(ValueError, match=r"proposal \(1, 3\) and mask \(1, 4\) differ"):
        vote_proposals(mask, [np.ones((1, 3), dtype=bool)])
    vote_proposals(mask, [np.ones((1, 4), dtype=bool)])
    assert mask.tolist() == [[0, 1, 1, 0]]
