"""Stage 0: train the EPS classifier on image labels and saliency maps, or plain CAM."""

from __future__ import annotations

from collections.abc import Sequence

from smaf.core.command import run_command
from smaf.engine.stages.train_eps import EpsPlan, train_eps
from smaf.options import StageCommand

COMMAND = StageCommand(
    EpsPlan(), __doc__ or "", out=lambda places, _: places.eps.parent, also=("resume",)
)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    train_eps(job.data.open(), job.plan, job.output)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
