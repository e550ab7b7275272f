"""Stage 2: self-train the classifier on its fused maps, denoised and reactivated."""

from __future__ import annotations

from collections.abc import Sequence

from smaf.core.command import run_command
from smaf.engine.stages.train_fusion import FusionTrainingPlan, train_fusion
from smaf.options import StageCommand

COMMAND = StageCommand(
    FusionTrainingPlan(),
    __doc__ or "",
    out=lambda places, _: places.student.parent,
    also=("resume",),
)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    train_fusion(job.data.open(), job.plan, job.output)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
