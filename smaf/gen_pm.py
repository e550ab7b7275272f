"""Stage 3: write pseudo masks, refined by dense CRF where asked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smaf import options
from smaf.core.command import make_parser, run_command
from smaf.core.device import choose_device
from smaf.engine.distributed import process_group
from smaf.engine.pseudo_masks import CRF_KINDS, UNCERTAIN, gen_pm


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = make_parser("gen_pm", __doc__ or "")
    options.add_data_options(parser, list_name="train")
    parser.add_argument(
        "--weights",
        default=str(options.LOGDIR / "proda_model" / "classifier.pth"),
        help="stage 2's student, or another classifier",
    )
    options.add_head_option(parser)
    parser.add_argument("--cam_dir", help="use these fused maps instead of --weights")
    parser.add_argument("--threshold", type=float, default=0.2, help="background threshold")
    parser.add_argument(
        "--crf",
        nargs="?",
        const="masks",
        default="none",
        choices=CRF_KINDS,
        help=(
            "refine with dense CRF (needs pydensecrf2): on the masks, as published (--crf alone), "
            "or on the fused maps, with EPS's values"
        ),
    )
    parser.add_argument(
        "--uncertain",
        default="none",
        choices=UNCERTAIN,
        help="mark pixels 255, which stage 4 ignores: where the masks at the thresholds of --band "
        "disagree, or where CRF disagrees with the mask before it",
    )
    parser.add_argument(
        "--band",
        type=float,
        nargs=2,
        default=[0.15, 0.35],
        metavar=("LOW", "HIGH"),
        help="background thresholds of --uncertain thresholds",
    )
    options.add_view_options(parser)
    options.add_run_options(parser, out=f"{options.DATA_ROOT}/pseudo_mask/fused")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = options.checked(build_parser().parse_args(argv))
    device = choose_device(args.device)
    data = options.data_from(args)
    if args.cam_dir:
        args.weights = None
    source = (
        Path(args.cam_dir)
        if args.cam_dir
        else options.trained_classifier(args.weights, data, head=args.head)
    )
    with process_group(device):
        gen_pm(
            source,
            data,
            list_name=args.list,
            views=options.views_from(args),
            precision=args.precision,
            threshold=args.threshold,
            crf=args.crf,
            out=Path(args.out),
            facts=options.facts_from(args, data),
            device=device,
            num_workers=args.num_workers,
            overwrite=args.overwrite,
            uncertain=args.uncertain,
            band=tuple(args.band),
        )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
