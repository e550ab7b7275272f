"""A whole run: every step of the method that is not done yet, with the time that is left."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from smaf.core.errors import InputError
from smaf.core.record import RECORD, checksum
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.engine.outputs import Output, OutputRun, output_run, settings_of
from smaf.engine.pipeline import corrected, report
from smaf.engine.pipeline.estimate import Progress, check_disk, parts_of, time_of
from smaf.engine.pipeline.lists import lists_of
from smaf.engine.pipeline.notes import NOTES, Notes
from smaf.engine.pipeline.places import RunPlaces
from smaf.engine.pipeline.plan import RunPlan
from smaf.engine.pipeline.record import facts_of
from smaf.engine.pipeline.rehearsal import rehearse
from smaf.engine.pipeline.scope import NETWORK_THRESHOLD, THRESHOLD, Scope
from smaf.engine.pipeline.step import OwnStep, StageStep, Step
from smaf.engine.pipeline.steps import method

log = logging.getLogger("smaf")


def run_all(data: DataRoot, plan: RunPlan, output: Output | Path | str) -> RunPlaces:
    """Make masks of every photograph and a segmentation network from image-level labels.

    All in one folder: `masks/`, `segmenter.pth` and `.onnx`, `report.html`, `run.json`, and what
    the stages write. A run that was stopped goes on, one that is done does nothing; `overwrite`
    starts afresh, but for the data set's saliency maps. Raises :class:`InputError` for data that do
    not serve, other settings than the folder's, and a disk that is too small. With `corrected`
    masks it makes again what depends on those that are new, changed or gone.
    """
    if distributed.world() > 1:
        raise InputError(
            "smaf run works in one process: start it without torchrun; the stages' own commands "
            "take many"
        )
    output = Output.of(output)
    lists = lists_of(data, plan)
    settings = settings_of(data, plan)
    at = RunPlaces(output.folder, data.root)
    with output_run(output, settings, results=(), images=len(lists.photographs)) as run:
        if output.overwrite:
            _clear(at)
        lists.write(at)
        scope = Scope(data, plan, lists, at, Notes(output.folder / NOTES))
        scope.check()
        corrected.check(scope)
        steps = method(scope)
        corrected.renew(scope, steps)
        _do_all(scope, steps, run)
    return at


def _clear(at: RunPlaces) -> None:
    """Remove what an earlier run made: folders that have a stage's record, and its own files."""
    for folder in at.stage_folders:
        if (folder / RECORD).is_file():
            shutil.rmtree(folder)
    notes = at.logdir / NOTES
    if not notes.is_file():
        return
    for name in Notes(notes).result("masks").get("files", ()):
        (at.mirrored / name).unlink(missing_ok=True)
    keys = (THRESHOLD, NETWORK_THRESHOLD)
    sweeps = [at.logdir / f"{key}{suffix}" for key in keys for suffix in (".json", ".png")]
    pages = (at.logdir / report.NAME, at.logdir / report.QUALITY)
    own = (at.network, at.network.with_suffix(".onnx"), *pages, *sweeps)
    # the notes last: they say what is to be removed
    for path in (*own, *at.scores.glob("*.json"), notes):
        path.unlink(missing_ok=True)


def _do_all(run: Scope, steps: Sequence[Step], record: OutputRun) -> None:
    """Do the steps that are not done; those before the first of these are not looked at again."""
    first = next((n for n, step in enumerate(steps) if not step.is_done(run)), len(steps))
    if first == len(steps) and record.was_finished:
        log.info("%s: all is done; --overwrite starts afresh", run.at.logdir)
        return
    record.begin()
    if first:
        log.info("%s: %d of %d steps are done", run.at.logdir, first, len(steps))
    if first < len(steps):
        progress = _estimate(run, steps[first:])
        for number, step in enumerate(steps[first:], first + 1):
            if not step.is_done(run):
                place, left = f"[{number} of {len(steps)}]", progress.line()
                log.info("%s %s%s", place, step.name(run), f" · {left}" if left else "")
                _do(run, step, progress)
            progress.passed(step.key)
    record.facts = facts_of(run)
    log.info("wrote %s: %s", run.at.logdir, ", ".join(record.facts["files"]))
    if run.lists.corrected:
        log.info("masks/ has %d corrected masks as they are", len(run.lists.corrected))
    _tell_scores(run)


def _do(run: Scope, step: Step, progress: Progress) -> None:
    """Do a step and note its time, also where it is stopped."""
    started = time.monotonic()
    try:
        step.do(run)
    finally:
        seconds = time.monotonic() - started
        progress.took[step.key] = seconds
        run.notes.took(step.key, seconds)


def _estimate(run: Scope, steps: Sequence[Step]) -> Progress:
    """Say how long these steps take and what disk they need, after a rehearsal where needed."""
    settings = dict(settings_of(run.data, run.plan).values)
    del settings["corrected"]  # costs no time
    of = checksum([settings, run.plan.compute.values()])
    paces = run.notes.paces(of)
    if not paces and run.plan.rehearsal and any(isinstance(step, StageStep) for step in steps):
        started = time.monotonic()
        log.info("rehearsing all stages on a few photographs, to see that they run and how long")
        paces = {key: pace.to_dict() for key, pace in rehearse(run).items()}
        run.notes.keep_paces(of, paces)
        log.info("rehearsed in %s", time_of(time.monotonic() - started))
    if not paces:
        return Progress({})
    parts = parts_of(run, steps, paces)
    for part, step in zip(parts, steps, strict=True):
        if not isinstance(step, OwnStep) or part.seconds >= 1:
            _tell_time(part.name, part.seconds)
    _tell_time("together", sum(part.seconds for part in parts))
    log.info("  disk: %s", check_disk(parts))
    return Progress({part.key: part.seconds for part in parts})


def _tell_time(what: str, seconds: float) -> None:
    log.info("  %-60s %12s", what, f"about {time_of(seconds)}")


def _tell_scores(run: Scope) -> None:
    for name, scores in run.notes.result("scores").items():
        log.info("mIoU on list %s, %s: %.2f %%", run.plan.val_list, name, 100 * scores["miou"])
