"""Stage 4: train a segmentation network on pseudo masks, DeepLab-V2's recipe."""

from __future__ import annotations

from collections.abc import Sequence

from smaf.core.command import run_command
from smaf.engine.stages.train_seg import SegmentationPlan, train_seg
from smaf.options import StageCommand

COMMAND = StageCommand(
    SegmentationPlan(),
    __doc__ or "",
    out=lambda places, _: places.segmenter.parent,
    also=("resume",),
)
build_parser = COMMAND.parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    job = COMMAND.read(argv)
    train_seg(job.data.open(), job.plan, job.output)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
