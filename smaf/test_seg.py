"""Stage 4: segment a list with a trained network, refine by dense CRF where asked, and evaluate."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from smaf.core.command import run_command
from smaf.core.errors import InputError
from smaf.engine import distributed
from smaf.engine.stages.evaluate import EvaluationPlan, evaluate
from smaf.engine.stages.test_seg import SegmentPlan, save_for_server, test_seg
from smaf.options import Job, OutputOptions, StageCommand

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
    with distributed.process_group(torch.device("cpu")):
        _segment(job)


def _segment(job: Job[SegmentPlan]) -> None:
    """Make the masks, an archive of them, and their scores, as the options say."""
    if job.options.save_for_server and job.plan.uncertain != "none":
        raise InputError("--save_for_server: VOC's server takes no 255: leave out --uncertain")
    data, list_name, first = job.data.open(), job.plan.list_name, distributed.rank() == 0
    masks, ids = test_seg(data, job.plan, job.output), data.ids(list_name)
    if job.options.save_for_server and first:
        log.info("wrote %s", save_for_server(data, ids, masks=masks, out=masks))
    missing = data.missing("mask", ids) if job.options.evaluate else []
    if missing and first:
        log.info(
            "list %s has no true mask for %s%s: no evaluation",
            list_name,
            missing[0],
            f" and {len(missing) - 1} more" if len(missing) > 1 else "",
        )
    if job.options.evaluate and not missing:
        scores = evaluate(data, EvaluationPlan(list_name, pred_dir=masks))
        if first:
            print(scores.result.table())


if __name__ == "__main__":
    raise SystemExit(run_command(main))
