"""Import the masks that somebody corrected in an annotation tool: DATA/CorrectedMasks/<id>.png.

All is read and checked before the first mask is written. Photographs are found by id or name in the
data set's lists, classes by name.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smaf.core.command import make_parser, run_command
from smaf.core.options import add_options, plan_from
from smaf.data.layout import open_data
from smaf.engine.exporting.import_plan import ImportPlan
from smaf.engine.exporting.importing import import_masks


def build_parser() -> argparse.ArgumentParser:
    """The parser of all options."""
    parser = make_parser("import", __doc__ or "")
    parser.add_argument("source", metavar="FILE", type=Path, help="what the tool exported")
    parser.add_argument("--into", required=True, metavar="DATA", help="data set in VOC layout")
    parser.add_argument(
        "--class_names",
        help="file of the data set's class names, instead of metadata/*/labels.txt, else VOC's",
    )
    add_options(parser, ImportPlan())
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    args = build_parser().parse_args(argv)
    data = open_data(args.into, class_names=args.class_names)
    print(import_masks(data, args.source, plan_from(ImportPlan(), args)))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
