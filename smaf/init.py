"""Make a data set of a folder of photographs and their labels; says what is wrong with them.

The photographs stay where they are: the data set points to them. Labels are a table (columns image
and labels, or a column of 0 and 1 a class), one folder a class, COCO's instances or metadata.jsonl.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smaf.core.command import make_parser, run_command
from smaf.core.errors import InputError
from smaf.core.options import add_options, plan_from
from smaf.data.init.initialising import init_data
from smaf.data.init.plan import InitPlan


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all options."""
    parser = make_parser("init", __doc__ or "")
    parser.add_argument("folder", type=Path, help="photographs, with all folders below")
    parser.add_argument("--out", type=Path, required=True, help="the data set, a new folder")
    parser.add_argument(
        "--labels",
        nargs="+",
        default=None,
        help="a table (.csv, .tsv), metadata.jsonl, COCO's .json (several: they name the lists), "
        "or the word folders for one folder a class; default: what lies in the folder",
    )
    add_options(parser, InitPlan())
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    args = build_parser().parse_args(argv)
    plan = plan_from(InitPlan(), args)
    try:
        summary = init_data(args.folder, args.labels, args.out, plan=plan)
    except InputError as error:
        faults = getattr(error, "faults", None)
        if faults is not None and faults.found:
            print(faults)
        raise
    print(summary.faults)
    print()
    print(summary)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
