"""From photographs and their labels to masks and a segmentation network: all stages, one folder."""

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
    overwrite: bool = option(False, "start afresh; saliency maps belong to the data set and stay")


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
