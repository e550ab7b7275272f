"""The ladder on a data set with true masks: plain CAM, EPS, EPS fused, self-trained; the last two also with CRF.

Every background threshold is chosen on one list (`--choose_on`), then reported there and on the other (`--report_on`).
Runs the entry scripts, so finished stages stay and a stopped run goes on.

    python benchmarks/ladder.py --data_root DATA --classes metadata/animals.txt --out smaf/logdir/animals
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from smaf import evaluate, gen_fusion, gen_pm, train_eps, train_fusion
from smaf.core.command import run_command
from smaf.core.files import read_json, write_json, write_text
from smaf.ops import crf_available

ROOT = Path(__file__).resolve().parents[1]
ONE_VIEW = ("--scales", "1.0", "--no_flip")
# Title: the classifier, where its maps go, the views, and whether CRF is tried
RUNGS: dict[str, tuple[str, str, tuple[str, ...], bool]] = {
    "plain CAM": ("cls_model", "cam_plain", ONE_VIEW, False),
    "EPS": ("eps_cls_mode", "cam_eps", ONE_VIEW, False),
    "EPS, fused": ("eps_cls_mode", "cam_o_vec", (), True),
    "self-trained": ("proda_model", "cam_self_trained", (), True),
}


class Ladder:
    """One run of the ladder in `args.out`."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, Path(args.out)
        self.data = ["--data_root", args.data_root, *(["--classes", args.classes] if args.classes else [])]
        self.seconds: dict[str, float] = {}

    def run(self, main: Callable[[Sequence[str]], None], name: str, *argv: str, title: str = "") -> None:
        recipe = ROOT / "script" / "recipes" / self.args.recipe / f"{name}.args"
        started = time.monotonic()
        main([*([f"@{recipe}"] if recipe.is_file() else []), *self.data, *argv])
        self.seconds[title or name] = round(time.monotonic() - started, 1)

    def train(self) -> None:
        """Stages 0 to 2 and the plain-CAM baseline."""
        seed, listed = ["--seed", str(self.args.seed)], ["--list", self.args.train_on]
        at = {name: str(self.out / name) for name in ("cls_model", "eps_cls_mode", "cam_o_vec", "proda_model")}
        eps = f"{at['eps_cls_mode']}/classifier.pth"
        self.run(train_eps.main, "train_eps", *listed, *seed, "--network", "cls", "--out", at["cls_model"],
                 title="train plain CAM")
        self.run(train_eps.main, "train_eps", *listed, *seed, "--out", at["eps_cls_mode"])
        self.run(gen_fusion.main, "gen_fusion", *listed, "--weights", eps, "--out", at["cam_o_vec"])
        self.run(train_fusion.main, "train_fusion", *listed, *seed, "--weights", eps, "--cam_dir", at["cam_o_vec"],
                 "--out", at["proda_model"])

    def scores(self, title: str, model: str, cam_dir: str, views: tuple[str, ...], crf_too: bool) -> list[list[object]]:
        """A rung's rows: threshold chosen on one list, scores on both, without and with CRF."""
        weights = str(self.out / model / "classifier.pth")
        folder = self.out / title.replace(", ", "_").replace(" ", "_")
        cams, rows = str(self.out / cam_dir), []
        for name in (self.args.choose_on, self.args.report_on):
            self.run(gen_fusion.main, "gen_fusion", "--list", name, "--weights", weights, "--out", cams, *views,
                     title=f"{title}: maps of {name}")
        sweep = folder / "sweep.json"
        self.run(evaluate.main, "evaluate", "--list", self.args.choose_on, "--cam_dir", cams, "--sweep", "--out",
                 str(sweep))
        chosen = read_json(sweep, "sweep", "run again")["threshold"]
        for crf in (False, True) if crf_too and crf_available() else (False,):
            row: list[object] = [title + (" + CRF" if crf else ""), chosen]
            for name in (self.args.choose_on, self.args.report_on):
                masks, out = str(folder / f"masks{'_crf' * crf}"), folder / f"{name}{'_crf' * crf}.json"
                self.run(gen_pm.main, "gen_pm", "--list", name, "--cam_dir", cams, "--threshold", str(chosen), "--out",
                         masks, *(["--crf"] if crf else []), title=f"{title}: masks of {name}{' + CRF' * crf}")
                self.run(evaluate.main, "evaluate", "--list", name, "--pred_dir", masks, "--out", str(out))
                result = read_json(out, "evaluation", "run again")
                row += [round(100 * result[key], 2) for key in ("miou", "precision", "recall")]
            rows.append(row)
        return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Run the ladder and write ladder.md and ladder.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_root", required=True)
    parser.add_argument("--classes")
    parser.add_argument("--out", required=True)
    parser.add_argument("--recipe", default="light")
    parser.add_argument("--train_on", default="train_aug")
    parser.add_argument("--choose_on", default="train")
    parser.add_argument("--report_on", default="val")
    parser.add_argument("--seed", type=int, default=1337)
    ladder = Ladder(parser.parse_args(argv))
    ladder.train()
    rows = [row for title, rung in RUNGS.items() for row in ladder.scores(title, *rung)]
    head = ["", "threshold", *(f"{name} {score}" for name in (ladder.args.choose_on, ladder.args.report_on)
                               for score in ("mIoU", "precision", "recall"))]
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in (head, ["---"] * len(head), *rows)]
    write_text(ladder.out / "ladder.md", "\n".join(lines) + "\n")
    write_json(ladder.out / "ladder.json", {"rows": rows, "seconds": ladder.seconds, "seed": ladder.args.seed})
    print("\n".join(lines))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
