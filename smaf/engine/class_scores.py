"""From which score a class counts as shown: chosen on image-level labels alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from smaf.core.predict_settings import PEAK
from smaf.core.views import Views
from smaf.data.layout import DataRoot
from smaf.engine.fused import read_ahead
from smaf.engine.predicting.network import Network
from smaf.ops import mean_maps, peak_scores


def best_score(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """(N, C) scores and labels → the threshold with the highest F1, its precision and recall."""
    results = []
    for threshold in np.round(np.arange(0.02, 1.0, 0.01), 2):
        taken = scores >= threshold
        hits = float((taken & (labels > 0)).sum())
        found, shown = int(taken.sum()), int((labels > 0).sum())
        precision, recall = hits / max(1, found), hits / max(1, shown)
        results.append(
            {
                "score": float(threshold),
                "precision": precision,
                "recall": recall,
                "f1": 2 * precision * recall / max(1e-9, precision + recall),
            }
        )
    return max(results, key=lambda result: result["f1"])


def chosen_score(
    network: Network, data: DataRoot, ids: Sequence[str], views: Views, *, share: float = PEAK
) -> dict[str, float]:
    """The score with the highest F1 over a list's image-level labels; no masks are read.

    `share` of a map's strongest pixels make the score (:func:`smaf.ops.peak_scores`).
    """
    maps = (
        mean_maps(network.cam, photo, mean=network.mean, std=network.std, views=views)
        for photo in tqdm(read_ahead(ids, data.photo), total=len(ids), unit="image")
    )
    scores = np.stack([peak_scores(planes, share) for planes in maps])
    return best_score(scores, data.labels_of(ids))
