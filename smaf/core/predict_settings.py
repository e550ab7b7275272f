"""How `smaf predict` uses a network; travels with its weights."""

from __future__ import annotations

from dataclasses import dataclass

LABEL_FILTERS = ("maps", "logits")


@dataclass(frozen=True)
class PredictSettings:
    """The views; the background threshold of the fused maps (None: a segmentation network decides
    by itself), and `crf_background` where CRF refines them (None: the same); the score from which a
    class counts as shown; and `label_filter` of :func:`smaf.ops.fuse_cams`, one of
    :data:`LABEL_FILTERS`. All were chosen on a list that the model card names. What a file says is
    checked by :mod:`smaf.core.network_facts`."""

    scales: tuple[float, ...]
    flip: bool
    long_side: int | None
    background: float | None
    score: float
    label_filter: str = "maps"
    crf_background: float | None = None
