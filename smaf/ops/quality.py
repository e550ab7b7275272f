"""How good a pseudo mask is likely to be, without a true mask; and how well such an estimate ranks.

Each part is an agreement in 0..1, the mean over the classes that the photograph shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from smaf.core.class_maps import ClassMaps
from smaf.core.classes import IGNORE

# Of the parts of an estimate, by Spearman's rank correlation with the photographs' IoU: chosen on
# every third photograph of the training list of PASCAL VOC's animals (146)
WEIGHTS = {"scales": 4.0, "crf": 2.0, "saliency": 1.0}
# The same where masks are stage 4's network's, chosen on 73 photographs that it was not trained on
NETWORK_WEIGHTS = {"networks": 1.0, "saliency": 1.0}


def mask_agreement(first: np.ndarray, second: np.ndarray, classes: Sequence[int]) -> float | None:
    r"""Mean IoU of two masks (H, W) of one photograph over the classes that it shows.

    .. math:: A = \frac{1}{|K|} \sum_{c \in K} \frac{|a_c \cap b_c|}{|a_c \cup b_c|}

    with the pixels :math:`a_c, b_c` of class c in the two masks and the `classes` K (indices; mask
    value c + 1). Pixels that one of them marks 255 are left out. A class that neither mask has
    counts as 0: the photograph shows it and both miss it. None without classes.

    Example:
        >>> first, second = np.array([[1, 1, 0, 2]]), np.array([[1, 0, 0, 2]])
        >>> mask_agreement(first, second, [0, 1])
        0.75
    """
    known = (first != IGNORE) & (second != IGNORE)
    shares = [_iou((first == c + 1) & known, (second == c + 1) & known) for c in classes]
    return float(np.mean([share or 0.0 for share in shares])) if shares else None


def photograph_iou(mask: np.ndarray, truth: np.ndarray, classes: Sequence[int]) -> float | None:
    """Mean IoU of a mask and its true mask over the classes shown, by label or by the true mask.

    Pixels that truth marks 255 are left out. A class that neither has is left out, too: its pixels
    may all be ignored. None where nothing is left.

    Example:
        >>> truth = np.array([[1, 1, 0, 255]])
        >>> photograph_iou(np.array([[1, 0, 0, 2]]), truth, [0, 1])
        0.5
    """
    known = truth != IGNORE
    shown = set(classes) | {int(value) - 1 for value in np.unique(truth[known]) if value}
    shares = [_iou((mask == c + 1) & known, (truth == c + 1) & known) for c in sorted(shown)]
    found = [share for share in shares if share is not None]
    return float(np.mean(found)) if found else None


def _iou(first: np.ndarray, second: np.ndarray) -> float | None:
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else None


def scale_agreement(cams: ClassMaps, mask: np.ndarray) -> float | None:
    r"""How far the views that a fused map is the mean of agree with the mask.

    A fused map M (H, W) is the mean over scales and mirror images, divided by its maximum: it is
    near 1 where all of them find the class, near 0 where none does, and between where they differ.
    Its square, which takes weak places down further, is compared with the mask's pixels m (0 or 1)
    of the class by the soft IoU

    .. math:: A = \frac{1}{|K|} \sum_{c \in K}
        \frac{\sum_p \min(M_c(p)^2, m_c(p))}{\sum_p \max(M_c(p)^2, m_c(p))}

    over the classes K of the maps and the pixels p of the `mask` (H, W), but for those that it
    marks 255. A class that has neither counts as 0; None without maps.

    Example:
        >>> maps = {0: np.array([[1.0, 0.5, 0.0, 0.0]])}
        >>> scale_agreement(maps, np.array([[1, 1, 0, 0]]))
        0.625
    """
    known = mask != IGNORE
    shares = []
    for c, cam in cams.items():
        squares, pixels = np.square(cam[known]), mask[known] == c + 1
        most = float(np.maximum(squares, pixels).sum())
        shares.append(float(np.minimum(squares, pixels).sum()) / most if most else 0.0)
    return float(np.mean(shares)) if shares else None


def saliency_agreement(mask: np.ndarray, saliency: np.ndarray) -> float | None:
    """IoU of a mask's foreground and what a saliency map (H, W) in 0..1 holds for salient.

    Salient is what exceeds 0.5. Pixels that the mask marks 255 are left out; None where neither has
    a pixel.

    Example:
        >>> saliency_agreement(np.array([[1, 2, 0, 0]]), np.array([[0.9, 0.2, 0.7, 0.1]]))
        0.3333333333333333
    """
    known = mask != IGNORE
    return _iou((mask > 0) & known, (saliency > 0.5) & known)


def estimated_quality(parts: Mapping[str, float | None]) -> float | None:
    r"""The mean of the parts of an estimate that are known, by :data:`WEIGHTS`.

    .. math:: Q = \frac{\sum_k w_k A_k}{\sum_k w_k}

    over the known parts k of "scales", "crf" and "saliency"; where "networks" is known, the
    agreement of two networks' masks, over this one and "saliency" (:data:`NETWORK_WEIGHTS`). None
    where none is known.

    Example:
        >>> estimated_quality({"scales": 0.5, "crf": 0.8, "saliency": None})
        0.6
        >>> estimated_quality({"scales": 0.5, "crf": 0.8, "saliency": 0.75, "networks": 0.25})
        0.5
    """
    weights = WEIGHTS if parts.get("networks") is None else NETWORK_WEIGHTS
    known = {n: value for n, value in parts.items() if value is not None and n in weights}
    total = sum(weights[name] for name in known)
    if not total:
        return None
    return sum(weights[name] * value for name, value in known.items()) / total


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation of two series: Pearson's of their ranks.

    Equal values share a rank. NaN for fewer than three pairs, and for a series of equal values.

    Example:
        >>> spearman([0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 4.0, 3.0])
        0.8
    """
    if len(first) != len(second):
        raise ValueError(f"expected as many values, got {len(first)} and {len(second)}")
    if len(first) < 3:
        return float("nan")
    a, b = (_ranks(np.asarray(values, dtype=np.float64)) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread > 0 else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    """(N,) ranks from 0; equal values have the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return np.asarray((last - (counts - 1) / 2)[places.ravel()])
