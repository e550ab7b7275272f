"""From rendered photographs and their tags to masks, as a user would: init, run, predict.

Then a ladder of scores, rung by rung of the method, and a report.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import matplotlib

from smaf.commands import Commands, classifier_in
from smaf.core.command import make_parser, run_command
from smaf.core.device import DEVICES
from smaf.core.errors import InputError
from smaf.core.files import output_folder, read_json, write_text
from smaf.core.options import NOT_NEGATIVE, POSITIVE, Options, add_options, option, plan_from
from smaf.data.demo.demo_set import render_photographs
from smaf.data.layout import open_data
from smaf.engine.demo_report import Folders, Step, write_report
from smaf.engine.outputs import Places

# What differs from the light recipe, for small photographs and few steps
_TRAINING = "--recipe light --resize_long 176 288 --crop 152 --batch_size 12"
_RECIPE = {
    "train_eps": f"{_TRAINING} --lr 2e-4",
    "gen_fusion": "--recipe light --long_side 224",
    "refine_fusion": "--recipe light --background 0.32",
    "train_fusion": f"{_TRAINING} --lr 1e-4",
    "gen_pm": "--recipe light --long_side 224 --saliency_weight 0.6",
    "train_seg": _TRAINING,
    "test_seg": "--recipe light --long_side 224",
}
_ONE_VIEW: dict[str, Any] = {"scales": (1.0,), "flip": False}


@dataclass(frozen=True)
class DemoOptions(Options):
    """The demo's size, and where it writes."""

    GROUP: ClassVar[str] = "demo"

    out: str = option("demo", "folder for the photographs, the data set and the run")
    report: str = option("demo_report.html", "the page with pictures")
    images: int = option(60, "photographs to train on, about", within=POSITIVE)
    test_images: int = option(20, "photographs to test on, about", within=POSITIVE)
    steps: int = option(30, "steps of each training", within=POSITIVE)
    seed: int = option(1337, "seed of the trainings", within=NOT_NEGATIVE)
    device: str = option("auto", "where to compute", choices=DEVICES)
    overwrite: bool = option(False, "train afresh; else a finished stage stays")


@dataclass(frozen=True)
class _Rung:
    """A rung of the ladder: its name, and its maps of the photographs tested and trained on."""

    title: str
    maps: str
    train_maps: str


PLAIN = _Rung("plain CAM", "ladder/cam_plain", "ladder/cam_plain")
EPS = _Rung("EPS", "ladder/cam_eps", "ladder/cam_eps")
FUSED = _Rung("EPS, fused", "ladder/cam_fused", "run/cam_o_vec")
STUDENT = _Rung("self-trained", "run/cam_student", "run/cam_student")
MASKS = "run/pseudo_mask"


class _Demo:
    """The demo's commands, in its folder."""

    def __init__(self, options: DemoOptions) -> None:
        self.out, self.options = Path(options.out), options
        self.data, self.recipe = self.out / "data", self.out / "recipe"
        self.at = Places(self.out / "run", self.data)
        common = {"device": options.device, "overwrite": options.overwrite or None}
        self.commands = Commands(show=True, **common)
        self.below: dict[str, Any] = {"data_root": self.data, "recipe": self.recipe}

    def prepare(self) -> None:
        """A folder of photographs becomes a data set."""
        count = self.options.images + self.options.test_images
        print(f"rendering {count} photographs to {self.out / 'photographs'}", flush=True)
        workers = min(4, os.cpu_count() or 1)
        render_photographs(self.out, count=count, num_workers=workers)
        for name, words in _RECIPE.items():
            steps = f" --steps {self.options.steps}" if name.startswith("train") else ""
            write_text(self.recipe / f"{name}.args", f"{words}{steps}\n")
        self.commands.run(
            "init",
            str(self.out / "photographs"),
            labels=self.out / "labels.csv",
            masks=self.out / "masks",
            val_share=round(self.options.test_images / count, 3),
            out=self.data,
            overwrite=True,
        )

    def run(self) -> None:
        """All stages."""
        self.commands.run(
            "run",
            str(self.data),
            out=self.at.logdir,
            recipe=self.recipe,
            seed=self.options.seed,
            num_workers=0,
            masks_by="classifier",
            rehearsal=False,
            onnx=False,  # takes as long as a training here
        )

    def rungs(self) -> None:
        """Maps of what a run does without: plain CAM, and EPS by one view."""
        plain, seed = self.out / "ladder/cls_model", self.options.seed
        words: dict[str, Any] = {**self.below, "list": "train", "seed": seed, "num_workers": 0}
        self.commands.run("train_eps", saliency=False, out=plain, **words)
        for rung, weights, views in (
            (PLAIN, classifier_in(plain), {"list": "all", **_ONE_VIEW}),
            (EPS, self.at.eps, {"list": "all", **_ONE_VIEW}),
            (FUSED, self.at.eps, {"list": "val"}),
        ):
            words = {**self.below, "weights": weights, "out": self.out / rung.maps, **views}
            self.commands.run("gen_fusion", **words)
        refined: dict[str, Any] = {
            "list": "val",
            "cam_dir": self.out / FUSED.maps,
            "out": self.out / "ladder/cam_refined",
        }
        self.commands.run("refine_fusion", num_workers=0, **self.below, **refined)

    def scores(self) -> list[Step]:
        """The ladder on the list val, each rung cut where it is best on the list train."""
        places: dict[str, Any] = {"data_root": self.data}
        steps = []
        for rung in (PLAIN, EPS, FUSED, STUDENT):
            maps, learned = self.out / rung.maps, self.out / rung.train_maps
            sweep = self.out / f"ladder/sweep_{maps.name}.json"
            words = {**places, "list": "train", "sweep": True, "out": sweep}
            self.commands.run("evaluate", cam_dir=learned, **words)
            best = read_json(sweep, "sweep", "run the demo again")["threshold"]
            words = {**places, "cam_dir": maps, "threshold": best}
            steps.append(self.score(rung.title, rung.maps, **words))
        masks = {**places, "pred_dir": self.out / MASKS}
        return [*steps, self.score("self-trained + saliency + CRF", MASKS, **masks)]

    def score(self, title: str, name: str, **options: Any) -> Step:
        """The scores of maps or masks on the list val."""
        out = self.out / f"ladder/evaluation_{Path(name).name}.json"
        self.commands.run("evaluate", list="val", out=out, **options)
        return Step(title, read_json(out, "evaluation", "run the demo again"))

    def predict(self) -> None:
        """Masks of a real photograph that an installed package ships, by the shipped weights."""
        photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
        options: dict[str, Any] = {"out": self.out / "predictions", "overwrite": None}
        self.commands.run("predict", str(photo), **options)


def folders(out: Path) -> Folders:
    """Where the report's pictures of a demo in the folder `out` come from."""
    return Folders(out, EPS.maps, FUSED.maps, target="ladder/cam_refined", masks=MASKS)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all options."""
    parser = make_parser("demo", __doc__ or "")
    add_options(parser, DemoOptions())
    return parser


def _tell(ladder: Sequence[Step], network: Mapping[str, Any], report: str, seconds: float) -> None:
    """Print the ladder; raise :class:`InputError` where it does not hold."""
    print("\nmIoU on the demo's list val, at background thresholds chosen on its list train:")
    for step in ladder:
        print(f"  {step.title:<30} {100 * step.scores['miou']:6.2f} %")
    for title, scores in network.items():
        if title.startswith("network"):
            print(f"  {title:<30} {100 * scores['miou']:6.2f} %")
    plain, eps, _, student = (step.scores["miou"] for step in ladder[:4])
    holds = plain < eps < student
    print(f"plain CAM < EPS < self-trained: {'holds' if holds else 'does NOT hold'}")
    print(f"wrote {report} after {seconds:.0f} s")
    if not holds:
        raise InputError(f"{report}: the ladder does not hold; was --steps or --images changed?")


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out the command with the words `argv`, by default those of the command line."""
    options = plan_from(DemoOptions(), build_parser().parse_args(argv))
    started = time.monotonic()
    output_folder(Path(options.out))
    demo = _Demo(options)
    demo.prepare()
    demo.run()
    demo.rungs()
    ladder = demo.scores()
    write_report(Path(options.report), open_data(demo.data), "val", folders(demo.out), ladder)
    demo.predict()
    scores = read_json(demo.at.logdir / "run.json", "record", "run the demo again")[-1]["scores"]
    _tell(ladder, scores, options.report, time.monotonic() - started)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
