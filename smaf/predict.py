"""Masks of any photographs, with the weights that ship or with your own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from smaf.core.command import make_parser, run_command
from smaf.core.device import DEVICES, choose_device
from smaf.core.errors import InputError
from smaf.engine.predict import Labels, Predictor, find_photographs, predict
from smaf.models import (
    Classifier,
    PredictSettings,
    build_classifier,
    load_weights,
    read_info,
    read_predict_settings,
    shipped_weights,
)
from smaf.ops import SCALES

SHIPPED = "animals_lite0"


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = make_parser("predict", __doc__ or "")
    parser.add_argument("photographs", nargs="+", metavar="PHOTO", help="an image file, a folder of them, or a glob")
    parser.add_argument("--out", default="predictions", help="folder for <stem>.png, <stem>_overlay.jpg and "
                                                             "predictions.json")
    parser.add_argument("--labels", help="classes that the photographs show: cat,person or a CSV file with the columns "
                                         "image and labels; without it, those whose score reaches --score")
    parser.add_argument("--crf", action="store_true", help="refine with dense CRF (needs pydensecrf2)")
    parser.add_argument("--weights", default=SHIPPED, help="shipped weights by name, or a classifier file")
    parser.add_argument("--threshold", type=float, help="background threshold; default: the weights' own, else 0.2")
    parser.add_argument("--score", type=float, help="score of a class that counts; default: the weights' own, else 0.5")
    parser.add_argument("--scales", type=float, nargs="+", help="default: the weights' own, else those of stage 1")
    parser.add_argument("--long_side", type=int, help="longer side at scale 1; default: the weights' own, else the "
                                                      "photograph's")
    parser.add_argument("--device", default="auto", choices=DEVICES, help="where to compute")
    return parser


def _settings(args: argparse.Namespace, path: Path) -> PredictSettings:
    settings = read_predict_settings(path) or PredictSettings(SCALES, True, None, 0.2, 0.5)
    given = {"scales": args.scales and tuple(args.scales), "long_side": args.long_side, "background": args.threshold,
             "score": args.score}
    settings = replace(settings, **{key: value for key, value in given.items() if value is not None})
    for name, value in (("threshold", settings.background), ("score", settings.score)):
        if not 0 < value < 1:
            raise InputError(f"--{name} {value}: expected a value between 0 and 1")
    if min(settings.scales) <= 0 or (settings.long_side or 1) <= 0:
        raise InputError("--scales, --long_side: expected more than 0")
    return settings


def _classifier(path: Path) -> tuple[Classifier, tuple[str, ...]]:
    info = read_info(path)
    if info is None or not info.class_names:
        raise InputError(f"weights {path} do not name their classes: expected a classifier of this project (stage 0 or "
                         f"2), or one of the shipped weights ({', '.join(shipped_weights())})")
    model = build_classifier(info.backbone, num_classes=info.num_classes, head=info.head,
                             output_stride=info.output_stride)
    load_weights(model, path)
    return model, info.class_names


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = build_parser().parse_args(argv)
    path = shipped_weights().get(args.weights, Path(args.weights))
    device = choose_device(args.device)
    photographs = find_photographs(args.photographs)
    settings = _settings(args, path)
    model, names = _classifier(path)
    predictor = Predictor(model.to(device).to(memory_format=torch.channels_last), names, settings, args.crf)
    predict(predictor, photographs, Labels.read(args.labels, names), out=Path(args.out), weights=args.weights)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
