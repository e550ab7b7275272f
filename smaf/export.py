"""Export a run's masks to an annotation tool, to be looked at and corrected there.

RUN is a folder of `smaf run`, of stage 3's masks, or of `smaf predict`. What the tool makes of the
masks comes back with `smaf import`. Photographs that EXIF turns are written upright.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smaf.core.command import make_parser, run_command
from smaf.core.options import add_options, plan_from
from smaf.data.formats import FORMATS
from smaf.engine.exporting.exporting import ExportPlan, export_masks


def build_parser() -> argparse.ArgumentParser:
    """The parser of all options."""
    parser = make_parser("export", __doc__ or "")
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a run or of predictions")
    about = "; ".join(f"{one.name}: {one.about}" for one in FORMATS.values())
    parser.add_argument("--to", required=True, choices=list(FORMATS), help=about)
    parser.add_argument("--out", type=Path, help="a new folder; default: RUN/export_FORMAT")
    add_options(parser, ExportPlan())
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    args = build_parser().parse_args(argv)
    out = args.out or args.run / f"export_{args.to}"
    print(export_masks(args.run, args.to, out, plan=plan_from(ExportPlan(), args)))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
