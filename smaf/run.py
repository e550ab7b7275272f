"""From photographs and their labels to masks and a segmentation network: all stages, one folder.

First all stages are rehearsed on four photographs, which tells how long the run takes and how much
disk it needs. Trainings take the recipe's number of steps, on more than 1,700 photographs in
proportion. Where the training list has true masks, the background threshold is chosen on at most
300 of them, else it is the recipe's; nothing is trained on them. With --corrected, masks that
people corrected teach, too, and stand in masks/ as they are. A run that was stopped goes on when
the same command is given again; where corrections changed, it makes again what depends on them.
--out holds masks/ (of all photographs, in their folders), segmenter.pth and segmenter.onnx for smaf
predict, report.html, run.json, and what the stages write.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smaf.core.command import make_parser, run_command
from smaf.core.options import Options, add_options, option, plan_from
from smaf.data.layout import DataOptions
from smaf.engine.outputs import Output
from smaf.engine.pipeline import RunPlan, run_all


@dataclass(frozen=True)
class RunOptions(Options):
    """Where a run writes, and what it does with what is there."""

    GROUP: ClassVar[str] = "output"

    out: str = option(
        "run", "folder of the run, which goes on where it stopped; ends with masks/ and a network"
    )
    overwrite: bool = option(
        False,
        "start afresh (to go on, leave it out); saliency maps belong to the data set and stay",
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of all options."""
    parser = make_parser("run", __doc__ or "")
    parser.add_argument(
        "data_root", metavar="DATA", help="data set folder, as smaf init or smaf prepare makes it"
    )
    for options in (RunPlan(), RunOptions()):
        add_options(parser, options)
    add_options(parser, DataOptions(), without=("data_root",))
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    args = build_parser().parse_args(argv)
    options, plan = plan_from(RunOptions(), args), plan_from(RunPlan(), args)
    data = plan_from(DataOptions(), args).open()
    run_all(data, plan, Output(Path(options.out), options.overwrite))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
