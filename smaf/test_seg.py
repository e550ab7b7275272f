"""Stage 4: segment a list with a trained network, refine by dense CRF where asked, and evaluate."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from smaf.core.command import run_command
from smaf.engine.stages.evaluate import EvaluationPlan, evaluate
from smaf.engine.stages.test_seg import SegmentPlan, save_for_server, test_seg
from smaf.options import OutputOptions, StageCommand

log = logging.getLogger("smaf")
COMMAND = StageCommand(
    SegmentPlan(),
    __doc__ or "",
    out=lambda places, plan: places.segmented(plan.list_name),
    also=("evaluate", "save_for_server"),
    output=OutputOptions(evaluate=True),
)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    data, list_name = job.data.open(), job.plan.list_name
    masks, ids = test_seg(data, job.plan, job.output), data.ids(list_name)
    if job.options.save_for_server:
        log.info("wrote %s", save_for_server(data, ids, masks=masks, out=masks))
    missing = data.missing("mask", ids)
    if job.options.evaluate and missing:
        log.info(
            "list %s has no true mask for %s%s: no evaluation",
            list_name,
            missing[0],
            f" and {len(missing) - 1} more" if len(missing) > 1 else "",
        )
    elif job.options.evaluate:
        print(evaluate(data, EvaluationPlan(list_name, pred_dir=masks)).result.table())


if __name__ == "__main__":
    raise SystemExit(run_command(main))
