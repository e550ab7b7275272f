"""What a run's `run.json` says beside its settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from smaf.engine.pipeline import thresholds
from smaf.engine.pipeline.scope import Scope


def facts_of(run: Scope) -> dict[str, Any]:
    """The data set in numbers, thresholds and where they come from, times, scores."""
    data, lists = run.data, run.lists
    labels = data.labels_of(lists.train)
    shown = dict(zip(data.classes.names, np.sum(labels > 0, axis=0).tolist(), strict=True))
    network = run.notes.result("network")
    return {
        "data_set": {
            "folder": str(data.root.absolute()),
            "photographs": len(lists.photographs),
            "trained_on": len(lists.train),
            "corrected_masks": len(lists.corrected),
            "corrected_masks_trained_on": len(lists.learned),
            "true_masks_for_thresholds": len(lists.thresholds),
            "true_masks_for_scores": len(lists.scored),
            "classes": shown,
        },
        "thresholds": {
            "background": thresholds.used(run),
            "score": {key: network[key] for key in ("score", "f1", "from") if key in network},
        },
        "files": ["masks/", *network.get("files", []), "report.html", "quality.csv"],
        "seconds_of_steps": run.notes.seconds,
        "scores": run.notes.result("scores"),
    }
