"""Masks of any photographs, with the weights that ship or with your own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smaf.core.command import make_parser, run_command
from smaf.core.errors import InputError
from smaf.core.predict_settings import PredictSettings
from smaf.engine.predicting import open_network, shipped_weights
from smaf.engine.predicting.photo_labels import Labels
from smaf.engine.predicting.photographs import find_photographs
from smaf.engine.predicting.predict import predict
from smaf.engine.predicting.predictor import Predictor, default_settings, with_overrides

CLASSIFIER, SEGMENTER = "animals_lite0", "animals_lite0_seg"  # that ship: with labels, without
MAX_SCALE, MAX_SIDE = 16, 65_536


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = make_parser("predict", __doc__ or "")
    parser.add_argument(
        "photographs",
        nargs="+",
        metavar="PHOTO",
        help=(
            "an image file, a folder of them with all below it, or a glob; masks mirror the folders"
        ),
    )
    _add_output_options(parser)
    parser.add_argument(
        "--labels",
        help="classes that the photographs show: cat,person or a CSV file with the columns "
        "image and labels; without it, those whose score reaches --score",
    )
    parser.add_argument(
        "--crf", action="store_true", help="refine with dense CRF (needs pydensecrf2)"
    )
    parser.add_argument(
        "--weights",
        help="shipped weights by name, or a file (.pth, .onnx, .pt2); default: "
        f"{SEGMENTER}, a segmentation network, but with --labels or --threshold "
        f"{CLASSIFIER}, whose fused maps are pseudo masks",
    )
    _add_setting_options(parser)
    parser.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda", "mps"),
        help="where to compute; auto and cpu use ONNX Runtime where the weights are .onnx",
    )
    return parser


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        default="predictions",
        help="folder for <stem>.png, <stem>_overlay.jpg and "
        "predictions.json; what is done there is not done again",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="remove what earlier runs made in --out, start afresh",
    )
    parser.add_argument(
        "--no_legend", action="store_true", help="no class names and colours below the overlays"
    )


def _add_setting_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold",
        type=float,
        help="background threshold of a classifier's maps; default: the weights' own, else 0.2",
    )
    parser.add_argument(
        "--score",
        type=float,
        help="score of a class that counts; default: the weights' own, else 0.5",
    )
    parser.add_argument(
        "--scales", type=float, nargs="+", help="default: the weights' own, else those of stage 1"
    )
    parser.add_argument(
        "--long_side",
        type=int,
        help="longer side at scale 1; default: the weights' own, else the photograph's",
    )


def _check_ranges(args: argparse.Namespace) -> None:
    """Raise :class:`InputError` for an option that is out of its range, before anything loads."""
    for name in ("threshold", "score"):
        value = getattr(args, name)
        if value is not None and not 0 < value < 1:
            raise InputError(f"--{name} {value}: expected a value between 0 and 1")
    long_side = 1 if args.long_side is None else args.long_side
    if not all(0 < scale <= MAX_SCALE for scale in args.scales or ()) or not (
        0 < long_side <= MAX_SIDE
    ):
        raise InputError(
            f"--scales, --long_side: expected more than 0, at most {MAX_SCALE} and {MAX_SIDE}"
        )


def _settings(args: argparse.Namespace, own: PredictSettings) -> PredictSettings:
    """How the network is used: as the options say, else as the weights' `own` settings do."""
    given = {"scales": args.scales, "long_side": args.long_side}
    views = replace(own.views, **{key: value for key, value in given.items() if value})
    return with_overrides(own, threshold=args.threshold, score=args.score, views=views)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, open the network, predict the photographs."""
    args = build_parser().parse_args(argv)
    photographs = find_photographs(args.photographs)
    _check_ranges(args)
    weights = args.weights or (
        SEGMENTER if args.labels is None and args.threshold is None else CLASSIFIER
    )
    network = open_network(weights, args.device)
    if network.segments and args.threshold is not None:
        raise InputError(
            f"--threshold {args.threshold}: {weights} is a segmentation network, which decides "
            "between classes and background by itself; leave it out"
        )
    own = network.settings or default_settings(segments=network.segments)
    labels = Labels.read(args.labels, network.class_names)
    predict(
        Predictor(network, _settings(args, own), args.crf),
        photographs,
        labels,
        out=Path(args.out),
        weights=weights,
        weights_file=shipped_weights().get(weights, Path(weights)),
        overwrite=args.overwrite,
        legend=not args.no_legend,
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
