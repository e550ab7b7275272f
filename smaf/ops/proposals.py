"""Proposal voting (SEPL, Chen et al. 2023): masks without a class correct a pseudo mask."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from smaf.core.classes import IGNORE

HELD = 0.85  # a proposal that holds so much of a class is its, however large it is


def vote_proposals(
    mask: np.ndarray, proposals: Iterable[np.ndarray], *, held: float = HELD
) -> np.ndarray:
    r"""Let a pseudo mask choose among proposals, and take its outlines from them.

    A proposal S goes to the class, not background, whose region P in the mask it overlaps most, if

    .. math:: 2 |P \wedge S| > |S| \quad \text{or} \quad |P \wedge S| / |P| \ge 0.85

    A pixel has the class of the smallest accepted proposal on it (of equals the first; the release
    has the highest class); else, where other proposals lie, it is background; else it stays as it
    is. Pixels that are ignored (255) stay so but where an accepted proposal lies.

    Args:
        mask: (H, W) uint8, 0 background, c + 1 for class c, 255 ignored.
        proposals: each (H, W) bool; one at a time is held.
        held: the share of P of the second condition.

    Returns:
        (H, W) uint8.

    Example:
        >>> mask = np.array([[1, 1, 0, 0, 2, 2]], dtype=np.uint8)
        >>> proposals = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]], dtype=bool)
        >>> vote_proposals(mask, proposals[:, None]).tolist()  # the second: half of it is not more
        [[1, 1, 1, 0, 0, 2]]
    """
    total = _classes(mask)
    voted, covered = np.zeros_like(mask), np.zeros(mask.shape, dtype=bool)
    smallest = np.full(mask.shape, mask.size + 1, dtype=np.int64)  # area of what lies on a pixel
    for region in proposals:
        if region.shape != mask.shape:
            raise ValueError(f"proposal {region.shape} and mask {mask.shape} differ in shape")
        covered |= region
        overlap, area = _classes(mask[region]), int(np.count_nonzero(region))
        best = int(overlap.argmax())
        shared = int(overlap[best])
        if shared and (2 * shared > area or shared >= held * total[best]):
            wins = region & (area < smallest)
            voted[wins], smallest[wins] = best, area
    accepted = smallest <= mask.size
    return np.where(accepted, voted, np.where(covered & (mask != IGNORE), np.uint8(0), mask))


def _classes(values: np.ndarray) -> np.ndarray:
    """(256,) int64: pixels of each class; background and ignored ones count 0."""
    counts = np.bincount(values.ravel(), minlength=256)
    counts[[0, IGNORE]] = 0
    return counts
