"""Stage 4 on a data set with true masks: the light network trained on pseudo masks against true ones, over seeds.

Uses the students that `benchmarks/ladder.py` trained, in the same `--out`: their masks of `--train_on` are the targets,
and their weights where the network starts. "source" is the student's own masks of `--report_on`, which know the
image-level labels; the segmentation networks do not. Finished stages stay; a stopped run goes on.

    python benchmarks/segmenters.py --data_root DATA --classes metadata/animals.txt --out smaf/logdir/animals
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from smaf import evaluate, gen_pm, test_seg, train_seg
from smaf.core.command import run_command
from smaf.core.files import read_json, write_json, write_text
from smaf.ops import crf_available

ROOT = Path(__file__).resolve().parents[1]
# Title of the row: options of gen_pm for the targets; None: true masks
TARGETS: dict[str, tuple[str, ...] | None] = {
    "pseudo masks": (), "pseudo masks, uncertain by thresholds": ("--uncertain", "thresholds"),
    "pseudo masks, uncertain by CRF": ("--uncertain", "crf"), "true masks": None}


class Run:
    """The rows of one seed."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        self.args, self.seed, self.out = args, seed, Path(args.out) / f"seed_{seed}"
        self.data = ["--data_root", args.data_root, *(["--classes", args.classes] if args.classes else [])]
        self.student = str(self.out / "proda_model" / "classifier.pth")
        self.crf = ["--crf", "maps"] if crf_available() else []

    def recipe(self, stage: str) -> list[str]:
        path = ROOT / "script" / "recipes" / self.args.recipe / f"{stage}.args"
        return [f"@{path}"] if path.is_file() else []

    def pseudo_masks(self, name: str, list_name: str, *options: str) -> Path:
        folder = self.out / "segmenters" / name
        gen_pm.main([*self.recipe("gen_pm"), *self.data, "--list", list_name, "--weights", self.student, "--out",
                     str(folder), *self.crf, *options])
        return folder

    def source(self) -> float:
        """mIoU of the student's masks on the list to report on, in per cent."""
        folder = self.pseudo_masks("source", self.args.report_on)
        out = self.out / "segmenters" / "source.json"
        evaluate.main([*self.data, "--list", self.args.report_on, "--pred_dir", str(folder), "--out", str(out)])
        return 100 * float(read_json(out, "evaluation", "run again")["miou"])

    def network(self, title: str) -> dict[str, float]:
        """Train and test a network; mIoU in per cent, without and with CRF."""
        name, options = title.replace(", ", "_").replace(" ", "_"), TARGETS[title]
        out = self.out / "segmenters" / f"net_{name}"
        targets = ["--true_masks"] if options is None else [
            "--target_dir", str(self.pseudo_masks(f"targets_{name}", self.args.train_on, *options))]
        train_seg.main([*self.recipe("train_seg"), *self.data, "--list", self.args.train_on, "--seed", str(self.seed),
                        "--network", self.args.network, "--weights", self.student, "--out", str(out), *targets])
        row = {}
        for column, crf in (("miou", []), ("miou + CRF", ["--crf"])):
            if crf and not self.crf:
                continue
            masks = out / f"masks{'_crf' * bool(crf)}"
            test_seg.main([*self.recipe("test_seg"), *self.data, "--list", self.args.report_on, "--weights",
                           str(out / "segmenter.pth"), "--out", str(masks), *crf])
            result = read_json(masks / f"evaluation_{Path(self.args.report_on).stem}.json", "evaluation", "run again")
            row[column] = 100 * float(result["miou"])
        return row


def table(seeds: Sequence[dict[str, dict[str, float]]]) -> str:
    """A Markdown table: mean ± standard deviation over the seeds that have the row."""
    columns = ["miou", "miou + CRF"]
    lines = ["| " + " | ".join(["", "seeds", *columns]) + " |", "| --- " * (len(columns) + 2) + "|"]
    for title in dict.fromkeys(title for rows in seeds for title in rows):
        rows, cells = [seed[title] for seed in seeds if title in seed], []
        for column in columns:
            values = [row[column] for row in rows if column in row]
            spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.1f}{spread}" if values else "–")
        lines.append("| " + " | ".join([title, str(len(rows)), *cells]) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run stage 4 and write segmenters.md and segmenters.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_root", required=True)
    parser.add_argument("--classes")
    parser.add_argument("--out", required=True)
    parser.add_argument("--recipe", default="light")
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--train_on", default="train_aug")
    parser.add_argument("--report_on", default="val")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 1338, 1339])
    parser.add_argument("--targets", nargs="+", default=["pseudo masks", "true masks"], choices=list(TARGETS))
    args = parser.parse_args(argv)
    results = []
    for seed in args.seeds:
        run = Run(args, seed)
        rows = {"source (knows the labels)": {"miou + CRF" if run.crf else "miou": run.source()}}
        rows |= {title: run.network(title) for title in args.targets}
        results.append(rows)
        write_json(run.out / "segmenters" / "segmenters.json", {"seed": seed, "rows": rows})
    write_text(Path(args.out) / "segmenters.md", table(results) + "\n")
    print(table(results))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
