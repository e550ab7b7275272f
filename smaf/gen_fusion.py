"""Stage 1: fuse CAMs over scales and flips, and store them for every photograph of a list."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smaf import options
from smaf.core.command import make_parser, run_command
from smaf.core.device import choose_device
from smaf.engine.distributed import process_group
from smaf.engine.inference import CAM_FORMATS, gen_fusion


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = make_parser("gen_fusion", __doc__ or "")
    options.add_data_options(parser, list_name="train_aug")
    parser.add_argument(
        "--weights",
        default=str(options.LOGDIR / "eps_cls_mode" / "classifier.pth"),
        help="stage 0's classifier, or EPS's or SMAF's published checkpoint",
    )
    options.add_head_option(parser)
    parser.add_argument(
        "--cam_format",
        default="npz",
        choices=CAM_FORMATS,
        help="npz: compact, no pickle; npy: the published format, for exchange",
    )
    options.add_view_options(parser)
    options.add_run_options(parser, out=str(options.LOGDIR / "cam_o_vec"))
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = options.checked(build_parser().parse_args(argv))
    device = choose_device(args.device)
    data = options.data_from(args)
    model = options.trained_classifier(args.weights, data, head=args.head)
    with process_group(device):
        gen_fusion(
            model,
            data,
            list_name=args.list,
            views=options.views_from(args),
            precision=args.precision,
            out=Path(args.out),
            facts=options.facts_from(args, data),
            device=device,
            cam_format=args.cam_format,
            overwrite=args.overwrite,
        )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
