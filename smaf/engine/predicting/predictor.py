"""This module makes a photograph's mask.

The scores decide which classes the photograph shows, the maps decide where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from smaf.core.class_maps import BACKGROUND, ClassMaps
from smaf.core.predict_settings import PredictSettings
from smaf.core.views import ONE_VIEW, PAPER_VIEWS, Views
from smaf.engine.predicting import Network
from smaf.engine.predicting.saliency_network import SaliencyWeight
from smaf.ops import SizedMaps, crf_cams, mask_of_maps, normalise_maps, view_logits
from smaf.ops.quality import scale_agreement
from smaf.ops.refine import CRF_SIDE, crf_photo

_CLASSIFIER = PredictSettings(PAPER_VIEWS, background=BACKGROUND, score=0.5)
_SEGMENTER = PredictSettings(replace(ONE_VIEW, label_filter="logits"), background=None, score=0.5)


def default_settings(*, segments: bool) -> PredictSettings:
    """How a network is used whose file does not say it: `segments` tells segmentation networks."""
    return _SEGMENTER if segments else _CLASSIFIER


def with_overrides(
    own: PredictSettings,
    *,
    threshold: float | None = None,
    score: float | None = None,
    views: Views | None = None,
    score_share: float | None = None,
    min_share: float | None = None,
) -> PredictSettings:
    """The settings `own`, but for what is given; `threshold` holds with and without CRF.

    Raises :class:`ValueError` for a threshold or score that is not between 0 and 1, and for a share
    that is not in 0..1.
    """
    for name, value in (("threshold", threshold), ("score", score)):
        if value is not None and not 0 < value < 1:
            raise ValueError(f"{name} {value}: expected a value between 0 and 1")
    for name, value in (("score_share", score_share), ("min_share", min_share)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} {value}: expected a value from 0 to 1")
    return PredictSettings(
        views=own.views if views is None else views,
        background=own.background if threshold is None else threshold,
        score=own.score if score is None else score,
        crf_background=own.crf_background if threshold is None else threshold,
        score_share=own.score_share if score_share is None else score_share,
        min_share=own.min_share if min_share is None else min_share,
    )


@dataclass(frozen=True)
class Prediction:
    """What a network makes of one photograph.

    Args:
        mask: (H, W) uint8, 0 background, class index + 1.
        scores: `{class index: score in 0..1}` of the classes taken, in the order of the maps.
        sized: the maps that decided the mask.
        fused: whether each is to be divided by its maximum, as fused maps are; else they are
            probabilities.
    """

    mask: np.ndarray
    scores: dict[int, float]
    sized: SizedMaps
    fused: bool

    def below(self, share: float) -> int | None:
        """The class with the smallest part of the mask where it is below `share` of it, or None.

        Of equal ones it is the one with the lower score.
        """
        if share <= 0 or not self.scores:
            return None
        pixels = {c: np.count_nonzero(self.mask == c + 1) for c in self.scores}
        least = min(pixels, key=lambda c: (pixels[c], self.scores[c]))
        return least if pixels[least] < share * self.mask.size else None

    def quality(self) -> float | None:
        """An estimate of the mask's quality, 0..1: :func:`smaf.ops.quality.scale_agreement`.

        Of maps and mask at the maps' own size; None where no class was taken.
        """
        size = self.sized.maps.shape[:0:-1]
        mask = Image.fromarray(self.mask).resize(size, Image.Resampling.NEAREST)
        maps = replace(self, sized=self.sized.at(size)).maps()
        return scale_agreement(maps, np.asarray(mask))

    def maps(self) -> ClassMaps:
        """`{class index: (H, W) float32 in 0..1}` of the classes taken, at the photograph's size.

        Fused maps have a maximum of 1; probabilities leave to background what they lack of 1.
        """
        classes, full = list(self.scores), self.sized.full()
        if self.fused:
            return normalise_maps(full, classes, maxima=self.sized.maxima()) if classes else {}
        return dict(zip(classes, full, strict=True))


@dataclass(frozen=True)
class Predictor:
    """A network and how it is used.

    `crf` refines its maps, at `crf_side` pixels of the photograph's longer side; `saliency` then
    makes salient pixels count for more.
    """

    network: Network
    settings: PredictSettings
    crf: bool = False
    saliency: SaliencyWeight | None = None
    crf_side: int = CRF_SIDE

    def __post_init__(self) -> None:
        if self.saliency is not None and not self.crf:
            raise ValueError("saliency takes part before CRF: ask for crf, too")

    def __call__(self, photo: Image.Image, labels: Sequence[int] | None = None) -> Prediction:
        """Make the mask of an RGB photograph.

        `labels` are the class indices that it shows; None takes those whose score reaches the
        settings' threshold and whose part of the mask is not below the settings' least share.
        With a background threshold, which a classifier always has, maps are scaled to 1 and cut
        there, as in stage 3; without, each pixel takes the most probable of the classes and
        background.
        """
        network, views, settings = self.network, self.settings.views, self.settings
        logits = view_logits(network.cam, photo, mean=network.mean, std=network.std, views=views)
        maps = logits.sized_maps()
        scores = maps.peak_scores(settings.score_share).tolist()

        def decide(classes: Sequence[int]) -> Prediction:
            if views.label_filter == "maps":
                kept = SizedMaps(maps.maps[list(classes)], photo.size)
            else:
                kept = logits.sized_maps(classes)
            return self._decide(photo, kept, {c: scores[c] for c in classes})

        if labels is not None:
            return decide(list(labels))
        found = decide([c for c, score in enumerate(scores) if score >= settings.score])
        # the smallest first: two halves of one animal may each be too small, but not the whole
        while (small := found.below(settings.min_share)) is not None:
            found = decide([c for c in found.scores if c != small])
        return found

    def _decide(self, photo: Image.Image, kept: SizedMaps, scores: dict[int, float]) -> Prediction:
        """Make the mask of the classes that have `scores`, from their maps `kept`."""
        classes = list(scores)
        threshold = self.threshold
        if self.crf and classes:
            kept, threshold = self._refined(photo, kept, classes), None  # probabilities
        fused = threshold is not None
        return Prediction(mask_of_maps(kept, classes, threshold), scores, kept, fused)

    def _refined(self, photo: Image.Image, kept: SizedMaps, classes: Sequence[int]) -> SizedMaps:
        """Return the maps' probabilities after dense CRF, at the size where it works."""
        smaller, kernels = crf_photo(photo, long_side=self.crf_side)
        maps = SizedMaps(kept.maps, smaller.size).full()
        if self.threshold is None:
            cams = dict(zip(classes, maps, strict=True))
        else:
            cams = normalise_maps(maps, classes, maxima=kept.maxima())
        more: dict[str, Any] = {}
        if self.saliency is not None:
            found = self.saliency.map(photo, smaller.size)
            more = {"saliency": found, "saliency_weight": self.saliency.weight}
        refined = crf_cams(smaller, cams, background=self.threshold, settings=kernels, **more)
        return SizedMaps(np.stack(list(refined.values())), photo.size)

    @property
    def threshold(self) -> float | None:
        """The background threshold of maps that are scaled to 1; None: the most probable wins."""
        s = self.settings
        if self.crf and s.crf_background is not None:
            return s.crf_background
        if s.background is None and not self.network.segments:
            return BACKGROUND
        return s.background
