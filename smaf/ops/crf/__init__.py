"""Dense CRF: fully connected, with Gaussian kernels, on the permutohedral lattice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smaf.ops.crf.settings import HARD_LABELS, SOFTMAX, Bilateral, CrfSettings, Gaussian
from smaf.ops.crf.uses import crf_cams, crf_labels, crf_of, crf_softmax, saliency_odds

if TYPE_CHECKING:
    from smaf.ops.crf.dense import DenseCrf, dense_crf

__all__ = [
    "HARD_LABELS",
    "SOFTMAX",
    "Bilateral",
    "CrfSettings",
    "DenseCrf",
    "Gaussian",
    "crf_cams",
    "crf_labels",
    "crf_of",
    "crf_softmax",
    "dense_crf",
    "saliency_odds",
]


def __getattr__(name: str) -> Any:
    if name not in ("DenseCrf", "dense_crf"):
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from smaf.ops.crf import dense  # with Numba, which prediction without CRF does not need

    return getattr(dense, name)
