"""The ladder on a data set with true masks, one or more seeds: plain CAM, EPS, fused, self-trained,
stage 4's network with known labels, the same in a second round, supervised, + CRF,
+ saliency + CRF.

Thresholds are chosen where nobody trained: one run ("held_out") trains on photographs of
`--train_on` that are not on `--choose_on`, and each rung's background threshold, without and with
CRF, is the one with the highest mIoU of that run on `--choose_on`. Then every seed trains on all of
`--train_on` and is reported on `--report_on`, once. Trains on labels and saliency maps alone, but
for the upper bound "supervised": the same network and recipe as stage 2, from the same start, with
the true masks of the training list as targets. With `--saliency_weight`, smaf run's, the lists to
choose and to report on need saliency maps, too (`smaf saliency`); masks that networks learn are
without. Runs the entry scripts, so finished stages stay and a stopped run goes on.

    python benchmarks/ladder.py --data_root DATA --classes metadata/animals.txt --out
    smaf/logdir/animals
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from smaf.commands import Commands, classifier_in
from smaf.core.class_maps import maps_of_mask
from smaf.core.command import run_command
from smaf.core.files import read_json, write_json, write_text
from smaf.core.fused_maps import write_fused
from smaf.data.layout import DataRoot, open_data
from smaf.engine.outputs import SEGMENTER
from smaf.engine.stages.gen_pm import MaskPlan

ONE_VIEW: dict[str, Any] = {"scales": (1.0,), "flip": False}
# Title: the classifier, where its maps go, the views, and whether CRF is tried
RUNGS: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "plain CAM": ("cls_model", "cam_plain", ONE_VIEW, False),
    "EPS, one scale": ("eps_cls_mode", "cam_eps", ONE_VIEW, True),
    "EPS, fused": ("eps_cls_mode", "cam_fused", {}, True),
    "self-trained": ("proda_model", "cam_self_trained", {}, True),
    "network": ("segmenter", "cam_network", {}, True),
    "network, second round": ("segmenter_2", "cam_network_2", {}, True),
    "supervised": ("supervised", "cam_supervised", {}, True),
}
SCORES = ("miou", "precision", "recall")
CRF, SALIENT = " + CRF", " + saliency + CRF"
MORE = (CRF, SALIENT)
CRF_STEPS = (0.0, -0.04, -0.08, -0.12)  # tried for CRF, from the threshold without it


def write_truth_maps(data: DataRoot, list_name: str, folder: Path) -> None:
    """Write the true masks as maps of 0 and 1, for the upper bound; ignored pixels get even odds of
    the labels."""
    for image_id in data.ids(list_name):
        path = folder / f"{image_id}.npz"
        if path.is_file():
            continue
        mask, label = data.mask(image_id), data.all_labels[image_id]
        write_fused(path, maps_of_mask(mask, np.flatnonzero(label).tolist()), mask.shape)


class Ladder:
    """One run of the ladder in `out/<name>`, trained on `train_on`."""

    def __init__(self, args: argparse.Namespace, name: str, seed: int, train_on: str) -> None:
        self.args, self.seed, self.out, self.train_on = args, seed, Path(args.out) / name, train_on
        shared = {"data_root": args.data_root, "classes": args.classes}
        self.plain = Commands(**shared)
        self.commands = Commands(recipe=args.recipe, **shared)

    @property
    def seconds(self) -> dict[str, float]:
        """What each step took."""
        return {**self.commands.seconds, **self.plain.seconds}

    def train(self) -> None:
        """What the rungs asked for need of stages 0 to 2, the baseline and the upper bound."""
        run, rungs, out = self.commands.run, self.args.rungs, self.out
        training: dict[str, Any] = {"list": self.train_on, "seed": self.seed}
        if "plain CAM" in rungs:
            folder = out / "cls_model"
            run("train_eps", title="train plain CAM", network="cls", out=folder, **training)
        run("train_eps", out=out / "eps_cls_mode", **training)
        if {"self-trained", "network", "network, second round"} & set(rungs):
            self.refined_maps()
            self.self_train("train_fusion", out / "cam_refined", out / "proda_model")
        if {"network", "network, second round"} & set(rungs):
            student = classifier_in(out / "proda_model")
            self.segmenter("self-trained", start=student, out=out / "segmenter")
        if "network, second round" in rungs:
            first = out / "segmenter" / SEGMENTER
            self.segmenter("network", start=first, out=out / "segmenter_2")
        if "supervised" in rungs:
            maps = Path(self.args.out) / "truth_maps"
            data = open_data(self.args.data_root, classes=self.args.classes)
            write_truth_maps(data, self.train_on, maps)
            self.self_train("train supervised", maps, out / "supervised")

    def refined_maps(self) -> None:
        """Stage 1 and the refinement, on the training list."""
        run, fused = self.commands.run, self.out / "cam_o_vec"
        weights = classifier_in(self.out / "eps_cls_mode")
        run("gen_fusion", list=self.train_on, weights=weights, out=fused)
        run("refine_fusion", list=self.train_on, cam_dir=fused, out=self.out / "cam_refined")

    def self_train(self, title: str, maps: Path, out: Path) -> None:
        """Stage 2 on these maps."""
        self.commands.run(
            "train_fusion",
            title=title,
            list=self.train_on,
            seed=self.seed,
            weights=classifier_in(self.out / "eps_cls_mode"),
            cam_dir=maps,
            out=out,
        )

    def segmenter(self, source: str, *, start: Path, out: Path) -> None:
        """Stage 4 from the weights `start`, on masks with CRF of the rung `source`'s maps."""
        masks, taught = Path(f"{out}_masks"), f"{out.name}: "
        self.plain.run(
            "gen_pm",
            title=f"{taught}masks of {self.train_on}",
            list=self.train_on,
            cam_dir=self.maps(source, self.train_on),
            threshold=MaskPlan.of(self.args.recipe).threshold,
            crf="maps",
            out=masks,
        )
        self.commands.run(
            "train_seg",
            title=f"{taught}train_seg",
            list=self.train_on,
            seed=self.seed,
            weights=start,
            target_dir=masks,
            out=out,
        )

    def maps(self, title: str, list_name: str) -> Path:
        """Write a rung's fused maps of a list, with stage 3's views; return their folder."""
        model, cam_dir, views, _ = RUNGS[title]
        own = {**MaskPlan.of(self.args.recipe).views.values(), **views}
        words: dict[str, Any] = {
            "title": f"{title}: maps of {list_name}",
            "list": list_name,
            "out": self.out / f"{cam_dir}_{Path(list_name).stem}",
        }
        if title.startswith("network"):
            cut = {"label_filter": "logits", "threshold": MaskPlan.of(self.args.recipe).threshold}
            words |= {**cut, "save_maps": True}
            weights = self.out / model / SEGMENTER
            self.plain.run("test_seg", weights=weights, evaluate=False, **{**own, **words})
        else:
            weights = classifier_in(self.out / model)
            self.plain.run("gen_fusion", weights=weights, **{**own, **words})
        return Path(words["out"])

    def masks(
        self, title: str, list_name: str, cams: Path, threshold: float, more: str = ""
    ) -> dict[str, float]:
        """A rung's scores on a list, in per cent; `more` is one of :data:`MORE`."""
        crf, salient = bool(more), more == SALIENT
        name = f"{threshold:.2f}{'_crf' * crf}{'_salient' * salient}"
        folder = self.out / title.replace(", ", "_").replace(" ", "_")
        masks, out = folder / f"masks_{name}", folder / f"{Path(list_name).stem}_{name}.json"
        self.plain.run(
            "gen_pm",
            title=f"{title}: masks of {list_name}{more}",
            list=list_name,
            cam_dir=cams,
            threshold=threshold,
            out=masks,
            crf="maps" if crf else None,
            saliency_weight=self.args.saliency_weight if salient else None,
        )
        self.plain.run("evaluate", list=list_name, pred_dir=masks, out=out)
        result = read_json(out, "evaluation", "run again")
        return {key: 100 * result[key] for key in SCORES}

    def choose(self, title: str) -> dict[str, dict[str, float]]:
        """A rung's rows on the list to choose on: the best threshold, and the best one for CRF."""
        name, cams = self.args.choose_on, self.maps(title, self.args.choose_on)
        sweep = self.out / f"sweep_{title.replace(', ', '_').replace(' ', '_')}.json"
        self.plain.run("evaluate", list=name, cam_dir=cams, sweep=True, out=sweep)
        chosen = float(read_json(sweep, "sweep", "run again")["threshold"])
        rows = {title: {"threshold": chosen, **self.masks(title, name, cams, chosen)}}
        for more in self.more(title):
            tried = [
                {"threshold": t, **self.masks(title, name, cams, t, more)}
                for t in (round(chosen + step, 2) for step in CRF_STEPS)
                if t > 0
            ]
            rows[title + more] = max(tried, key=lambda row: row["miou"])
        return rows

    def more(self, title: str) -> tuple[str, ...]:
        """What is tried on a rung's maps beside the threshold."""
        if not RUNGS[title][3]:
            return ()
        return MORE if self.args.saliency_weight else MORE[:1]

    def report(
        self, title: str, chosen: dict[str, dict[str, float]]
    ) -> dict[str, dict[str, float]]:
        """A rung's rows on the list to report on, at the thresholds chosen."""
        name, cams = self.args.report_on, self.maps(title, self.args.report_on)
        return {
            title + more: self.masks(title, name, cams, chosen[title + more]["threshold"], more)
            for more in ("", *self.more(title))
            if title + more in chosen
        }


def table(
    chosen: dict[str, dict[str, float]],
    seeds: Sequence[dict[str, dict[str, float]]],
    names: tuple[str, str],
) -> str:
    """A Markdown table: the held-out run, and mean ± standard deviation over the seeds that have
    the row."""
    columns = [
        "threshold",
        *(f"{names[0]} {key}" for key in SCORES),
        "seeds",
        *(f"{names[1]} {key}" for key in SCORES),
    ]
    lines = ["| " + " | ".join(["", *columns]) + " |", "| --- " * (len(columns) + 1) + "|"]
    for title, held_out in chosen.items():
        rows = [seed[title] for seed in seeds if title in seed]
        cells = [
            f"{held_out['threshold']:.2f}",
            *(f"{held_out[key]:.1f}" for key in SCORES),
            str(len(rows)),
        ]
        for key in SCORES:
            values = [row[key] for row in rows]
            spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.1f}{spread}" if values else "–")
        lines.append("| " + " | ".join([title, *cells]) + " |")
    return "\n".join(lines)


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_root", required=True)
    parser.add_argument("--classes")
    parser.add_argument("--out", required=True)
    parser.add_argument("--recipe", default="light")
    parser.add_argument("--train_on", default="train_aug")
    parser.add_argument("--choose_on", default="train")
    parser.add_argument("--report_on", default="val")
    parser.add_argument(
        "--seeds", type=int, nargs="*", default=[1337, 1338, 1339], help="none: thresholds alone"
    )
    parser.add_argument("--rungs", nargs="+", default=list(RUNGS), choices=list(RUNGS))
    parser.add_argument(
        "--saliency_weight",
        type=float,
        default=0.0,
        help="more rows, + saliency + CRF; smaf run's is 0.6",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the ladder and write ladder.md and ladder.json."""
    args = parsed(argv)
    data = open_data(args.data_root, classes=args.classes)
    kept_out = set(data.ids(args.choose_on))
    rest = Path(args.out).resolve() / "held_out" / "list.txt"
    write_text(rest, "".join(f"{i}\n" for i in data.ids(args.train_on) if i not in kept_out))
    held_out = Ladder(args, "held_out", (args.seeds or [1337])[0], str(rest))
    held_out.train()
    chosen: dict[str, dict[str, float]] = {}
    for title in args.rungs:
        chosen |= held_out.choose(title)
    write_json(held_out.out / "ladder.json", {"rows": chosen, "seconds": held_out.seconds})
    results = []
    for seed in args.seeds:
        ladder = Ladder(args, f"seed_{seed}", seed, args.train_on)
        ladder.train()
        rows: dict[str, dict[str, float]] = {}
        for title in args.rungs:
            rows |= ladder.report(title, chosen)
        write_json(
            ladder.out / "ladder.json", {"rows": rows, "seconds": ladder.seconds, "seed": seed}
        )
        results.append(rows)
    shown = table(chosen, results, (args.choose_on, args.report_on))
    write_text(Path(args.out) / "ladder.md", shown + "\n")
    print(shown)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
