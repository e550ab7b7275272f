"""Between stages 3 and 4, beyond the paper: mend masks by regions of other photographs."""

from __future__ import annotations

from collections.abc import Sequence

from smaf.core.command import run_command
from smaf.engine.stages.evaluate import EvaluationPlan, evaluate
from smaf.engine.stages.vote_regions import VotePlan, vote_regions
from smaf.options import StageCommand

COMMAND = StageCommand(
    VotePlan(), __doc__ or "", out=lambda places, _: places.voted, also=("evaluate",)
)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    data = job.data.open()
    masks = vote_regions(data, job.plan, job.output)
    if job.options.evaluate:
        print(evaluate(data, EvaluationPlan(job.plan.list_name, pred_dir=masks)))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
