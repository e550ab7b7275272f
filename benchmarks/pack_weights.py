"""Make the weights that `smaf predict` ships: half precision, `.pth` and `.onnx`.

Thresholds are chosen on one list. A classifier's background threshold is given, or comes from a
sweep (`smaf evaluate --sweep`); a segmentation network may do without. The score from which a class
counts as shown is the one with the highest F1 over the list's image-level labels, no masks needed;
`--choose_weights` names a network that was not trained on the list, to choose it with. `--mix FILE
SHARE` averages the weights with those of a network that they were trained on from (WiSE-FT).

    python benchmarks/pack_weights.py --out smaf/weights/animals_lite0.pth \
        --weights smaf/logdir/animals/seed_1337/proda_model/classifier.pth \
        --choose_weights smaf/logdir/animals/held_out/proda_model/classifier.pth \
        --threshold 0.38 --crf_threshold 0.38 --label_filter logits --scales 0.5 1.0 1.5 \
        --long_side 448 --data_root DATA --classes metadata/animals.txt --list train
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from smaf.core.command import run_command
from smaf.core.errors import InputError
from smaf.core.files import read_json
from smaf.core.predict_settings import PEAK
from smaf.core.views import LABEL_FILTERS, SCALES, Views
from smaf.data.layout import open_data
from smaf.engine.class_scores import chosen_score
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.models import PredictSettings, Trainable, write_checkpoint
from smaf.models.export import export_onnx


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--weights", "--data_root", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--choose_weights", help="default: --weights")
    parser.add_argument(
        "--mix", nargs=2, metavar=("FILE", "SHARE"), help="average --weights with so much of FILE"
    )
    parser.add_argument("--sweep", help="background threshold: its sweep …")
    parser.add_argument("--threshold", type=float, help="… or the value")
    parser.add_argument("--classes")
    parser.add_argument("--list", default="train")
    parser.add_argument("--scales", type=float, nargs="+", default=list(SCALES))
    parser.add_argument("--crf_threshold", type=float, help="with CRF; default: the same")
    parser.add_argument("--score", type=float, help="do not choose the score, take this one")
    parser.add_argument("--score_share", type=float, default=PEAK, help="as in smaf predict")
    parser.add_argument("--min_share", type=float, default=0.0, help="as in smaf predict")
    parser.add_argument("--no_flip", action="store_true")
    parser.add_argument("--long_side", type=int)
    parser.add_argument("--label_filter", default="maps", choices=LABEL_FILTERS)
    return parser.parse_args(argv)


def _shapes(network: Trainable) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


@torch.no_grad()
def mix(network: Trainable, other: Trainable, share: float) -> None:
    """Move the weights of `network` by `share`, 0 to 1, towards those of `other`, of one kind.

    Source: WiSE-FT (Wortsman et al., CVPR 2022).
    """
    if not 0 < share < 1:
        raise InputError(f"--mix {share}: expected a share between 0 and 1")
    theirs = other.state_dict()
    if _shapes(other) != _shapes(network):
        raise InputError(
            "--mix: the networks differ: in backbone, classes, or a decoder that one of them has"
        )
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[name].to(value), share)


def main(argv: Sequence[str] | None = None) -> None:
    """Choose the score, write the files, print what was chosen."""
    args = parse(argv)
    data = open_data(args.data_root, classes=args.classes)
    network = TorchNetwork(Path(args.weights))
    if args.mix:
        mix(network.whole, TorchNetwork(Path(args.mix[0])).whole, float(args.mix[1]))
    ids = data.ids(args.list)
    views = Views(
        tuple(args.scales), not args.no_flip, args.long_side, label_filter=args.label_filter
    )
    chosen, background = {"score": args.score}, args.threshold
    if args.score is None:
        chooser = TorchNetwork(Path(args.choose_weights)) if args.choose_weights else network
        chosen = chosen_score(chooser, data, ids, views, share=args.score_share)
    if args.sweep:
        background = read_json(Path(args.sweep), "sweep", "run smaf evaluate --sweep")["threshold"]
    if background is None and not network.segments:
        raise InputError("a classifier needs --sweep or --threshold")
    settings = PredictSettings(
        views,
        background=background,
        score=chosen["score"],
        crf_background=args.crf_threshold,
        score_share=args.score_share,
        min_share=args.min_share,
    )
    out = Path(args.out)
    write_checkpoint(out, network.whole, data.classes.names, predict=settings, half=True)
    export_onnx(
        out.with_suffix(".onnx"),
        network.whole.float(),
        data.classes.names,
        predict=settings,
        half=True,
    )
    print(
        json.dumps(
            {"list": args.list, "images": len(ids), "background": background, **chosen}, indent=2
        )
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
