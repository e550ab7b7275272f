"""Before stage 3, beyond the paper: the mean of the fused maps of several networks."""

from __future__ import annotations

from collections.abc import Sequence

from smaf.core.command import run_command
from smaf.engine.stages.average_maps import AveragePlan, average_maps
from smaf.options import StageCommand

COMMAND = StageCommand(AveragePlan(), __doc__ or "", out=lambda places, _: places.mean_maps)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    average_maps(job.data.open(), job.plan, job.output)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
