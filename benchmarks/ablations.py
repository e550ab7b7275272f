"""Ablations of stages 0 and 2: short trainings that differ in one thing each, on photographs that
nobody trained on.

Starts from the ladder's "held_out" run (`benchmarks/ladder.py`, same `--out`): its classifier and
fused maps, made without the photographs of `--choose_on`. Every variant trains `--steps` steps with
the light recipe but for its own options; its fused maps of every `--every`th photograph of
`--choose_on` are scored at the background threshold that is best there, so that no variant suffers
from another one's threshold. Finished variants stay.

The classical saliency detector is OpenCV's fine-grained one (Montabone and Soto, 2010): `pip
install opencv-contrib-python-headless`.

    python benchmarks/ablations.py --data_root DATA --classes metadata/animals.txt --out
    smaf/logdir/animals
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from smaf.commands import Commands, classifier_in
from smaf.core.command import run_command
from smaf.core.files import read_json, write_bytes, write_json, write_text
from smaf.data.layout import open_data

Options = dict[str, Any]
SOFT: Options = {"soft_background": True}
HARD: Options = {"soft_background": False, "background": 0.4}  # where fused maps are best cut
# Title: which maps (refined, fused, edges alone, saliency alone, the first variant's own refined),
# options of stage 2
STAGE2: dict[str, tuple[str, Options]] = {
    "the light recipe": ("refined", SOFT),
    "a second round, on the first one's maps": ("second", SOFT),
    "refined by edges (CRF) alone": ("edges", SOFT),
    "refined by saliency alone": ("saliency", SOFT),
    "not refined, background 0.4": ("fused", HARD),
    "not refined, background 0.3": ("fused", {**HARD, "background": 0.3}),
    "not refined, background 0.2 (published)": ("fused", {**HARD, "background": 0.2}),
    "not refined, 0.4, no denoising": ("fused", {**HARD, "denoise": False}),
    "not refined, 0.4, no reactivation": ("fused", {**HARD, "reactivate": False}),
    "not refined, 0.4, --rectify cosine": ("fused", {**HARD, "rectify": "cosine"}),
    "not refined, 0.4, --rectify proda": ("fused", {**HARD, "rectify": "proda"}),
    "the head at the backbone's rate": ("refined", {**SOFT, "head_factor": 1}),
    "half the rate": ("refined", {**SOFT, "lr": 1.5e-4}),
    "cells at corners": ("refined", {**SOFT, "cells": "corners"}),
}
# Title: whose saliency, options of stage 0
STAGE0: dict[str, tuple[str, Options]] = {
    "EPS, saliency of the data set": ("SALImages", {}),
    "EPS, classical saliency": ("classical", {}),
    "no saliency (plain CAM)": ("SALImages", {"network": "cls"}),
    "EPS, cells at corners": ("SALImages", {"cells": "corners"}),
    "EPS, half the rate": ("SALImages", {"lr": 1.5e-4}),
}
# How maps are refined anew
REFINED: dict[str, Options] = {"edges": {"saliency_weight": 0}, "saliency": {"crf": False}}


class Ablations:
    """The variants of one run."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, Path(args.out) / "ablations"
        self.held_out = Path(args.out).resolve() / "held_out"
        self.data = open_data(args.data_root, classes=args.classes)
        shared = {"data_root": args.data_root, "classes": args.classes}
        self.plain = Commands(**shared)
        self.commands = Commands(recipe=args.recipe, **shared)
        self.train_on, self.score_on = (
            str(self.held_out / "list.txt"),
            str((self.out / "list.txt").resolve()),
        )
        write_text(
            Path(self.score_on),
            "".join(f"{i}\n" for i in self.data.ids(args.choose_on)[:: args.every]),
        )

    def folder(self, title: str) -> Path:
        """Where a variant is."""
        return self.out / "".join(c if c.isalnum() else "_" for c in title)

    def maps(self, kind: str) -> Path:
        """The folder of the training list's maps: the held-out run's, or refined anew."""
        fused = self.held_out / "cam_o_vec"
        if kind in {"fused", "refined"}:
            return fused if kind == "fused" else self.held_out / "cam_refined"
        run, out = self.commands.run, self.out / f"maps_{kind}"
        if kind == "second":
            fused = self.out / "second"
            first = classifier_in(self.folder(next(iter(STAGE2))))
            run("gen_fusion", list=self.train_on, weights=first, out=fused)
        own = REFINED.get(kind, {})
        run("refine_fusion", list=self.train_on, cam_dir=fused, out=out, **own)
        return out

    def root_of(self, saliency: str) -> str:
        """A data set with this saliency: its own, or links to it beside the classical detector's
        maps."""
        if saliency == "SALImages":
            return self.args.data_root
        root = (self.out / saliency).resolve()
        root.mkdir(parents=True, exist_ok=True)
        for part in Path(self.args.data_root).resolve().iterdir():
            if part.name != "SALImages" and not (root / part.name).exists():
                (root / part.name).symlink_to(part)
        import cv2

        detector = cv2.saliency.StaticSaliencyFineGrained_create()
        for image_id in tqdm(self.data.ids(self.train_on), desc="saliency"):
            path = root / "SALImages" / f"{image_id}.png"
            if not path.is_file():
                found, values = detector.computeSaliency(
                    np.asarray(self.data.photo(image_id))[..., ::-1].copy()
                )
                assert found
                stream = io.BytesIO()
                Image.fromarray(
                    np.round(255 * values / max(1e-6, values.max())).astype(np.uint8)
                ).save(stream, "PNG")
                write_bytes(path, stream.getvalue())
        return str(root)

    def score(self, weights: Path, folder: Path) -> dict[str, float]:
        """The best threshold of the classifier's fused maps, and what they reach, in per cent."""
        maps, out = folder / "maps", folder / "sweep.json"
        self.commands.run("gen_fusion", list=self.score_on, weights=weights, out=maps)
        self.plain.run("evaluate", list=self.score_on, cam_dir=maps, sweep=True, out=out)
        result = read_json(out, "sweep", "run again")
        scores = {key: 100 * result[key] for key in ("miou", "precision", "recall")}
        return {"threshold": result["threshold"], **scores}

    def variant(self, title: str) -> dict[str, float]:
        """Train and score a variant."""
        folder = self.folder(title)
        training = {"list": self.train_on, "out": folder, "steps": self.args.steps}
        if title in STAGE0:
            saliency, own = STAGE0[title]
            root = self.root_of(saliency)
            self.commands.run("train_eps", data_root=root, **{**training, **own})
        else:
            kind, own = STAGE2[title]
            weights = classifier_in(self.held_out / "eps_cls_mode")
            places = {"weights": weights, "cam_dir": self.maps(kind)}
            self.commands.run("train_fusion", **{**places, **training, **own})
        return self.score(classifier_in(folder), folder)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the variants and write ablations.md and ablations.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_root", required=True)
    parser.add_argument("--classes")
    parser.add_argument("--out", required=True)
    parser.add_argument("--recipe", default="light")
    parser.add_argument("--choose_on", default="train")
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument(
        "--variants", nargs="+", default=[*STAGE2, *STAGE0], choices=[*STAGE2, *STAGE0]
    )
    args = parser.parse_args(argv)
    ablations = Ablations(args)
    columns = ("threshold", "miou", "precision", "recall")
    rows: dict[str, dict[str, float]] = {}
    for title in args.variants:
        rows[title] = ablations.variant(title)
        lines = ["| " + " | ".join(["", *columns]) + " |", "| --- " * (len(columns) + 1) + "|"]
        lines += [
            "| "
            + " | ".join([name, f"{row['threshold']:.2f}", *(f"{row[c]:.1f}" for c in columns[1:])])
            + " |"
            for name, row in rows.items()
        ]
        write_json(ablations.out / "ablations.json", {"steps": args.steps, "rows": rows})
        write_text(ablations.out / "ablations.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
