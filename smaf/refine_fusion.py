"""Between stages 1 and 2, beyond the paper: refine fused maps by edges and saliency."""

from __future__ import annotations

from collections.abc import Sequence

from smaf.core.command import run_command
from smaf.engine.stages.refine_fusion import RefinementPlan, refine_fusion
from smaf.options import StageCommand

COMMAND = StageCommand(RefinementPlan(), __doc__ or "", out=lambda places, _: places.refined)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    refine_fusion(job.data.open(), job.plan, job.output)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
