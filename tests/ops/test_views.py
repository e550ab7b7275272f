"""Maps of large photographs in pieces are the maps of the whole, and so are masks, scores and
overlays."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from smaf.core.views import MAX_VIEW_PIXELS
from smaf.ops import (
    SizedMaps,
    bounded_photo,
    cams_to_mask,
    normalise_maps,
    peak_scores,
    refine_cams,
)
from smaf.ops.views import upsample
from smaf.report import pictures
from smaf.report.pictures import overlay_mask

LARGE = (2100, 1500)  # W, H: more than one piece


def maps(n: int = 3, h: int = 40, w: int = 56) -> np.ndarray:
    return np.random.default_rng(0).random((n, h, w), dtype=np.float32)


@pytest.mark.parametrize("whole", [(60, 50), LARGE, (1, 900), (30, 20), (5000, 3)])
@pytest.mark.parametrize("cap", [1, 700, 100_000, MAX_VIEW_PIXELS])
def test_pieces_are_the_whole(whole: tuple[int, int], cap: int) -> None:
    if whole[0] * whole[1] > 3000 * cap:
        pytest.skip("millions of pieces")
    sized = SizedMaps(maps(), whole)
    got = np.full((3, whole[1], whole[0]), np.nan, dtype=np.float32)
    for part, piece in sized.pieces(cap):
        assert piece[0].size <= cap and np.isnan(got[:, part[0], part[1]]).all()
        got[:, part[0], part[1]] = piece
    np.testing.assert_allclose(got, upsample(maps()[None], whole[::-1])[0], atol=2e-7)


def test_an_ordinary_photograph_is_one_piece_with_the_same_numbers() -> None:
    sized = SizedMaps(maps(), (500, 375))
    full = upsample(maps()[None], (375, 500))[0]
    ((part, piece),) = sized.pieces()
    assert part == (slice(0, 375), slice(0, 500)) and np.array_equal(piece, full)
    assert np.array_equal(sized.peak_scores(), peak_scores(full))
    assert np.array_equal(sized.maxima(), full.max(axis=(1, 2)))
    assert SizedMaps(full, (500, 375)).full() is full


def test_scores_and_masks_of_a_large_photograph() -> None:
    """The first class's strongest hundredth lies in one piece, the second is constant, the third
    everywhere."""
    small = maps()
    small[0, 30:, 40:] += 1.0
    small[1] = 0.25
    sized, full = SizedMaps(small, LARGE), upsample(small[None], LARGE[::-1])[0]
    np.testing.assert_allclose(sized.peak_scores(), peak_scores(full), rtol=1e-5)
    np.testing.assert_allclose(sized.peak_scores(0.002), peak_scores(full, 0.002), rtol=1e-5)
    np.testing.assert_allclose(sized.peak_scores(0.0), full.max(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(sized.peak_scores(0.1), peak_scores(small, 0.1), rtol=1e-6)
    smooth = upsample(maps(h=5, w=7)[None], (400, 560))[0]  # as a network's maps are
    large = upsample(smooth[None], LARGE[::-1])[0]
    score = SizedMaps(smooth, LARGE).peak_scores(0.1)
    np.testing.assert_allclose(score, peak_scores(large, 0.1), rtol=2e-3)
    maxima = sized.maxima()
    mask = sized.mask(
        lambda piece: cams_to_mask(normalise_maps(piece, [0, 1, 4], maxima=maxima), threshold=0.3)
    )
    whole = cams_to_mask(normalise_maps(full, [0, 1, 4]), threshold=0.3)
    assert mask.dtype == np.uint8 and mask.shape == LARGE[::-1] and (mask != whole).mean() < 1e-5
    assert set(np.unique(mask)) == {1, 2, 5}
    assert (
        not SizedMaps(small[:0], LARGE)
        .mask(lambda piece: cams_to_mask({}, shape=piece.shape[1:]))
        .any()
    )


@pytest.mark.parametrize("band", [1, 7, 50, 10_000])
def test_overlays_in_bands_are_the_whole(band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (13, 9, 3)).astype(np.uint8))
    mask = rng.choice([0, 1, 2, 255], (13, 9)).astype(np.uint8)
    whole = overlay_mask(photo, mask)
    monkeypatch.setattr(pictures, "_BAND", band)
    assert np.array_equal(overlay_mask(photo, mask), whole)


def test_crf_of_a_large_photograph_is_bounded_with_a_warning() -> None:
    small = Image.new("RGB", (60, 50))
    assert bounded_photo(small) is small
    with pytest.warns(RuntimeWarning, match="60×50 pixels works on 35×29, not more than 1000"):
        assert bounded_photo(small, max_pixels=1000).size == (35, 29)


def test_bounded_crf_is_that_of_the_whole_maps() -> None:
    """As stages 1½ and 3 have it: the maps of the whole photograph, made smaller for the CRF."""
    from smaf.ops import crf_cams

    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)).resize((160, 120))
    cams = SizedMaps(maps(1, 12, 16), photo.size)
    (whole,) = refine_cams(photo, {0: cams.full()[0]}, backgrounds=[0.4], max_pixels=4800)
    theirs = whole[0]
    with pytest.warns(RuntimeWarning):
        smaller = bounded_photo(photo, max_pixels=4800)
    refined = crf_cams(smaller, {0: SizedMaps(cams.maps, smaller.size).full()[0]}, background=0.4)
    ours = SizedMaps(np.stack(list(refined.values())), photo.size).full()[0]
    assert ((ours > 0.5) != (theirs > 0.5)).mean() < 0.01
