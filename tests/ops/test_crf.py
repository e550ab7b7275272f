"""The CRF's edges; its numbers are in test_golden_ops."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from PIL import Image

from smaf.core.errors import InputError
from smaf.ops import crf_available, crf_labels, crf_softmax, require_crf

needs_crf = pytest.mark.skipif(not crf_available(), reason="pydensecrf2 is not installed")


def halves() -> tuple[np.ndarray, np.ndarray]:
    """A dark and a bright half, and a mask of the bright one with a hole and a speck."""
    image = np.full((24, 32, 3), 20, dtype=np.uint8)
    image[:, 16:] = 230
    mask = np.zeros((24, 32), dtype=np.uint8)
    mask[:, 16:] = 2
    mask[10:12, 24:26] = 0
    mask[5, 4] = 1
    return image, mask


@needs_crf
def test_hole_and_speck_are_mended() -> None:
    image, mask = halves()
    before = mask.copy()
    refined = crf_labels(image, mask, num_classes=3)
    expected = np.zeros_like(mask)
    expected[:, 16:] = 2
    np.testing.assert_array_equal(refined, expected)
    np.testing.assert_array_equal(crf_labels(Image.fromarray(image), mask, num_classes=3), expected)
    np.testing.assert_array_equal(mask, before)


@needs_crf
def test_softmax_stays_a_distribution_and_follows_the_edge() -> None:
    image, mask = halves()
    certain = np.full((3, 24, 32), 0.1, dtype=np.float32)
    np.put_along_axis(certain, mask[None].astype(np.int64), np.float32(0.8), axis=0)
    refined = crf_softmax(image, certain)
    np.testing.assert_allclose(refined.sum(axis=0), 1.0, atol=1e-4)
    assert refined.argmax(axis=0)[10, 24] == 2 and refined.argmax(axis=0)[5, 4] == 0


@needs_crf
def test_wrong_input_is_refused() -> None:
    image, mask = halves()
    with pytest.raises(ValueError, match=r"expected below num_classes = 2"):
        crf_labels(image, mask, num_classes=2)
    for wrong in (image[:, :-1], image.astype(np.float32), image[:, :, 0]):
        with pytest.raises(ValueError, match="expected an RGB image"):
            crf_labels(wrong, mask, num_classes=3)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install pydensecrf2"):
        require_crf()
    with pytest.raises(InputError, match="or run without --crf"):
        crf_labels(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8), num_classes=2)
