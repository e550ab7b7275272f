"""Between stages 1 and 2, beyond the paper: refine fused maps by the photograph's edges (dense CRF)
and saliency."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smaf import options
from smaf.core.command import make_parser, run_command
from smaf.core.errors import InputError
from smaf.engine.refine import refine_fusion


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = make_parser("refine_fusion", __doc__ or "")
    options.add_data_options(parser, list_name="train_aug")
    parser.add_argument(
        "--cam_dir",
        default=str(options.LOGDIR / "cam_o_vec"),
        help="stage 1's fused maps (or .npy)",
    )
    parser.add_argument(
        "--background", type=float, default=0.2, help="constant that a class must exceed"
    )
    parser.add_argument(
        "--saliency_weight",
        type=float,
        default=0.0,
        help="power of the saliency map's odds that multiply the classes'; 0: without saliency",
    )
    parser.add_argument(
        "--long_side",
        type=int,
        help="longer side at which the CRF runs, its kernels shrunk alike; "
        "default: the photograph's own",
    )
    parser.add_argument(
        "--no_crf", action="store_true", help="saliency alone; needs no pydensecrf2"
    )
    parser.add_argument("--num_workers", type=int, default=2, help="processes that run the CRF")
    parser.add_argument(
        "--out",
        default=str(options.LOGDIR / "cam_refined"),
        help="output folder; a run in it goes on",
    )
    parser.add_argument("--overwrite", action="store_true", help="start afresh")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = options.checked(build_parser().parse_args(argv))
    if args.no_crf and not args.saliency_weight:
        raise InputError("--no_crf without --saliency_weight refines nothing: give one of them")
    data = options.data_from(args)
    refine_fusion(
        data,
        list_name=args.list,
        cam_dir=Path(args.cam_dir),
        out=Path(args.out),
        background=args.background,
        saliency_weight=args.saliency_weight,
        long_side=args.long_side,
        crf=not args.no_crf,
        facts=options.facts_from(args, data),
        num_workers=args.num_workers,
        overwrite=args.overwrite,
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
