"""Stage 4 on a data set with true masks: the light network trained on pseudo masks against true
ones, over seeds.

Uses the students that `benchmarks/ladder.py` trained, in the same `--out`: their masks of
`--train_on` are the targets, and their weights where the network starts. "source" is the student
itself: its maps of `--report_on` cut at stage 3's threshold. Columns: "blind" or image-level labels
"known"; at one scale, or with stage 3's views, where the classes of "blind" (and of the source
always) are those whose score reaches `--score`. Finished stages stay; a stopped run goes on.

    python benchmarks/segmenters.py --data_root DATA --classes metadata/animals.txt --out
    smaf/logdir/animals
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from tqdm import tqdm

from smaf.commands import Commands, classifier_in
from smaf.core.command import run_command
from smaf.core.files import read_json, write_json, write_text
from smaf.core.predict_settings import PredictSettings
from smaf.core.views import Views
from smaf.data.layout import open_data
from smaf.engine.predicting import Network
from smaf.engine.predicting.predictor import Predictor
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.ops import ConfusionMatrix

Options = dict[str, Any]
LONGER: Options = {"lr": 3e-4, "steps": 240}
# Title of the row: options of gen_pm for the targets (None: true masks), options of train_seg
TARGETS: dict[str, tuple[Options | None, Options]] = {
    "pseudo masks": ({}, {}),
    "pseudo masks, uncertain by thresholds": ({"uncertain": "thresholds"}, {}),
    "pseudo masks, uncertain by CRF": ({"uncertain": "crf"}, {}),
    "true masks": (None, {}),
    "pseudo masks, faster and longer": ({}, LONGER),
    "true masks, faster and longer": (None, LONGER),
}

SCALES = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Column:
    """How masks are made: image-level labels known or not, one scale or stage 3's views, CRF."""

    known: bool
    views: bool
    crf: bool

    @property
    def title(self) -> str:
        return f"{'known' if self.known else 'blind'}{', views' * self.views}{' + CRF' * self.crf}"


def columns(crf: bool) -> list[Column]:
    """The table's columns, where asked also with CRF."""
    return [
        Column(known, views, refined)
        for known in (False, True)
        for views in (False, True)
        for refined in ((False, True) if crf else (False,))
    ]


class _Remembered(Network):
    """A network that answers a view of one photograph once."""

    def __init__(self, network: TorchNetwork) -> None:
        self.facts, self.network = network.facts, network
        self.answers: dict[tuple[int, ...], np.ndarray] = {}

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The network's own logits, computed for the first view of a shape alone."""
        if images.shape not in self.answers:
            self.answers[images.shape] = self.network.logits(images)
        return self.answers[images.shape]


class Run:
    """The rows of one seed."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        self.args, self.seed, self.out = args, seed, Path(args.out) / f"seed_{seed}" / "segmenters"
        self.commands = Commands(recipe=args.recipe, data_root=args.data_root, classes=args.classes)
        self.source_out = Path(args.out) / f"seed_{args.source_seed or seed}"
        self.student = classifier_in(self.source_out / "proda_model")
        self.columns = columns(args.crf)

    def pseudo_masks(self, options: Options) -> Path:
        """The student's masks of the list to train on; rows with the same options share them."""
        words = [word for pair in options.items() for word in pair]
        folder = self.source_out / "segmenters" / "_".join(["targets", *words])
        args = self.args
        self.commands.run(
            "gen_pm",
            list=args.train_on,
            weights=self.student,
            threshold=args.crf_threshold,
            out=folder,
            crf="maps",
            **options,
        )
        return folder

    def source(self) -> dict[str, float]:
        """mIoU of the student's masks, without and with labels, in per cent."""
        network, data = (
            TorchNetwork(self.student),
            open_data(self.args.data_root, classes=self.args.classes),
        )
        args = self.args
        matrices = {column: ConfusionMatrix(data.num_classes + 1) for column in self.columns}
        for image_id in tqdm(data.ids(args.report_on), desc="source"):
            photo, truth = data.photo(image_id), data.mask(image_id)
            once, shown = _Remembered(network), np.flatnonzero(data.all_labels[image_id]).tolist()
            for column, matrix in matrices.items():
                scales = SCALES if column.views else (1.0,)
                settings = PredictSettings(
                    Views(scales, column.views, 448, label_filter="logits"),
                    background=args.threshold,
                    score=args.score,
                    crf_background=args.crf_threshold,
                )
                labels = shown if column.known else None
                mask = Predictor(once, settings, column.crf)(photo, labels).mask
                matrix.update(mask, truth)
        return {
            column.title: 100 * float(matrix.compute()["miou"])
            for column, matrix in matrices.items()
        }

    def network(self, title: str) -> dict[str, float]:
        """Train and test a network; mIoU in per cent."""
        name, (options, training) = title.replace(", ", "_").replace(" ", "_"), TARGETS[title]
        out = self.out / f"net_{name}"
        targets: Options = {"true_masks": True}
        if options is not None:
            targets = {"target_dir": self.pseudo_masks(options)}
        self.commands.run(
            "train_seg",
            list=self.args.train_on,
            seed=self.seed,
            network=self.args.network,
            weights=self.student,
            out=out,
            **{**targets, **training},
        )
        return {column.title: self.test(out, column) for column in self.columns}

    def test(self, out: Path, column: Column) -> float:
        """mIoU of a network's masks, in per cent."""
        masks = out / f"masks_{column.title.replace(' + ', '_').replace(', ', '_')}"
        how: Options = {"crf": True} if column.crf else {}
        if column.views:
            how |= {"scales": SCALES, "flip": True}
        if column.known:
            how |= {"label_filter": "logits"}
        elif column.views:
            how |= {"score": self.args.score}
        listed, weights = self.args.report_on, out / "segmenter.pth"
        self.commands.run("test_seg", list=listed, weights=weights, out=masks, **how)
        scores = masks / f"evaluation_{Path(listed).stem}.json"
        return 100 * float(read_json(scores, "evaluation", "run again")["miou"])


def table(seeds: Sequence[dict[str, dict[str, float]]]) -> str:
    """A Markdown table: mean ± standard deviation over the seeds that have the row."""
    titles = list(dict.fromkeys(title for rows in seeds for row in rows.values() for title in row))
    lines = ["| " + " | ".join(["", "seeds", *titles]) + " |", "| --- " * (len(titles) + 2) + "|"]
    for title in dict.fromkeys(title for rows in seeds for title in rows):
        rows, cells = [seed[title] for seed in seeds if title in seed], []
        for column in titles:
            values = [row[column] for row in rows if column in row]
            spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.1f}{spread}" if values else "–")
        lines.append("| " + " | ".join([title, str(len(rows)), *cells]) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run stage 4 and write segmenters.md and segmenters.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_root", required=True)
    parser.add_argument("--classes")
    parser.add_argument("--out", required=True)
    parser.add_argument("--recipe", default="light")
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--train_on", default="train_aug")
    parser.add_argument("--report_on", default="val")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 1338, 1339])
    parser.add_argument(
        "--targets", nargs="+", default=["pseudo masks", "true masks"], choices=list(TARGETS)
    )
    parser.add_argument(
        "--source_seed",
        type=int,
        help="one student's masks and weights for all seeds; default: each seed's own",
    )
    parser.add_argument("--crf", action="store_true", help="also the columns with CRF")
    parser.add_argument(
        "--threshold", type=float, default=0.38, help="background threshold of the student's maps"
    )
    parser.add_argument("--crf_threshold", type=float, default=0.38, help="and with CRF")
    parser.add_argument(
        "--score", type=float, default=0.67, help="from which a class counts as shown, with views"
    )
    args = parser.parse_args(argv)
    results = []
    for seed in args.seeds:
        run = Run(args, seed)
        rows = {title: run.network(title) for title in args.targets}
        rows |= {"source": run.source()} if seed == (args.source_seed or seed) else {}
        results.append(rows)
        write_json(run.out / "segmenters.json", {"seed": seed, "rows": rows})
    write_text(Path(args.out) / "segmenters.md", table(results) + "\n")
    print(table(results))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
