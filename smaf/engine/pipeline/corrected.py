"""Corrected masks in a run: where they changed, what was learned from others is made again."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence

from smaf.core.errors import InputError
from smaf.core.record import RECORD
from smaf.engine.corrections import corrections_of
from smaf.engine.outputs import corrected_digest
from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import StageStep, Step

log = logging.getLogger("smaf")
_KEY, _COUNT = "corrected", "trained_on"  # in the run's notes


def check(run: Scope) -> None:
    """Read all corrected masks of the run once, before hours are spent, and tell how many.

    Raises :class:`InputError` for one that does not serve, and where there is none, unless the run
    was made with some that are gone; and where the run was made with corrected masks, but shall now
    go on without.
    """
    taught = run.notes.result(_KEY).get(_COUNT)
    if taught and run.plan.corrected and not run.lists.corrected:
        log.info("none of the %d corrected masks that were trained on is left", taught)
        return
    if taught and not run.plan.corrected:
        raise InputError(
            f"{run.at.logdir} was made with corrected masks: add --corrected, or use --overwrite "
            "to start afresh, or another output folder"
        )
    corrections_of(run.data, run.lists.photographs, wanted=run.plan.corrected)
    if run.plan.corrected and not run.lists.learned:
        log.info("none of these is on list %s: they teach nothing", run.plan.list_name)


def renew(run: Scope, steps: Sequence[Step]) -> None:
    """Drop what was learned from other corrected masks of the training list than there are now.

    Those are the results of the stages from the first one on that takes corrected masks: the
    classifier and the maps before it stay. Masks of other photographs teach nothing.
    """
    before, learned = run.notes.made_of(_KEY), run.lists.learned
    now = corrected_digest(run.data, learned)
    if before is None and not learned:
        return
    if before != now:
        stages = [step for step in steps if isinstance(step, StageStep)]
        taught = next(n for n, s in enumerate(stages) if "corrected" in s.plan().values())
        folders = [s.folder for s in stages[taught:] if (s.folder / RECORD).is_file()]
        if folders:
            log.info(
                "%s: corrected masks changed: all from %s on is made again",
                run.at.logdir,
                stages[taught].key,
            )
        for folder in folders:
            shutil.rmtree(folder)
        run.notes.keep(_KEY, now, {_COUNT: len(learned)})
