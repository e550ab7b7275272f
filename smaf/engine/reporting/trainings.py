"""The curves of a run's trainings, from what they wrote for TensorBoard."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from smaf.engine.reporting.runs import ReportedRun

log = logging.getLogger("smaf")
Points = tuple[list[int], list[float]]  # steps and values
_MOST = 2_000  # points of a curve


def trainings_of(run: ReportedRun) -> dict[str, Mapping[str, Points]]:
    """Name of a training → its curves; trainings without records are left out."""
    kind = "EPS classifier" if run.saliency else "plain-CAM classifier"
    places = {
        kind: run.at.eps.parent,
        "self-training": run.at.student.parent,
        "segmentation network": run.at.segmenter.parent,
    }
    found = {name: read_curves(folder / "tensorboard") for name, folder in places.items()}
    return {name: curves for name, curves in found.items() if curves}


def read_curves(folder: Path) -> dict[str, Points]:
    """Name of a value, as `train/loss` → its steps and values, of TensorBoard's event files.

    Of a training that went on after a stop the later files win. Nothing where there are none, or
    where they are damaged.
    """
    if not any(folder.glob("events.*")):
        return {}
    from tensorboard.backend.event_processing.event_accumulator import (  # takes a second
        EventAccumulator,
    )

    # it would tell of a restart of TensorFlow where a training went on after a stop
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    events = EventAccumulator(str(folder), size_guidance={"scalars": _MOST})
    try:
        events.Reload()
        series = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    except Exception as error:  # its readers raise a dozen kinds
        log.warning("warning: %s has no readable curves (%s)", folder, error)
        return {}
    return {
        tag: ([int(point.step) for point in points], [float(point.value) for point in points])
        for tag, points in series.items()
    }
