"""How `smaf predict` uses a network; travels with its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smaf.core.views import Views

PEAK = 0.01  # share of a map's pixels whose mean is the class's score


@dataclass(frozen=True)
class PredictSettings:
    """These settings decide how a network's maps become a mask.

    Their values are chosen on a list of photographs that the model card names.

    Args:
        views: which views are fused.
        background: threshold of the maps of the classes shown, each divided by its maximum, in
            0..1; None: a segmentation network's most probable of these classes and background.
        score: from which a class counts as shown, in 0..1 (:func:`smaf.ops.peak_scores`).
        crf_background: threshold where dense CRF refines the maps; None: the same.
        score_share: of how many of a map's strongest pixels the score is the mean, as a share of
            all, in 0..1; a small one is the peak, a large one nearer to an image-level score.
        min_share: a class whose part of the mask is a smaller share of the photograph, in 0..1,
            does not count as shown. Neither holds where the labels are known.

    What a file says is checked by :mod:`smaf.core.network_facts`.
    """

    views: Views
    background: float | None
    score: float
    crf_background: float | None = None
    score_share: float = PEAK
    min_share: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The flat form that files hold; :func:`smaf.core.network_facts.parse_predict` reads it.

        Shares are left out where they say nothing, so that older files and records stay the same.

        Example:
            >>> list(PredictSettings(Views((1.0,)), 0.3, 0.5).to_dict())[:3]
            ['scales', 'flip', 'long_side']
        """
        shares = {"score_share": self.score_share, "min_share": self.min_share}
        given = shares if self.score_share != PEAK or self.min_share else {}
        return {
            "scales": self.views.scales,
            "flip": self.views.flip,
            "long_side": self.views.long_side,
            "background": self.background,
            "score": self.score,
            "label_filter": self.views.label_filter,
            "crf_background": self.crf_background,
            **given,
        }
