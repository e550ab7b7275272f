"""A rehearsal: all stages of a run on a few photographs, a few steps each, timed."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import shutil
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from smaf.core.errors import InputError
from smaf.engine.pipeline.estimate import Pace
from smaf.engine.pipeline.lists import Lists, spread
from smaf.engine.pipeline.notes import Notes
from smaf.engine.pipeline.places import RunPlaces
from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import StageStep
from smaf.engine.pipeline.steps import method
from smaf.engine.plans import Compute, crf_threads
from smaf.engine.saliency import is_flat

log = logging.getLogger("smaf")
FOLDER = ".rehearsal"
_PHOTOGRAPHS, _STEPS = 4, 3


def rehearse(run: Scope, *, clock: Callable[[], float] = time.perf_counter) -> dict[str, Pace]:
    """Run each stage on four photographs in a folder that is removed afterwards; return its pace.

    A step's time is the median between the ends of two steps, a photograph's that between two
    files: what loads and warms up is left out. One process works, on one photograph at once, so
    that the few tell the cost of one. Raises the :class:`InputError` that the run would have ended
    with, hours later.
    """
    folder = run.at.logdir / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with _quiet():
            small = _small(run, folder)
            return {
                step.key: _measured(step, small, run, clock)
                for step in method(small)
                if isinstance(step, StageStep) and not step.is_done(small)
            }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _small(run: Scope, folder: Path) -> Scope:
    """The run on a few photographs, in its own folder; maps that are missing are made there."""
    few = _few(run)
    at = RunPlaces(folder, run.data.root)
    lists = Lists(few, few, (), few if run.lists.scored else (), few)
    lists.write(at)
    data = run.data
    if run.plan.saliency and data.missing("saliency map", data.shown(run.salient_ids)):
        data = replace(data, saliency_folder=str((folder / "SALImages").absolute()))
    plan = run.plan.changed(num_workers=0)
    return Scope(data, plan, lists, at, Notes(folder / "steps.json"), rehearsed=_STEPS)


def _few(run: Scope) -> tuple[str, ...]:
    """Photographs that show a class, with maps that say something, if they have maps.

    A stage refuses a list of maps that say nothing, which four of a thousand may happen to be.
    """
    some = spread(run.data.shown(run.lists.train), 10 * _PHOTOGRAPHS)
    if run.plan.saliency and not run.data.missing("saliency map", some):
        some = tuple(i for i in some if not is_flat(run.data.saliency_path(i))) or some
    return spread(some, _PHOTOGRAPHS)


def _measured(step: StageStep, small: Scope, run: Scope, clock: Callable[[], float]) -> Pace:
    """The pace of one stage, which is run here."""
    times: list[float] = []

    def note() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(clock())

    started = clock()
    try:
        step.do(small, note)
    except InputError as error:
        raise InputError(f"{step.name(small)}, in a rehearsal: {error}") from error
    whole, units = clock() - started, step.units(small)
    files = [path for path in step.folder.rglob("*") if path.is_file()]
    used = float(sum(path.stat().st_size for path in files))
    if step.trains:
        unit = _between(times, whole / units)
        largest = max(path.stat().st_size for path in files)
        # a checkpoint is written beside the one before it
        return Pace(unit, fixed=used + largest)
    written = [path.stat().st_mtime_ns / 1e9 for path in files if _is_result(path, step)]
    unit = _between(sorted(written), whole / units)
    if step.parallel:
        unit /= _at_once(run.plan.compute)
    return Pace(unit, unit_bytes=used / units)


def _at_once(compute: Compute) -> int:
    """How many photographs the run works on at once where processes or threads share them."""
    if compute.num_workers == 0:
        return crf_threads(compute.threads)
    return min(compute.num_workers, os.cpu_count() or 1)


def _is_result(path: Path, step: StageStep) -> bool:
    return path.parent == step.folder and path.suffix == step.result


def _between(times: list[float], default: float) -> float:
    """The median time between two of `times`; the default where there is but one."""
    pairs = [later - earlier for earlier, later in itertools.pairwise(times)]
    return statistics.median(pairs) if pairs else default


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A block whose bars and messages are of no interest; errors are."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        yield
