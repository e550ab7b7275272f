"""Class prototypes worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from smaf.ops import class_prototypes, move_prototypes, prototype_weights


def test_means_over_predicted_pixels() -> None:
    """One image of 1×4 pixels: class 0 wins two, class 2 two; class 1 none."""
    features = torch.tensor([[[[1.0, 3.0, 10.0, 20.0]], [[0.0, 2.0, -1.0, -3.0]]]])
    logits = torch.tensor([[[[9.0, 9.0, 0.0, 0.0]], [[1.0] * 4], [[0.0, 0.0, 5.0, 5.0]]]])
    vectors, ids = class_prototypes(features, logits, min_pixels=2)
    assert ids.tolist() == [0, 2]
    np.testing.assert_allclose(vectors, [[2, 1], [15, -2]])
    vectors, ids = class_prototypes(features, logits, min_pixels=3)
    assert vectors.shape == (0, 2) and ids.tolist() == []


def test_images_keep_their_own_means_in_order() -> None:
    features = torch.tensor([1.0, 5.0])[:, None, None, None].expand(2, 1, 2, 2)
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0]])[:, :, None, None].expand(2, 2, 2, 2)
    vectors, ids = class_prototypes(features, logits, min_pixels=4)
    assert ids.tolist() == [1, 0] and vectors.tolist() == [[1.0], [5.0]]


def test_moving() -> None:
    before = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    moved = move_prototypes(
        before, torch.tensor([[10.0, 0.0], [10.0, 0.0]]), torch.tensor([0, 0]), momentum=0.1
    )
    np.testing.assert_allclose(moved, [[1.9, 0.0], [1.0, 1.0]], rtol=1e-6)
    assert torch.equal(before, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert torch.equal(
        move_prototypes(before, torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)), before
    )


def test_weights() -> None:
    """A pixel at (3, 4) and prototypes beside, across and opposite."""
    pixel = torch.tensor([3.0, 4.0])[None, :, None, None]
    prototypes = torch.tensor([[6.0, 8.0], [-4.0, 3.0], [-3.0, -4.0], [3.0, 0.0]])
    cosine = prototype_weights(pixel, prototypes)
    np.testing.assert_allclose(cosine[0, :, 0, 0], [1.0, 0.0, 0.0, 0.6], atol=1e-6)
    distances = [5.0, math.hypot(7, 1), 10.0, 4.0]
    e = np.exp(-(np.array(distances) - 4.0))
    proda = prototype_weights(pixel, prototypes, kind="proda")
    np.testing.assert_allclose(proda[0, :, 0, 0], e / e.sum(), rtol=1e-5)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected features"):
        prototype_weights(torch.zeros(1, 3, 2, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="expected 'cosine' or 'proda'"):
        prototype_weights(torch.zeros(1, 3, 2, 2), torch.zeros(4, 3), kind="l1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected features"):
        class_prototypes(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 3))


def test_an_image_of_nothing_gives_the_background_its_mean_alone() -> None:
    """The second image has no label: all of its pixels are background, whatever is predicted."""
    features = torch.tensor([[[[1.0, 3.0]]], [[[5.0, 9.0]]]])
    logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 2.0]]]] * 2)
    labels = torch.tensor([[1.0], [0.0]])
    vectors, ids = class_prototypes(features, logits, labels=labels, min_pixels=1)
    assert vectors.tolist() == [[1.0], [3.0], [7.0]] and ids.tolist() == [0, 1, 1]
    vectors, ids = class_prototypes(features, logits, labels=torch.ones(2, 1), min_pixels=1)
    assert vectors.tolist() == [[1.0], [3.0], [5.0], [9.0]] and ids.tolist() == [0, 1, 0, 1]
