"""Stage 1: fuse CAMs over scales and flips, and store them for every photograph of a list."""

from __future__ import annotations

from collections.abc import Sequence

from smaf.core.command import run_command
from smaf.engine.stages.gen_fusion import FusionPlan, gen_fusion
from smaf.options import StageCommand

COMMAND = StageCommand(FusionPlan(), __doc__ or "", out=lambda places, _: places.fused)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    gen_fusion(job.data.open(), job.plan, job.output)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
