"""This module holds ProDA's prototypes as SMAF's release uses them.

They are described by Zhang et al., CVPR 2021, sections 3.1 and 3.2.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def class_prototypes(
    features: Tensor, logits: Tensor, *, labels: Tensor | None = None, min_pixels: int = 10
) -> tuple[Tensor, Tensor]:
    r"""Mean feature of each class in each image, over the pixels whose predicted class it is.

    Args:
        features: (N, D, h, w).
        logits: (N, T, h, w); a pixel's class is its largest channel, the last one background.
        labels: (N, T - 1) or None. An image without a label, which ProDA does not have, is
            background, whatever the logits say; other labels change nothing.
        min_pixels: a class with fewer pixels in an image gives no mean.

    Returns:
        (M, D) means in the order of images, then classes, and their class ids (M,) int64.

    .. math:: v_t = \frac{\sum_p f(p) [\hat y(p) = t]}{\sum_p [\hat y(p) = t]}

    with the feature f and the predicted class at the pixel p.

    Example:
        >>> features = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
        >>> logits = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]]])
        >>> means, ids = class_prototypes(features, logits, min_pixels=2)
        >>> means.tolist(), ids.tolist()
        ([[2.0], [6.0]], [0, 1])
    """
    if (
        features.ndim != 4
        or logits.ndim != 4
        or features.shape[2:] != logits.shape[2:]
        or len(features) != len(logits)
    ):
        raise ValueError(
            f"expected features (N, D, h, w) and logits (N, T, h, w), got {tuple(features.shape)} "
            f"and {tuple(logits.shape)}"
        )
    (n, d), classes = features.shape[:2], logits.shape[1]
    found = logits.argmax(dim=1).reshape(n, -1)
    if labels is not None:
        found = torch.where((labels > 0).any(dim=1, keepdim=True), found, classes - 1)
    onehot = F.one_hot(found, classes).to(features.dtype)  # (N, h·w, T)
    sums = torch.einsum("ndp,npt->ntd", features.reshape(n, d, -1), onehot)
    pixels = onehot.sum(dim=1)  # (N, T)
    image, ids = torch.nonzero(pixels >= min_pixels, as_tuple=True)
    return sums[image, ids] / pixels[image, ids, None], ids


def move_prototypes(
    prototypes: Tensor, vectors: Tensor, ids: Tensor, *, momentum: float = 1e-4
) -> Tensor:
    r"""Move prototypes towards feature means (ProDA, eq. 6), one vector (M, D) after the other.

    .. math:: P_t \leftarrow (1 - m) P_t + m v

    with the momentum m and a vector v of class t. `prototypes` (T, D) is not changed; the moved
    ones are returned.

    Example:
        >>> move_prototypes(
        ...     torch.zeros(2, 1), torch.tensor([[4.0]]), torch.tensor([1]), momentum=0.5
        ... ).tolist()
        [[0.0], [2.0]]
    """
    moved = prototypes.clone()
    for vector, t in zip(vectors, ids.tolist(), strict=True):
        moved[t] = (1.0 - momentum) * moved[t] + momentum * vector
    return moved


def prototype_weights(
    features: Tensor, prototypes: Tensor, *, kind: Literal["cosine", "proda"] = "cosine"
) -> Tensor:
    r"""How well each pixel fits each class prototype.

    `"proda"`: softmax over classes of -(d_t - min d), d_t the Euclidean distance to prototype t
    (ProDA, eq. 5, temperature 1). `"cosine"`: relu of the cosine similarity (SMAF's release).

    .. math:: w_t = \frac{e^{-d_t}}{\sum_k e^{-d_k}}, \; d_t = \lVert f - P_t \rVert
        \quad \text{or} \quad w_t = \max(0, \cos(f, P_t))

    Args:
        features: (N, D, H, W).
        prototypes: (T, D).

    Returns:
        (N, T, H, W) in [0, 1].

    Example:
        >>> pixel = torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1)
        >>> prototype_weights(pixel, torch.tensor([[1.0, 0.0], [0.0, 1.0]])).flatten().tolist()
        [0.0, 1.0]
    """
    if features.ndim != 4 or prototypes.ndim != 2 or features.shape[1] != prototypes.shape[1]:
        raise ValueError(
            f"expected features (N, D, H, W) and prototypes (T, D), got {tuple(features.shape)} "
            f"and {tuple(prototypes.shape)}"
        )
    if kind not in {"cosine", "proda"}:
        raise ValueError(f"kind {kind!r}: expected 'cosine' or 'proda'")
    n, d, h, w = features.shape
    pixels = features.permute(0, 2, 3, 1).reshape(-1, d)  # (N·H·W, D)
    if kind == "cosine":
        weight = F.relu(F.normalize(pixels, dim=1) @ F.normalize(prototypes, dim=1).T)
    else:
        distance = torch.cdist(pixels, prototypes, compute_mode="donot_use_mm_for_euclid_dist")
        weight = (distance.amin(dim=1, keepdim=True) - distance).softmax(dim=1)
    return weight.reshape(n, h, w, -1).permute(0, 3, 1, 2)
