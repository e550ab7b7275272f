"""The method's mathematics against numbers that the public releases produced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from smaf.models import Classifier
from smaf.ops import (
    ConfusionMatrix,
    cams_to_mask,
    class_prototypes,
    crf_labels,
    eps_loss,
    fuse_cams,
    move_prototypes,
    prototype_weights,
    reactivation_target,
    saliency_estimate,
    self_training_loss,
)

Golden = Callable[[str], Path]


def close(ours: Tensor | np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", [0, 1])
def test_eps_loss(golden: Golden, case: int) -> None:
    stored = np.load(golden("eps_loss.npz"))
    cam, saliency, labels = (
        torch.from_numpy(stored[f"{name}{case}"]) for name in ("cam", "sal", "label")
    )
    tau = float(stored[f"tau{case}"])
    cam.requires_grad_(True)
    loss = eps_loss(cam, saliency, labels, tau=tau)
    loss.backward()
    close(loss.detach(), stored[f"loss{case}"])
    close(cam.grad, stored[f"grad{case}"])
    small = F.interpolate(saliency, size=cam.shape[2:], mode="nearest")
    front, back = saliency_estimate(cam.detach(), small, labels, tau=tau)
    close(front, stored[f"fg{case}"])
    close(back, stored[f"bg{case}"])
    # gradients are of the order 1e-4: hold their direction and size, too
    theirs = torch.from_numpy(stored[f"grad{case}"])
    assert float((cam.grad - theirs).norm() / theirs.norm()) < 1e-4


def test_fused_cams_and_mask(golden: Golden, smaf38: Classifier) -> None:
    stored = np.load(golden("fused_cam.npz"))
    with Image.open(golden("photo.png")) as file:
        photo = file.convert("RGB")
    cams = fuse_cams(smaf38, photo, stored["label"])
    assert list(cams) == stored["classes"].tolist()
    close(np.stack(list(cams.values())), stored["cam"])
    ours = cams_to_mask(cams, threshold=0.2)
    ranked = np.sort(np.concatenate([np.full((1, *ours.shape), 0.2), stored["cam"]]), axis=0)
    tie = ranked[-1] - ranked[-2] < 1e-5
    assert tie.mean() < 0.001
    np.testing.assert_array_equal(ours[~tie], stored["mask"][~tie])
    np.testing.assert_array_equal(
        cams_to_mask(
            {int(c): cam for c, cam in zip(stored["classes"], stored["cam"], strict=True)}
        ),
        stored["mask"],
    )


def test_self_training(golden: Golden) -> None:
    stored = np.load(golden("self_training.npz"))
    fused, labels = torch.from_numpy(stored["fused"]), torch.from_numpy(stored["label"])
    small = F.interpolate(
        fused[:, :-1], size=stored["target"].shape[2:], mode="bilinear", align_corners=True
    )
    target = reactivation_target(small, labels)
    close(target, stored["target"])
    logits = torch.from_numpy(stored["logits"]).requires_grad_(True)
    loss = self_training_loss(logits, target)
    loss.backward()
    close(loss.detach(), stored["loss"])
    close(logits.grad, stored["grad"])
    theirs = torch.from_numpy(stored["grad"])
    assert float((logits.grad - theirs).norm() / theirs.norm()) < 1e-4


def test_prototypes(golden: Golden) -> None:
    stored = {
        key: torch.from_numpy(value) for key, value in np.load(golden("prototypes.npz")).items()
    }
    vectors, ids = class_prototypes(stored["feat"], stored["logits"])
    assert ids.tolist() == stored["ids"].tolist()
    close(vectors, stored["vectors"].numpy())
    first = class_prototypes(stored["feat"][:1], stored["logits"][:1])[1]
    assert len(first) == int((stored["image"] == 0).sum())
    for kind in ("cosine", "proda"):
        weight = prototype_weights(stored["feat"], stored["prototypes"], kind=kind)
        close(weight, stored[f"{kind}_weight"].numpy())
    before = stored["prototypes"].clone()
    moved = move_prototypes(stored["prototypes"], vectors, ids)
    np.testing.assert_allclose(
        moved, stored["moved"], rtol=1e-6, atol=1e-6
    )  # a step is 1e-4: finer than 1e-4
    assert torch.equal(stored["prototypes"], before)


def test_metrics(golden: Golden) -> None:
    stored = np.load(golden("metrics.npz"))
    matrix = ConfusionMatrix(21)
    for pred, gt in zip(stored["pred"], stored["gt"], strict=True):
        matrix.update(pred, gt)
    result = matrix.compute()
    for ours, theirs in (
        ("accuracy", "acc"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("iou", "iou"),
        ("miou", "miou"),
        ("fwiou", "fwiou"),
    ):
        np.testing.assert_allclose(result[ours], stored[theirs], rtol=0, atol=1e-12, err_msg=ours)
    assert matrix.ignored == int((stored["gt"] == 255).sum())


def test_crf_on_hard_labels(golden: Golden) -> None:
    stored = np.load(golden("crf_labels.npz"))
    refined = crf_labels(stored["image"], stored["labels"], num_classes=21)
    np.testing.assert_array_equal(refined, stored["refined"])
    assert (refined != stored["labels"]).mean() > 0.001  # the CRF does something here
