"""Which classes a network reports where labels are unknown: on photographs that show them, and on
photographs that show none of them.

`--choose` chooses the settings of `smaf predict` on the list: for each `score_share` the score with
the highest F1 of the labels, then, from there downwards, the score and `min_share` with the highest
F1 of the classes that predictions report. Labels are read, no masks. Choose on photographs that the
network was not trained on, some of them without a class:

    python benchmarks/reported_classes.py --weights smaf/logdir/animals/segmenter/segmenter.pth \
        --data_root DATA --classes metadata/animals.txt --list chosen_on --choose --out chosen.json
    python benchmarks/reported_classes.py --weights animals_lite0_seg \
        --data_root DATA --classes metadata/animals.txt --list val
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from smaf.core.command import run_command
from smaf.core.errors import InputError
from smaf.core.files import write_json
from smaf.core.predict_settings import PredictSettings
from smaf.data.layout import DataRoot, open_data
from smaf.engine.class_scores import best_score
from smaf.engine.fused import read_ahead
from smaf.engine.predicting.network import Network
from smaf.engine.predicting.opening import open_network
from smaf.engine.predicting.predictor import Predictor, default_settings
from smaf.ops import mean_maps, peak_scores

SCORE_SHARES = (0.01, 0.03, 0.1)
MIN_SHARES = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05)
SCORES_BELOW = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)  # from the score of the highest F1 of the labels


class _Remembering(Network):
    """A network that runs once for each of a photograph's views, however often it is asked."""

    def __init__(self, network: Network) -> None:
        self.network, self.facts, self.known = network, network.facts, dict[bytes, np.ndarray]()

    def cam(self, images: np.ndarray) -> np.ndarray:
        key = images.tobytes()
        if key not in self.known:
            self.known[key] = self.network.cam(images)
        return self.known[key]

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.network.logits(images)


def measures(reported: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Counts and rates of reported classes, (N, C) bool, against labels (N, C).

    `none_reported` of `none` photographs without a class have one reported.

    >>> found = measures(np.array([[True, False], [True, True]]), np.array([[1, 0], [0, 0]]))
    >>> found["none"], found["none_reported"], found["precision"], found["recall"]
    (1, 1, 0.3333333333333333, 1.0)
    """
    shown, empty = labels > 0, ~(labels > 0).any(axis=1)
    hits = int((reported & shown).sum())
    precision, recall = hits / max(1, int(reported.sum())), hits / max(1, int(shown.sum()))
    return {
        "images": len(labels),
        "none": int(empty.sum()),
        "none_reported": int(reported[empty].any(axis=1).sum()),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(1e-9, precision + recall),
    }


def reports(
    network: Network, data: DataRoot, ids: Sequence[str], tried: Sequence[PredictSettings]
) -> np.ndarray:
    """(len(tried), N, C) bool: the classes that predictions with these settings report."""
    found = np.zeros((len(tried), len(ids), data.num_classes), dtype=bool)
    for row, photo in enumerate(tqdm(read_ahead(ids, data.photo), total=len(ids), unit="image")):
        remembering = _Remembering(network)
        for index, settings in enumerate(tried):
            for c in Predictor(remembering, settings)(photo).scores:
                found[index, row, c] = True
    return found


def choose(
    network: Network, data: DataRoot, ids: Sequence[str], own: PredictSettings
) -> tuple[PredictSettings, dict[str, Any]]:
    """The settings whose reported classes have the highest F1, and the measures of all tried."""
    labels = data.labels_of(ids)
    share, score = _best_share(network, data, ids, own)
    tried = [
        replace(own, score_share=share, score=round(max(0.02, score - below), 2), min_share=least)
        for below in SCORES_BELOW
        for least in MIN_SHARES
    ]
    rows = [measures(found, labels) for found in reports(network, data, ids, tried)]
    best = max(range(len(tried)), key=lambda index: rows[index]["f1"])
    table = [
        {"score": s.score, "min_share": s.min_share, **row}
        for s, row in zip(tried, rows, strict=True)
    ]
    return tried[best], {"of_labels": {"score_share": share, "score": score}, "tried": table}


def _best_share(
    network: Network, data: DataRoot, ids: Sequence[str], own: PredictSettings
) -> tuple[float, float]:
    """The share of strongest pixels, and the score, with the highest F1 of the labels."""
    scores: dict[float, list[np.ndarray]] = {share: [] for share in SCORE_SHARES}
    for photo in tqdm(read_ahead(ids, data.photo), total=len(ids), unit="image"):
        maps = _maps(network, own)(photo)
        for share in SCORE_SHARES:
            scores[share].append(peak_scores(maps, share))
    labels = data.labels_of(ids)
    best = {share: best_score(np.stack(found), labels) for share, found in scores.items()}
    share = max(best, key=lambda share: best[share]["f1"])
    return share, best[share]["score"]


def _maps(network: Network, own: PredictSettings) -> Callable[[Image.Image], np.ndarray]:
    return lambda photo: mean_maps(
        network.cam, photo, mean=network.mean, std=network.std, views=own.views
    )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", required=True, help="a name of shipped weights, or a file")
    parser.add_argument("--settings_of", help="weights whose views are taken, else the own ones")
    parser.add_argument("--data_root", required=True)
    parser.add_argument("--classes")
    parser.add_argument("--list", default="train")
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--out", help="JSON of what was found")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, or choose and measure; print and write what was found."""
    args = parse(argv)
    data = open_data(args.data_root, classes=args.classes)
    network = open_network(args.weights)
    if network.class_names != tuple(data.classes.names):
        raise InputError(
            f"weights {args.weights} know {', '.join(network.class_names)}, the data set has "
            f"{', '.join(data.classes.names)}: name the network's classes with --classes"
        )
    like = open_network(args.settings_of) if args.settings_of else network
    settings = like.settings or default_settings(segments=network.segments)
    ids, tables = data.ids(args.list), dict[str, Any]()
    if args.choose:
        settings, tables = choose(network, data, ids, settings)
    reported = reports(network, data, ids, [settings])[0]
    labels = data.labels_of(ids)
    each = {
        name: measures(reported[:, [c]], labels[:, [c]])["recall"]
        for c, name in enumerate(data.classes.names)
    }
    found = {"list": args.list, **measures(reported, labels), "recall_of": each}
    print(json.dumps({"settings": settings.to_dict(), **found}, indent=2))
    if args.out:
        write_json(Path(args.out), {"settings": settings.to_dict(), **found, **tables})


if __name__ == "__main__":
    raise SystemExit(run_command(main))
