"""Stage 3: write pseudo masks, refined by dense CRF where asked."""

from __future__ import annotations

from collections.abc import Sequence

from smaf.core.command import run_command
from smaf.engine import distributed
from smaf.engine.stages.evaluate import EvaluationPlan, evaluate
from smaf.engine.stages.gen_pm import MaskPlan, gen_pm
from smaf.options import StageCommand

COMMAND = StageCommand(
    MaskPlan(), __doc__ or "", out=lambda places, _: places.masks, also=("evaluate",)
)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    data = job.data.open()
    with distributed.process_group(job.plan.compute.choose_device()):
        masks = gen_pm(data, job.plan, job.output)
        if not job.options.evaluate:
            return
        scores = evaluate(data, EvaluationPlan(job.plan.list_name, pred_dir=masks))
    if distributed.rank() == 0:
        print(scores)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
