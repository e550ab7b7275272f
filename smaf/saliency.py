"""Before stage 0: write saliency maps of a list, with the network that ships or with another."""

from __future__ import annotations

from collections.abc import Sequence

from smaf.core.command import run_command
from smaf.engine.stages.saliency import SaliencyPlan, saliency
from smaf.options import StageCommand

COMMAND = StageCommand(SaliencyPlan(), __doc__ or "", out=lambda places, _: places.saliency)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    saliency(job.data.open(), job.plan, job.output)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
