"""One page of a run that `smaf run` made, or of several side by side.

The page needs no network: scores, classes, confusion, thresholds, trainings, settings, and all
photographs with their maps and masks, the worst first. It also writes quality.csv, an estimate of
each mask's quality, to the first run's folder. Of several runs the gallery shows the first one's
photographs, with the masks of the others.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smaf.core.command import make_parser, run_command
from smaf.core.errors import InputError, printable
from smaf.core.options import NOT_NEGATIVE, POSITIVE, Options, add_options, option, plan_from
from smaf.engine.reporting.report import report
from smaf.engine.reporting.runs import open_runs
from smaf.report.page import MOST, is_replaceable

log = logging.getLogger("smaf")


@dataclass(frozen=True)
class ReportOptions(Options):
    """Where the page goes, and what it shows."""

    GROUP: ClassVar[str] = "report"

    out: str | None = option(None, "the page; default: report.html in the first run's folder")
    data_root: str | None = option(
        None, "the runs' data set; default: where their records say that it is"
    )
    labels: str | None = option(None, "image-level labels, where the data set does not name them")
    photographs: int = option(
        MOST,
        "most of them; where there are more, those with true masks and those of the lowest "
        "quality are shown",
        within=POSITIVE,
    )
    num_workers: int = option(2, "processes that make the pictures", within=NOT_NEGATIVE)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all options."""
    parser = make_parser("report", __doc__ or "")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder that smaf run wrote")
    add_options(parser, ReportOptions())
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    args = build_parser().parse_args(argv)
    options = plan_from(ReportOptions(), args)
    out = None if options.out is None else Path(options.out)
    if out is not None and not is_replaceable(out):
        raise InputError(f"--out {printable(out)} is no page of this project: name a new file")
    runs = open_runs(
        [Path(run) for run in args.runs], data_root=options.data_root, labels=options.labels
    )
    made = report(runs, out, most=options.photographs, num_workers=options.num_workers)
    ranks = "" if made.rank != made.rank else f"; quality ranks them by {made.rank:.2f} (Spearman)"
    log.info("wrote %s: %d photographs%s", made.path, made.photographs, ranks)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
