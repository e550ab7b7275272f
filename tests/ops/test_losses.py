"""Losses and the self-training target, worked out by hand on a few pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from smaf.ops import (
    classification_loss,
    eps_loss,
    reactivation_target,
    saliency_estimate,
    segmentation_loss,
    self_training_loss,
)


def logits(*probabilities: list[list[float]]) -> Tensor:
    """Channels of probabilities (h, w) each → (1, T, h, w) logits whose softmax they are."""
    return torch.tensor(probabilities, dtype=torch.float64).log()[None].float()


def test_classification_loss_by_hand() -> None:
    scores = torch.tensor([[0.0, math.log(3.0), 9.0]])  # the third is background: not asked
    loss = classification_loss(scores, torch.tensor([[1.0, 0.0]]))
    assert float(loss) == pytest.approx((math.log(2) + math.log(4)) / 2, rel=1e-6)


def test_saliency_estimate_by_hand() -> None:
    """Class 0 lies on the salient half, class 1 outside it, class 2 is not labelled."""
    cam = logits([[0.7, 0.1]], [[0.1, 0.6]], [[0.1, 0.2]], [[0.1, 0.1]])
    saliency = torch.tensor([[[[1.0, 0.0]]]])
    labels = torch.tensor([[1.0, 1.0, 0.0]])
    front, back = saliency_estimate(cam, saliency, labels, tau=0.4)
    np.testing.assert_allclose(front[0, 0], [[0.7, 0.1]], rtol=1e-6)
    np.testing.assert_allclose(
        back[0, 0], [[1 - 0.2, 1 - 0.7]], rtol=1e-6
    )  # background channel and class 1
    expected = (((0.7 + 0.8) / 2 - 1) ** 2 + ((0.1 + 0.3) / 2 - 0) ** 2) / 2
    assert float(eps_loss(cam, saliency, labels, tau=0.4)) == pytest.approx(expected, rel=1e-5)
    only = ((0.7 - 1) ** 2 + 0.1**2) / 2
    assert float(eps_loss(cam, saliency, labels, lam=1.0)) == pytest.approx(only, rel=1e-5)


def test_tau_decides_at_the_overlap() -> None:
    """One of two pixels of the class is salient: overlap 1 / (2 + 1e-4), just below a half."""
    cam = logits([[0.8, 0.8]], [[0.2, 0.2]])
    saliency, labels = torch.tensor([[[[1.0, 0.0]]]]), torch.ones(1, 1)
    for tau, salient in ((0.49, True), (0.5, False), (0.51, False)):
        front, back = saliency_estimate(cam, saliency, labels, tau=tau)
        np.testing.assert_allclose(
            front[0, 0], [[0.8, 0.8]] if salient else [[0.0, 0.0]], rtol=1e-6
        )
        np.testing.assert_allclose(back[0, 0], [[0.8, 0.8]] if salient else [[0.0, 0.0]], atol=1e-6)


def test_saliency_is_brought_to_the_cams_size() -> None:
    cam = logits([[0.8, 0.3]], [[0.2, 0.7]])
    large = torch.tensor([[1.0, 0.3, 0.0, 0.9], [0.9, 0.4, 0.8, 0.7]])[
        None
    ]  # nearest takes 1.0 and 0.0
    small = torch.tensor([[[[1.0, 0.0]]]])
    assert torch.equal(
        eps_loss(cam, large, torch.ones(1, 1)), eps_loss(cam, small, torch.ones(1, 1))
    )


def test_eps_loss_refuses_other_shapes() -> None:
    cam, saliency, labels = torch.zeros(2, 4, 5, 5), torch.zeros(2, 1, 5, 5), torch.zeros(2, 3)
    eps_loss(cam, saliency, labels)
    for wrong in (
        (cam, saliency, torch.zeros(2, 4)),
        (cam[0], saliency, labels),
        (cam, saliency, labels[:1]),
        (cam, torch.zeros(2, 3, 5, 5), labels),
        (cam, saliency[:1], labels),
    ):
        with pytest.raises(ValueError, match="expected"):
            eps_loss(*wrong)


def test_reactivation_by_hand() -> None:
    """Two pixels, two classes; class 1 is not labelled. (0.8, bg 0.2) → (1, 0.25); (0.1, bg 0.2) →
    (0.5, 1)."""
    fused = torch.tensor([[[[0.8, 0.1]], [[0.9, 0.9]]]])
    labels = torch.tensor([[1.0, 0.0]])
    before = fused.clone()
    np.testing.assert_allclose(
        reactivation_target(fused, labels)[0, :, 0], [[1, 0.5], [0, 0], [0.25, 1]], rtol=1e-6
    )
    np.testing.assert_allclose(
        reactivation_target(fused, labels, background=0.4)[0, :, 0],
        [[1, 0.25], [0, 0], [0.5, 1]],
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        reactivation_target(fused, labels, reactivate=False)[0, :, 0],
        [[0.8, 0.1], [0, 0], [0.2, 0.2]],
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        reactivation_target(fused, labels, denoise=False)[0, :, 0],
        [[8 / 9, 1 / 9], [1, 1], [1e-5 / 0.9] * 2],
        rtol=1e-5,
    )
    assert torch.equal(fused, before)


def test_padding_is_background_and_winners_are_one() -> None:
    target = reactivation_target(torch.zeros(1, 3, 2, 2), torch.ones(1, 3))
    np.testing.assert_array_equal(target[0, :, 0, 0], [0, 0, 0, 1])
    fused = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    target = reactivation_target(fused, torch.ones(2, 4))
    assert torch.equal(target.amax(dim=1), torch.ones(2, 6, 6))
    ratio = target[:, 0] / target[:, 1]
    torch.testing.assert_close(ratio, fused[:, 0] / fused[:, 1])


def test_reactivation_refuses_other_input() -> None:
    with pytest.raises(ValueError, match=r"labels \(N, C\), got"):
        reactivation_target(torch.zeros(1, 3, 2, 2), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="above 0"):
        reactivation_target(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3), background=0.0)


def test_self_training_loss_by_hand() -> None:
    """softmax (0.8, 0.2) against (1, 0.25): 100 · (0.2² + 0.05²) / 2."""
    loss = self_training_loss(logits([[0.8]], [[0.2]]), torch.tensor([[[[1.0]], [[0.25]]]]))
    assert float(loss) == pytest.approx(100 * (0.04 + 0.0025) / 2, rel=1e-5)
    half = self_training_loss(
        logits([[0.8]], [[0.2]]), torch.tensor([[[[1.0]], [[0.25]]]]), weight=50
    )
    assert float(half) == pytest.approx(float(loss) / 2, rel=1e-6)


def test_self_training_loss_is_zero_where_softmax_is_the_target() -> None:
    cam = torch.randn(2, 5, 6, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    target = F.interpolate(cam.detach(), size=(12, 9), mode="bilinear", align_corners=True).softmax(
        dim=1
    )
    loss = self_training_loss(cam, target)
    loss.backward()
    assert float(loss.detach()) < 1e-10 and float(cam.grad.abs().max()) < 1e-6
    with pytest.raises(ValueError, match="same N and C"):
        self_training_loss(cam, target[:, :-1])


def test_soft_background_is_what_the_maps_leave() -> None:
    """Refined maps are probabilities: 0.6 leaves 0.4, and the winner becomes 1."""
    fused = torch.tensor([0.6, 0.2]).reshape(1, 1, 1, 2)
    target = reactivation_target(fused, torch.ones(1, 1), soft_background=True)
    expected = torch.tensor([[1.0, 0.25], [0.4 / 0.6, 1.0]]).reshape(1, 2, 1, 2)
    torch.testing.assert_close(target, expected)


def test_saliency_by_area_is_the_cells_mean() -> None:
    """A cell of which a quarter is salient: nearest takes its upper left pixel, area its mean."""
    cam = logits([[0.25]], [[0.75]])
    saliency = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    loss = {
        kind: float(eps_loss(cam, saliency, torch.ones(1, 1), tau=0.0, lam=1.0, resize=kind))
        for kind in ("nearest", "area")
    }
    # At 0.25 the class rounds to no pixel, so it joins the background: the estimate is lam·0
    assert loss == pytest.approx({"nearest": 1.0, "area": 0.0625})


def test_centred_cells_lie_where_resizing_puts_them() -> None:
    """Two cells, target twice as fine: with corners the outer target pixels are the cells
    themselves."""
    cam = torch.tensor([[[[4.0, -4.0]], [[0.0, 0.0]]]])
    for corners in (True, False):
        expected = F.interpolate(cam, size=(1, 4), mode="bilinear", align_corners=corners).softmax(
            dim=1
        )
        target = torch.zeros(1, 2, 1, 4)
        loss = self_training_loss(cam, target, weight=1.0, align_corners=corners)
        assert float(loss) == pytest.approx(float(expected.square().mean()), rel=1e-6)
    edge = [
        float(self_training_loss(cam, torch.zeros(1, 2, 1, 4), align_corners=c))
        for c in (True, False)
    ]
    assert edge[0] != pytest.approx(edge[1], rel=1e-3)


def test_segmentation_loss_by_hand() -> None:
    """Two pixels of logits (1, 0); the targets are 0 and 1, then one is ignored, then all."""
    values = torch.zeros(1, 2, 1, 2)
    values[:, 0] = 1.0
    right, wrong = (np.log(1 + np.exp(z)) for z in (-1.0, 1.0))
    for mask, expected in (
        ([[0, 1]], (right + wrong) / 2),
        ([[0, 255]], right),
        ([[255, 255]], 0.0),
    ):
        loss = segmentation_loss([values], torch.tensor([mask]))
        assert float(loss) == pytest.approx(expected, abs=1e-6)
        assert float(segmentation_loss([values, values], torch.tensor([mask]))) == pytest.approx(
            2 * expected, abs=1e-6
        )
    big = torch.full((1, 8, 16), 255)
    big[0, :, :8] = 0
    assert float(segmentation_loss([values], big, stride=4)) == pytest.approx(right, abs=1e-6)
    assert float(segmentation_loss([values], big)) == pytest.approx(right, abs=1e-6)


def test_eps_loss_where_nothing_is_shown_by_hand() -> None:
    """What is not background is the error: ((1 - λ) (1 - p))² with the background's p, and its
    gradient raises p, whatever class it is taken from."""
    cam = logits([[0.6, 0.1]], [[0.1, 0.2]], [[0.3, 0.7]]).requires_grad_()
    nothing, labels = torch.zeros(1, 1, 1, 2), torch.zeros(1, 2)
    front, back = saliency_estimate(cam, nothing, labels)
    assert not front.any()
    np.testing.assert_allclose(back.detach()[0, 0], [[0.7, 0.3]], rtol=1e-6)
    loss = eps_loss(cam, nothing, labels)
    assert float(loss.detach()) == pytest.approx((0.35**2 + 0.15**2) / 2, rel=1e-5)
    other = eps_loss(cam.detach(), nothing, labels, lam=0.2)
    assert float(other) == pytest.approx((0.56**2 + 0.24**2) / 2, rel=1e-5)
    loss.backward()
    assert cam.grad is not None
    # d/dz of ((1 - p) / 2)² / 2 pixels: -(1 - p) / 4 · p (1 - p) for the background, at p = 0.3
    assert float(cam.grad[0, 2, 0, 0]) == pytest.approx(-0.7 / 4 * 0.3 * 0.7, rel=1e-4)
    assert (cam.grad[0, 2] < 0).all() and (cam.grad[0, :2] > 0).all()


@pytest.mark.parametrize("resize", ["nearest", "area"])
def test_one_photograph_of_nothing_in_a_batch_counts_beside_the_others(resize: str) -> None:
    cam = torch.cat([logits([[0.7, 0.1]], [[0.3, 0.9]]), logits([[0.4, 0.8]], [[0.6, 0.2]])])
    saliency = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 0.0]]]])
    loss = eps_loss(cam, saliency, torch.tensor([[1.0], [0.0]]), resize=resize)
    first, second = (0.3**2 + 0.1**2) / 2, (0.2**2 + 0.4**2) / 2
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [{}, {"denoise": False}, {"reactivate": False}, {"soft_background": True}],
    ids=["release", "no denoise", "no reactivate", "soft"],
)
def test_the_target_of_a_photograph_of_nothing_is_background(options: dict[str, bool]) -> None:
    """Also where maps of older labels are stored; the other photograph's target is what it was."""
    fused = torch.rand(2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    target = reactivation_target(fused, labels, **options)
    assert torch.equal(target[0], torch.tensor([0.0, 0, 0, 1])[:, None, None].expand(4, 2, 4))
    assert torch.equal(target[1:], reactivation_target(fused[1:], labels[1:], **options))
    assert float(self_training_loss(20 * target[:1] - 10, target[:1])) < 1e-6
