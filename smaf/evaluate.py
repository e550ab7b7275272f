"""Evaluate pseudo masks, or fused maps at a background threshold, against true masks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from smaf.core.command import make_parser, run_command
from smaf.core.options import Options, add_options, option, plan_from
from smaf.data.layout import DataOptions
from smaf.engine import distributed
from smaf.engine.stages.evaluate import EvaluationPlan, evaluate


@dataclass(frozen=True)
class _Truth(Options):
    """What is compared with, and where the scores go."""

    GROUP: ClassVar[str] = "truth and scores"

    mask_dir: str | None = option(
        None,
        "folder of true masks below --data_root; default: SegmentationClassAug, then "
        "SegmentationClass",
    )
    out: str | None = option(
        None, "JSON file; default: evaluation_<list>.json beside the predictions"
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of all options."""
    parser = make_parser("evaluate", __doc__ or "")
    for options in (DataOptions(), EvaluationPlan(), _Truth()):
        add_options(parser, options)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    args = build_parser().parse_args(argv)
    plan, truth = plan_from(EvaluationPlan(), args), plan_from(_Truth(), args)
    plan.check()
    data = plan_from(DataOptions(), args).open(mask_folder=truth.mask_dir)
    scores = evaluate(data, plan, truth.out)
    if distributed.rank() == 0:
        print(scores)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
