"""Stage 4: segment a list with a trained network, refine by dense CRF where asked, and evaluate."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from smaf.core.command import run_command
from smaf.core.options import Role, option
from smaf.engine.stages.evaluate import EvaluationPlan, evaluate
from smaf.engine.stages.test_seg import SegmentPlan, save_for_server, test_seg
from smaf.options import OutputOptions, StageCommand

log = logging.getLogger("smaf")


@dataclass(frozen=True)
class _Plan(SegmentPlan):
    """Plan of the command, which can pack what it made."""

    GROUP: ClassVar[str] = "stage 4"

    save_for_server: bool = option(
        False,
        "also pack results.tgz for PASCAL VOC's evaluation server (--list test)",
        role=Role.RUN,
    )


COMMAND = StageCommand(
    _Plan(),
    __doc__ or "",
    out=lambda places, plan: places.segmented(str(plan.list_name)),
    without=("resume",),
    output=OutputOptions(evaluate=True),
)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    masks, ids = test_seg(job.data, job.plan, job.output), job.data.ids(job.plan.list_name)
    if job.plan.save_for_server:
        log.info("wrote %s", save_for_server(job.data, ids, masks=masks, out=masks))
    missing = job.data.missing("mask", ids)
    if job.output.evaluate and missing:
        log.info(
            "list %s has no true mask for %s%s: no evaluation",
            job.plan.list_name,
            missing[0],
            f" and {len(missing) - 1} more" if len(missing) > 1 else "",
        )
    elif job.output.evaluate:
        print(evaluate(job.data, EvaluationPlan(job.plan.list_name, pred_dir=masks)).result.table())


if __name__ == "__main__":
    raise SystemExit(run_command(main))
