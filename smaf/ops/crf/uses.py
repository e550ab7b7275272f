"""Dense CRF as this method uses it: on hard labels, on softmax, and on fused maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from smaf.core.class_maps import ClassMaps
from smaf.ops.crf.settings import HARD_LABELS, SOFTMAX, CrfSettings

if TYPE_CHECKING:
    from smaf.ops.crf.dense import DenseCrf

CERTAINTY = 0.7


def crf_of(image: np.ndarray | Image.Image, settings: CrfSettings) -> DenseCrf:
    """The dense CRF of an RGB image with the kernels of `settings`; see :class:`DenseCrf`."""
    from smaf.ops.crf.dense import DenseCrf, tell_once  # with Numba: not where saliency is alone

    tell_once()
    return DenseCrf(image, gaussian=settings.gaussian, bilateral=settings.bilateral)


def crf_labels(
    image: np.ndarray | Image.Image,
    mask: np.ndarray,
    *,
    num_classes: int,
    settings: CrfSettings = HARD_LABELS,
) -> np.ndarray:
    """Refine a hard mask with stage 3's dense CRF.

    Each pixel's label has probability 0.7; the other labels share the rest.

    Args:
        image: (H, W, 3) uint8 RGB, or a PIL RGB image.
        mask: (H, W) uint8, 0 background, 1..C.
        num_classes: T, background included (21 for VOC). All of them take part, as in the release;
            those that no pixel has are one column of the CRF.

    Returns:
        (H, W) uint8.

    Example:
        >>> image, mask = np.zeros((3, 3, 3), dtype=np.uint8), np.ones((3, 3), dtype=np.uint8)
        >>> mask[1, 1] = 0  # a hole in a surface of one colour
        >>> crf_labels(image, mask, num_classes=21)[1].tolist()
        [1, 1, 1]
    """
    if num_classes < 2 or mask.max(initial=0) >= num_classes:
        raise ValueError(
            f"mask has values up to {mask.max(initial=0)}, expected below num_classes = "
            f"{num_classes} ≥ 2"
        )
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=num_classes))
    absent = np.setdiff1d(np.arange(num_classes), present)
    labels = np.sort(np.append(present, absent[:1]))
    counts = np.where(np.isin(labels, present), 1, len(absent))
    other, own = -np.log((1.0 - CERTAINTY) / (num_classes - 1)), -np.log(CERTAINTY)
    unary = np.where(mask == labels[:, None, None], np.float32(own), np.float32(other))
    refined = crf_of(image, settings).of_columns(unary, counts, steps=settings.steps)
    return labels.astype(np.uint8)[refined.argmax(axis=0)]


def crf_softmax(
    image: np.ndarray | Image.Image | DenseCrf,
    probability: np.ndarray,
    *,
    settings: CrfSettings = SOFTMAX,
) -> np.ndarray:
    """CRF on probabilities (T, H, W) that sum to 1 at each pixel → refined (T, H, W) float32.

    `image` is an RGB image, or what :func:`crf_of` made of it, for more than one refinement.
    """
    crf = crf_of(image, settings) if isinstance(image, (np.ndarray, Image.Image)) else image
    return crf(-np.log(np.clip(probability, 1e-5, 1.0)), steps=settings.steps)


def saliency_odds(saliency: np.ndarray, weight: float) -> np.ndarray:
    """(H, W) float32: the odds of salient pixels, 1 to 19, to the power `weight`; 1 elsewhere."""
    s = np.clip(saliency, 0.5, 0.95)
    return np.asarray(((s / (1.0 - s)) ** weight).astype(np.float32))


def crf_cams(
    image: np.ndarray | Image.Image | DenseCrf,
    cams: Mapping[int, np.ndarray],
    *,
    background: float | None,
    saliency: np.ndarray | None = None,
    saliency_weight: float = 1.0,
    settings: CrfSettings | None = SOFTMAX,
) -> ClassMaps:
    """Refine fused maps by the photograph's edges: CRF on [background, class maps] of sum 1.

    Only the labels of the maps and background take part, which the image-level label allows.
    Departs from the paper, whose CRF comes after the mask.

    Args:
        image: as in :func:`crf_softmax`.
        cams: `{class index: (H, W) in [0, 1]}`.
        background: the constant that a class must exceed; None for maps that are probabilities:
            what they leave to 1.
        saliency: (H, W) in [0, 1] or None. Where it is salient (above 0.5), its odds (at most 19)
            to the power `saliency_weight` multiply the classes' values. Elsewhere it says nothing:
            a detector misses objects, and held against the classes it cost more than it gave.
        settings: the kernels; None for no CRF at all, saliency alone.

    Returns:
        `{class index: (H, W) float32}`, probabilities; background has what is left to 1.

    Example:
        >>> cams = {3: np.full((1, 1), 0.75, dtype=np.float32)}
        >>> image = np.zeros((1, 1, 3), dtype=np.uint8)
        >>> crf_cams(image, cams, background=0.25, settings=None)[3].tolist()  # 0.75 of 1
        [[0.75]]
    """
    if not cams:
        return {}
    maps = np.stack([np.clip(cam, 1e-4, 1.0) for cam in cams.values()])
    if saliency is not None:
        maps = maps * saliency_odds(saliency, saliency_weight)
    rest = np.clip(1.0 - maps.sum(axis=0, keepdims=True), 1e-4, 1.0)
    channels = np.concatenate(
        [rest if background is None else np.full_like(rest, background), maps]
    )
    channels /= channels.sum(axis=0)
    refined = channels if settings is None else crf_softmax(image, channels, settings=settings)
    return dict(zip(cams, refined[1:], strict=True))
