"""The last step of a run: its page, and the estimates of its masks' quality."""

from __future__ import annotations

from typing import Any

from smaf.core.errors import InputError, printable
from smaf.core.record import RunRecord
from smaf.engine.outputs import corrected_digest
from smaf.engine.pipeline import thresholds
from smaf.engine.pipeline.record import facts_of
from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import OwnStep, made
from smaf.report.page import MOST

NAME, QUALITY = "report.html", "quality.csv"
_SECONDS = 0.08  # a photograph


def step(run: Scope) -> OwnStep:
    """The step that writes the page."""
    files = (run.at.logdir / NAME, run.at.logdir / QUALITY)
    count = min(MOST, len(run.lists.photographs))
    title = "the report, with {} photographs"
    return OwnStep("report", title, write, basis, files, count=count, seconds=_SECONDS * count)


def basis(run: Scope) -> Any:
    """What the page shows."""
    folders = (run.at.student_maps, run.at.maps, run.at.masks, run.at.network_masks)
    scores = run.notes.result("scores")
    shown = [[made(folder) for folder in folders], list(run.lists.photographs), scores]
    corrected = run.lists.corrected
    return [*shown, corrected_digest(run.data, corrected)] if corrected else shown


def write(run: Scope) -> dict[str, Any]:
    """Write `report.html` and `quality.csv`; see :func:`smaf.engine.reporting.report.report`."""
    # here: what reads runs needs this package
    from smaf.engine.reporting.report import report
    from smaf.engine.reporting.runs import ReportedRun

    entry = RunRecord(run.at.logdir, {}).previous()
    if entry is None:
        raise InputError(f"{run.at.logdir} has lost its record: run the same command again")
    cut = thresholds.used(run)
    name = printable(run.at.logdir.absolute().name)
    threshold = float(cut["threshold"]), str(cut["from"])
    reported = ReportedRun(name, run.data, run.at, {**entry, **facts_of(run)}, threshold)
    workers = run.plan.compute.num_workers
    given = report([reported], run.at.logdir / NAME, most=MOST, num_workers=workers)
    known = {} if given.rank != given.rank else {"rank": round(given.rank, 4)}
    return {"photographs": given.photographs, **known}
