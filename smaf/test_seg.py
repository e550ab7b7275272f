"""Stage 4: segment a list with a trained network, refine by dense CRF where asked, and evaluate."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from smaf import options
from smaf.core.command import make_parser, run_command
from smaf.core.errors import InputError
from smaf.core.views import Views
from smaf.engine.evaluation import evaluate_masks, write_evaluation
from smaf.engine.predicting import open_network
from smaf.engine.seg_testing import save_for_server, segment_list

log = logging.getLogger("smaf")


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = make_parser("test_seg", __doc__ or "")
    options.add_data_options(parser, list_name="val")
    parser.add_argument(
        "--weights",
        default=str(options.LOGDIR / "segmenter" / "segmenter.pth"),
        help="stage 4's network, deeplab-pytorch's, shipped weights by name, .onnx or .pt2",
    )
    parser.add_argument(
        "--crf", action="store_true", help="dense CRF on the softmax (needs pydensecrf2)"
    )
    parser.add_argument("--flip", action="store_true", help="also use mirror images")
    parser.add_argument(
        "--label_filter",
        default="none",
        choices=("none", "logits"),
        help="logits: tell only the classes of the image-level labels apart, for photographs whose "
        "labels are known",
    )
    parser.add_argument(
        "--score",
        type=float,
        default=0.0,
        help="from which a class counts as shown, 0 to 1: the mean of its strongest hundredth; the "
        "others' pixels go to these. Not with --label_filter logits",
    )
    parser.add_argument(
        "--save_for_server",
        action="store_true",
        help="also pack results.tgz for PASCAL VOC's evaluation server (--list test)",
    )
    group = parser.add_argument_group("views")
    group.add_argument(
        "--scales", type=float, nargs="+", default=[1.0], help="factors of the photograph's size"
    )
    group.add_argument(
        "--long_side",
        type=int,
        help="longer side in pixels at scale 1; default: the photograph's own",
    )
    group.add_argument(
        "--max_view_pixels", type=int, default=options.MAX_VIEW_PIXELS, help="size cap of a view"
    )
    options.add_run_options(parser, out=str(options.LOGDIR / "segmented"))
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = options.checked(build_parser().parse_args(argv))
    if args.score and args.label_filter != "none":
        raise InputError("--score and --label_filter logits: labels that are known need no score")
    data = options.data_from(args)
    ids, out = data.ids(args.list), Path(args.out)
    network = open_network(args.weights, args.device, args.precision)
    views = Views(
        scales=tuple(args.scales),
        flip=args.flip,
        long_side=args.long_side,
        max_pixels=args.max_view_pixels,
        label_filter="logits",
    )
    facts = options.facts_from(args, data, labels=args.label_filter != "none")
    del facts["save_for_server"]
    segment_list(
        network,
        data,
        list_name=args.list,
        views=views,
        crf=args.crf,
        out=out,
        facts=facts,
        num_workers=args.num_workers,
        overwrite=args.overwrite,
        use_labels=args.label_filter != "none",
        score=args.score,
    )
    if args.save_for_server:
        log.info("wrote %s", save_for_server(data, ids, masks=out, out=out))
    missing = data.missing("mask", ids)
    if missing:
        log.info(
            "list %s has no true mask for %s%s: no evaluation",
            args.list,
            missing[0],
            f" and {len(missing) - 1} more" if len(missing) > 1 else "",
        )
        return
    result = evaluate_masks(data, list_name=args.list, pred_dir=out)
    write_evaluation(out / f"evaluation_{Path(args.list).stem}.json", result)
    print(result.table())


if __name__ == "__main__":
    raise SystemExit(run_command(main))
