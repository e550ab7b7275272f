"""Ablation of stage 1: which scales, with or without mirror images; IoU by object size. No
training.

Each view's maps are computed once and fused in every combination. A combination's background
threshold is chosen on one list, its mIoU reported there and on the other, with IoU for small,
medium and large objects.

    python benchmarks/views.py --weights smaf/logdir/animals/seed_1337/eps_cls_mode/classifier.pth
    --data_root DATA \
        --classes metadata/animals.txt --out smaf/logdir/animals/views \
        --choose_weights smaf/logdir/animals/held_out/eps_cls_mode/classifier.pth
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from smaf.core.classes import IGNORE
from smaf.core.command import run_command
from smaf.core.files import write_json, write_text
from smaf.core.views import SCALES, Views
from smaf.data.layout import DataRoot, open_data
from smaf.engine.inference import read_ahead
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.ops import ConfusionMatrix, SizeStrata, cams_to_mask, view_logits

THRESHOLDS = np.round(np.arange(0.1, 0.81, 0.02), 2)
# Without mirror images the paper's four scales; with them every single scale, every pair, all
COMBINATIONS: dict[str, tuple[tuple[float, ...], bool]] = {
    "1.0, no flip": ((1.0,), False),
    "all, no flip": (SCALES, False),
    **{f"{s:g}": ((s,), True) for s in SCALES},
    **{f"{a:g} + {b:g}": ((a, b), True) for i, a in enumerate(SCALES) for b in SCALES[i + 1 :]},
    "0.5 + 1 + 1.5": ((0.5, 1.0, 1.5), True),
    "all": (SCALES, True),
}


def views_of(
    model: TorchNetwork, photo: Image.Image, label: np.ndarray, long_side: int
) -> dict[float, np.ndarray]:
    """Scale → (2, n, H, W): the labelled classes' maps of the photograph and of its mirror image,
    flipped back.

    Labels act on the logits, as in the light recipe.
    """
    shown = np.flatnonzero(label).tolist()
    wanted = Views(long_side=long_side, label_filter="logits")
    views = view_logits(model.cam, photo, mean=model.mean, std=model.std, views=wanted)
    result = {}
    for scale, logits in zip(SCALES, views.logits, strict=True):
        maps = [replace(views, logits=(one,)).maps(shown) for one in (logits[:1], logits[1:])]
        result[scale] = np.stack([maps[0], maps[1][..., ::-1]])
    return result


def fused(
    views: dict[float, np.ndarray], label: np.ndarray, scales: Sequence[float], flip: bool
) -> dict[int, np.ndarray]:
    """The fused maps of a combination, as stage 1 gives them."""
    total = np.sum([views[s].sum(axis=0) if flip else views[s][0] for s in scales], axis=0)
    total = total / (total.max(axis=(1, 2), keepdims=True) + 1e-5)
    return dict(zip(np.flatnonzero(label).tolist(), total, strict=True))


def walk(
    model: TorchNetwork, data: DataRoot, name: str, long_side: int
) -> Iterator[tuple[dict[float, np.ndarray], np.ndarray, np.ndarray]]:
    """(views, label, true mask) of each photograph of a list."""
    ids = data.ids(name)
    for image_id, photo in tqdm(
        zip(ids, read_ahead(ids, data.photo), strict=True), total=len(ids), desc=name
    ):
        label = data.all_labels[image_id]
        yield views_of(model, photo, label, long_side), label, data.mask(image_id)


def choose(model: TorchNetwork, data: DataRoot, name: str, long_side: int) -> dict[str, float]:
    """The background threshold of each combination with the highest mIoU on a list."""
    classes = data.num_classes + 1
    passed = {
        title: np.zeros((len(THRESHOLDS) + 1, classes, classes), dtype=np.int64)
        for title in COMBINATIONS
    }
    for views, label, truth in walk(model, data, name, long_side):
        kept = truth != IGNORE
        for title, (scales, flip) in COMBINATIONS.items():
            cams = fused(views, label, scales, flip)
            winner, best = (
                cams_to_mask(cams, threshold=0.0)[kept],
                np.max(list(cams.values()), axis=0)[kept],
            )
            index = (np.searchsorted(THRESHOLDS, best) * classes + truth[kept]) * classes + winner
            passed[title] += np.bincount(index, minlength=passed[title].size).reshape(
                passed[title].shape
            )
    chosen = {}
    for title, counts in passed.items():
        mious = []
        for k in range(len(THRESHOLDS)):
            matrix = ConfusionMatrix(classes)
            matrix.counts[:] = counts[k + 1 :].sum(axis=0)
            matrix.counts[:, 0] += counts[: k + 1].sum(axis=(0, 2))
            mious.append(matrix.compute()["miou"])
        chosen[title] = float(THRESHOLDS[int(np.argmax(mious))])
    return chosen


def report(
    model: TorchNetwork, data: DataRoot, name: str, long_side: int, thresholds: dict[str, float]
) -> dict[str, dict[str, float]]:
    """mIoU and IoU by size of each combination at its threshold."""
    matrices = {
        title: (ConfusionMatrix(data.num_classes + 1), SizeStrata(data.num_classes + 1))
        for title in COMBINATIONS
    }
    for views, label, truth in walk(model, data, name, long_side):
        for title, (scales, flip) in COMBINATIONS.items():
            mask = cams_to_mask(fused(views, label, scales, flip), threshold=thresholds[title])
            for counter in matrices[title]:
                counter.update(mask, truth)
    return {
        title: {
            "miou": 100 * matrix.compute()["miou"],
            **{size: 100 * entry["iou"] for size, entry in strata.compute().items()},
        }
        for title, (matrix, strata) in matrices.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Write views.json and views.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--weights", "--data_root", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--classes")
    parser.add_argument(
        "--choose_weights",
        help="a classifier that was not trained on --choose_on (the ladder's "
        "held_out); default: --weights",
    )
    parser.add_argument("--long_side", type=int, default=448)
    parser.add_argument("--choose_on", default="train")
    parser.add_argument("--report_on", nargs="+", default=["val"])
    args = parser.parse_args(argv)
    data = open_data(args.data_root, classes=args.classes)
    model = TorchNetwork(Path(args.weights))
    chooser = TorchNetwork(Path(args.choose_weights)) if args.choose_weights else model
    thresholds = choose(chooser, data, args.choose_on, args.long_side)
    results = {
        name: report(model, data, name, args.long_side, thresholds) for name in args.report_on
    }
    columns = [f"{name} {key}" for name in results for key in next(iter(results[name].values()))]
    lines = [
        "| " + " | ".join(["scales", "threshold", *columns]) + " |",
        "| --- " * (len(columns) + 2) + "|",
    ]
    for title, threshold in thresholds.items():
        cells = [f"{value:.1f}" for rows in results.values() for value in rows[title].values()]
        lines.append("| " + " | ".join([title, f"{threshold:.2f}", *cells]) + " |")
    write_json(Path(args.out) / "views.json", {"thresholds": thresholds, "results": results})
    write_text(Path(args.out) / "views.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
