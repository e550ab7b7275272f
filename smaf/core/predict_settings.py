"""How `smaf predict` uses a network; travels with its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smaf.core.views import Views


@dataclass(frozen=True)
class PredictSettings:
    """These settings decide how a network's maps become a mask.

    Their values are chosen on a list of photographs that the model card names.

    Args:
        views: which views are fused.
        background: threshold of a classifier's fused maps in 0..1; None for a segmentation network,
            which decides between classes and background by itself.
        score: from which a class counts as shown, in 0..1 (:func:`smaf.ops.peak_scores`).
        crf_background: threshold where dense CRF refines the maps; None: the same.

    What a file says is checked by :mod:`smaf.core.network_facts`.
    """

    views: Views
    background: float | None
    score: float
    crf_background: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The flat form that files hold; :func:`smaf.core.network_facts.parse_predict` reads it.

        Example:
            >>> list(PredictSettings(Views((1.0,)), 0.3, 0.5).to_dict())[:3]
            ['scales', 'flip', 'long_side']
        """
        return {
            "scales": self.views.scales,
            "flip": self.views.flip,
            "long_side": self.views.long_side,
            "background": self.background,
            "score": self.score,
            "label_filter": self.views.label_filter,
            "crf_background": self.crf_background,
        }
