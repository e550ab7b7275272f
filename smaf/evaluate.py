"""Evaluate pseudo masks, or fused maps at a background threshold, against true masks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smaf import options
from smaf.core.command import make_parser, run_command
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import output_folder
from smaf.engine.evaluation import (
    SWEEP_NOTE,
    evaluate_cams,
    evaluate_masks,
    write_evaluation,
    write_sweep,
)


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = make_parser("evaluate", __doc__ or "")
    options.add_data_options(parser, list_name="train")
    parser.add_argument("--pred_dir", help="masks <id>.png, values 0 background, class index + 1")
    parser.add_argument(
        "--cam_dir", help="fused maps <id>.npz (or published <id>.npy) instead of masks"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.2, help="background threshold of fused maps"
    )
    parser.add_argument(
        "--sweep", action="store_true", help="try the thresholds 0.02, 0.04 … 0.80, draw their mIoU"
    )
    parser.add_argument(
        "--mask_dir",
        help="folder of true masks below --data_root; default: SegmentationClassAug, "
        "then SegmentationClass",
    )
    parser.add_argument(
        "--out", help="JSON file; default: evaluation_<list>.json beside the predictions"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = options.checked(build_parser().parse_args(argv))
    if (args.pred_dir is None) == (args.cam_dir is None):
        raise InputError("expected either --pred_dir (masks) or --cam_dir (fused maps)")
    if args.sweep and args.cam_dir is None:
        raise InputError("--sweep needs fused maps: name their folder with --cam_dir")
    data = options.data_from(args)
    folder = Path(args.cam_dir or args.pred_dir)
    if not folder.is_dir():
        raise MissingInputError(
            f"predictions {folder} do not exist: make them first (gen_pm, gen_fusion), or name "
            "their folder"
        )
    out = Path(args.out) if args.out else folder / f"evaluation_{Path(args.list).stem}.json"
    if out.is_dir():
        raise InputError(f"--out {out} is a folder: name a JSON file in it")
    output_folder(out.parent)
    if args.sweep:
        thresholds = [round(float(t), 2) for t in np.arange(0.02, 0.81, 0.02)]
        sweep = evaluate_cams(data, list_name=args.list, cam_dir=folder, thresholds=thresholds)
        result = write_sweep(out, sweep)
        for entry in sweep:
            print(
                f"threshold {entry.threshold:.2f}  mIoU {100 * entry.matrix.compute()['miou']:.2f} "
                "%"
            )
        print(f"best threshold {result.threshold:g} on list {args.list}: {SWEEP_NOTE}")
    elif args.cam_dir:
        result = evaluate_cams(
            data, list_name=args.list, cam_dir=folder, thresholds=[args.threshold]
        )[0]
        write_evaluation(out, result)
    else:
        result = evaluate_masks(data, list_name=args.list, pred_dir=folder)
        write_evaluation(out, result)
    print(result.table())
    print(f"wrote {out}")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
