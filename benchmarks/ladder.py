"""The ladder on a data set with true masks, one or more seeds: plain CAM, EPS, fused, self-trained, supervised, + CRF.

Every background threshold is chosen on one list (`--choose_on`), then reported there and on the other (`--report_on`).
Trains on labels and saliency maps alone, but for the upper bound "supervised": the same network and recipe as stage 2,
from the same start, with the true masks of the training list as targets. Runs the entry scripts, so finished stages
stay and a stopped run goes on.

    python benchmarks/ladder.py --data_root DATA --classes metadata/animals.txt --out smaf/logdir/animals
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from smaf import evaluate, gen_fusion, gen_pm, refine_fusion, train_eps, train_fusion
from smaf.core.classes import IGNORE
from smaf.core.command import run_command
from smaf.core.files import read_json, write_json, write_text
from smaf.core.fused_maps import write_fused
from smaf.data.layout import DataRoot, open_data
from smaf.ops import crf_available

ROOT = Path(__file__).resolve().parents[1]
ONE_VIEW = ("--scales", "1.0", "--no_flip")
# Title: the classifier, where its maps go, the views, and whether CRF is tried
RUNGS: dict[str, tuple[str, str, tuple[str, ...], bool]] = {
    "plain CAM": ("cls_model", "cam_plain", ONE_VIEW, False),
    "EPS": ("eps_cls_mode", "cam_eps", ONE_VIEW, True),
    "EPS, fused": ("eps_cls_mode", "cam_o_vec", (), True),
    "self-trained": ("proda_model", "cam_self_trained", (), True),
    "supervised": ("supervised", "cam_supervised", (), True),
}
SCORES = ("miou", "precision", "recall")


def write_truth_maps(data: DataRoot, list_name: str, folder: Path) -> None:
    """Write the true masks as maps of 0 and 1, for the upper bound; ignored pixels get even odds of the labels."""
    for image_id in data.ids(list_name):
        path = folder / f"{image_id}.npz"
        if path.is_file():
            continue
        mask, label = data.mask(image_id), data.all_labels[image_id]
        shown = [int(c) for c in np.flatnonzero(label)]
        even = (mask == IGNORE).astype(np.float32) / (len(shown) + 1)
        write_fused(path, {c: (mask == c + 1) + even for c in shown}, mask.shape)


class Ladder:
    """One seed's run of the ladder in `out`."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        self.args, self.seed, self.out = args, seed, Path(args.out) / f"seed_{seed}"
        self.data = ["--data_root", args.data_root, *(["--classes", args.classes] if args.classes else [])]
        self.seconds: dict[str, float] = {}

    def run(self, main: Callable[[Sequence[str]], None], name: str, *argv: str, title: str = "") -> None:
        recipe = ROOT / "script" / "recipes" / self.args.recipe / f"{name}.args"
        started = time.monotonic()
        main([*([f"@{recipe}"] if recipe.is_file() else []), *self.data, *argv])
        self.seconds[title or name] = round(time.monotonic() - started, 1)

    def train(self) -> None:
        """What the rungs asked for need of stages 0 to 2, the plain-CAM baseline and the upper bound."""
        seed, listed, rungs = ["--seed", str(self.seed)], ["--list", self.args.train_on], self.args.rungs
        at = {name: str(self.out / name) for name in ("cls_model", "eps_cls_mode", "cam_o_vec", "cam_refined",
                                                      "proda_model", "supervised")}
        eps = f"{at['eps_cls_mode']}/classifier.pth"
        if "plain CAM" in rungs:
            self.run(train_eps.main, "train_eps", *listed, *seed, "--network", "cls", "--out", at["cls_model"],
                     title="train plain CAM")
        self.run(train_eps.main, "train_eps", *listed, *seed, "--out", at["eps_cls_mode"])
        if "self-trained" in rungs:
            self.run(gen_fusion.main, "gen_fusion", *listed, "--weights", eps, "--out", at["cam_o_vec"])
            self.run(refine_fusion.main, "refine_fusion", *listed, "--cam_dir", at["cam_o_vec"], "--out",
                     at["cam_refined"])
            self.run(train_fusion.main, "train_fusion", *listed, *seed, "--weights", eps, "--cam_dir",
                     at["cam_refined"], "--out", at["proda_model"])
        if "supervised" in rungs:
            maps = Path(self.args.out) / "truth_maps"
            write_truth_maps(open_data(self.args.data_root, classes=self.args.classes), self.args.train_on, maps)
            self.run(train_fusion.main, "train_fusion", *listed, *seed, "--weights", eps, "--cam_dir", str(maps),
                     "--out", at["supervised"], title="train supervised")

    def scores(self, title: str, model: str, cam_dir: str, views: tuple[str, ...], crf_too: bool
               ) -> dict[str, dict[str, float]]:
        """A rung's rows: threshold chosen on one list, scores on both, without and with CRF."""
        weights = str(self.out / model / "classifier.pth")
        folder = self.out / title.replace(", ", "_").replace(" ", "_")
        cams, rows = str(self.out / cam_dir), {}
        lists = (self.args.choose_on, *([self.args.report_on] if self.args.report_on else []))
        for name in lists:
            self.run(gen_fusion.main, "gen_fusion", "--list", name, "--weights", weights, "--out", cams, *views,
                     title=f"{title}: maps of {name}")
        sweep = folder / "sweep.json"
        self.run(evaluate.main, "evaluate", "--list", self.args.choose_on, "--cam_dir", cams, "--sweep", "--out",
                 str(sweep))
        chosen = read_json(sweep, "sweep", "run again")["threshold"]
        for crf in (False, True) if crf_too and crf_available() else (False,):
            row: dict[str, float] = {"threshold": chosen}
            for name in lists:
                masks, out = str(folder / f"masks{'_crf' * crf}"), folder / f"{name}{'_crf' * crf}.json"
                self.run(gen_pm.main, "gen_pm", "--list", name, "--cam_dir", cams, "--threshold", str(chosen), "--out",
                         masks, *(["--crf", "maps"] if crf else []), title=f"{title}: masks of {name}{' + CRF' * crf}")
                self.run(evaluate.main, "evaluate", "--list", name, "--pred_dir", masks, "--out", str(out))
                result = read_json(out, "evaluation", "run again")
                row |= {f"{name} {key}": 100 * result[key] for key in SCORES}
            rows[title + (" + CRF" if crf else "")] = row
        return rows


def table(seeds: Sequence[dict[str, dict[str, float]]]) -> str:
    """A Markdown table: mean ± standard deviation over the seeds that have the row."""
    titles = list(dict.fromkeys(title for rows in seeds for title in rows))
    columns = list(next(iter(seeds[0].values())))
    lines = ["| " + " | ".join(["", "seeds", *columns]) + " |", "| --- " * (len(columns) + 2) + "|"]
    for title in titles:
        rows = [seed[title] for seed in seeds if title in seed]
        cells = []
        for column in columns:
            values = [row[column] for row in rows]
            digits = 2 if column == "threshold" else 1
            spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.{digits}f}{spread}")
        lines.append("| " + " | ".join([title, str(len(rows)), *cells]) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the ladder and write ladder.md and ladder.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_root", required=True)
    parser.add_argument("--classes")
    parser.add_argument("--out", required=True)
    parser.add_argument("--recipe", default="light")
    parser.add_argument("--train_on", default="train_aug")
    parser.add_argument("--choose_on", default="train")
    parser.add_argument("--report_on", default="val", help="empty: no report yet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 1338, 1339])
    parser.add_argument("--rungs", nargs="+", default=list(RUNGS), choices=list(RUNGS))
    args = parser.parse_args(argv)
    results = []
    for seed in args.seeds:
        ladder = Ladder(args, seed)
        ladder.train()
        rows: dict[str, dict[str, float]] = {}
        for title in args.rungs:
            rows |= ladder.scores(title, *RUNGS[title])
        write_json(ladder.out / "ladder.json", {"rows": rows, "seconds": ladder.seconds, "seed": seed})
        results.append(rows)
    write_text(Path(args.out) / "ladder.md", table(results) + "\n")
    print(table(results))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
