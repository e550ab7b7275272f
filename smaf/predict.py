"""Masks of any photographs, with the weights that ship or with your own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from smaf.core.class_maps import BACKGROUND
from smaf.core.command import make_parser, run_command
from smaf.core.errors import InputError
from smaf.core.options import (
    FRACTION,
    NOT_NEGATIVE,
    OPEN_FRACTION,
    POSITIVE,
    Options,
    Range,
    add_options,
    option,
    plan_from,
)
from smaf.core.predict_settings import PEAK, PredictSettings
from smaf.engine.predicting import open_network, shipped_weights
from smaf.engine.predicting.photo_labels import Labels
from smaf.engine.predicting.photographs import find_photographs
from smaf.engine.predicting.predict import predict
from smaf.engine.predicting.predictor import Predictor, default_settings, with_overrides
from smaf.engine.predicting.result_files import Pictures
from smaf.engine.predicting.saliency_network import SHIPPED, SaliencyWeight, open_saliency
from smaf.ops.refine import CRF_SIDE

CLASSIFIER, SEGMENTER = "animals_lite0", "animals_lite0_seg"  # that ship: with labels, without
MAX_SCALE, MAX_SIDE = 16, 65_536
MIN_CRF_SIDE, MAX_CRF_SIDE = 32, 1_400  # CRF takes up to 1 GB at 2 million pixels


@dataclass(frozen=True)
class PredictOptions(Options):
    """How photographs are predicted, and where the masks go."""

    GROUP: ClassVar[str] = "prediction"

    out: str = option(
        "predictions",
        "folder for <stem>.png, <stem>_overlay.jpg and predictions.json; what is done there is not "
        "done again",
    )
    overwrite: bool = option(False, "remove what earlier runs made in --out, start afresh")
    legend: bool = option(True, "class names and colours below the overlays")
    cams: bool = option(
        False,
        "also write each class's map, after CRF if there is one, over the photograph, "
        "<stem>_cam_<class>.jpg",
    )
    report: bool = option(False, "also write report.html, a page of all photographs in --out")
    labels: str | None = option(
        None,
        "classes that the photographs show: cat,person or a CSV file with the columns image and "
        "labels; without it, those whose score reaches --score",
    )
    crf: bool = option(True, "bring masks to the photograph's edges with dense CRF")
    crf_side: int = option(
        CRF_SIDE,
        "longer side at which CRF works, its kernels in proportion; a larger one is slower, and "
        "only fine parts of large photographs gain",
        within=Range(lambda side: MIN_CRF_SIDE <= side <= MAX_CRF_SIDE, "32 to 1400 pixels"),
    )
    saliency_weight: float = option(
        0.0,
        "before CRF: power of the odds of salient pixels, by the saliency network that ships, that "
        "multiply the classes'; smaf run's is 0.6, 0: without",
        within=NOT_NEGATIVE,
    )
    weights: str | None = option(
        None,
        "shipped weights by name, or a file (.pth, .onnx, .pt2); default: "
        f"{SEGMENTER}, a segmentation network, but with --labels or --threshold {CLASSIFIER}, "
        "whose fused maps are pseudo masks",
    )
    threshold: float | None = option(
        None,
        "background threshold of the classes' maps, each divided by its maximum; default: the "
        f"weights' own, else {BACKGROUND} for a classifier; a segmentation network without one "
        "takes the most probable of classes and background",
        kind=float,
        within=OPEN_FRACTION,
    )
    score: float | None = option(
        None,
        "score of a class that counts; default: the weights' own, else 0.5",
        kind=float,
        within=OPEN_FRACTION,
    )
    score_share: float | None = option(
        None,
        "share of a map's pixels whose strongest values make the score: 0 the peak alone, 1 the "
        f"mean of all; default: the weights' own, else {PEAK}",
        kind=float,
        within=FRACTION,
    )
    min_share: float | None = option(
        None,
        "least share of the photograph that a class must have in the mask to count, where --labels "
        "does not say it; default: the weights' own, else 0",
        kind=float,
        within=FRACTION,
    )
    scales: tuple[float, ...] | None = option(
        None,
        "factors of the photograph's size; default: the weights' own, else those of stage 1",
        kind=float,
        many="+",
        within=Range(lambda scale: 0 < scale <= MAX_SCALE, f"more than 0, at most {MAX_SCALE}"),
    )
    long_side: int | None = option(
        None,
        "longer side at scale 1; default: the weights' own, else the photograph's",
        kind=int,
        within=Range(lambda side: 0 < side <= MAX_SIDE, f"more than 0, at most {MAX_SIDE}"),
    )
    device: str = option(
        "auto",
        "where to compute; auto and cpu use ONNX Runtime where the weights are .onnx",
        choices=("auto", "cpu", "cuda", "mps"),
    )
    threads: int | None = option(
        None, "CPU threads of the network; default: as many as cores", kind=int, within=POSITIVE
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.saliency_weight and not self.crf:
            raise InputError("--saliency_weight takes part before CRF: leave --no_crf out")

    @property
    def saliency(self) -> SaliencyWeight | None:
        """The saliency network that ships, where it takes part."""
        if not self.saliency_weight:
            return None
        network = open_saliency(SHIPPED, threads=self.threads)
        return SaliencyWeight(network, self.saliency_weight)

    def settings(self, own: PredictSettings) -> PredictSettings:
        """How the network is used: as the options say, else as its `own` settings do."""
        views = replace(
            own.views,
            scales=self.scales or own.views.scales,
            long_side=self.long_side or own.views.long_side,
        )
        return with_overrides(
            own,
            threshold=self.threshold,
            score=self.score,
            views=views,
            score_share=self.score_share,
            min_share=self.min_share,
        )


def build_parser() -> argparse.ArgumentParser:
    """The parser of all options."""
    parser = make_parser("predict", __doc__ or "")
    parser.add_argument(
        "photographs",
        nargs="+",
        metavar="PHOTO",
        help="an image file, a folder of them with all below it, or a glob; masks mirror the "
        "folders",
    )
    add_options(parser, PredictOptions())
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    args = build_parser().parse_args(argv)
    options = plan_from(PredictOptions(), args)
    photographs = find_photographs(args.photographs)
    decides = options.labels is None and options.threshold is None
    weights = options.weights or (SEGMENTER if decides else CLASSIFIER)
    network = open_network(weights, options.device, threads=options.threads)
    own = network.settings or default_settings(segments=network.segments)
    predict(
        Predictor(network, options.settings(own), options.crf, options.saliency, options.crf_side),
        photographs,
        Labels.read(options.labels, network.class_names),
        out=Path(options.out),
        weights=weights,
        weights_file=shipped_weights().get(weights, Path(weights)),
        overwrite=options.overwrite,
        pictures=Pictures(options.legend, options.cams, options.report),
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
