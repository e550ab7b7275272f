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

import numpy as np
from PIL import Image
from tqdm import tqdm

from smaf import evaluate, gen_fusion, refine_fusion, train_eps, train_fusion
from smaf.core.command import run_command
from smaf.core.files import read_json, write_bytes, write_json, write_text
from smaf.data.layout import open_data

ROOT = Path(__file__).resolve().parents[1]
HARD = ("--background", "0.4")  # no refinement: the constant where fused maps are best cut
# Title: which maps (refined, fused, edges alone, saliency alone, the first variant's own refined),
# options of stage 2
STAGE2: dict[str, tuple[str, tuple[str, ...]]] = {
    "the light recipe": ("refined", ("--soft_background",)),
    "a second round, on the first one's maps": ("second", ("--soft_background",)),
    "refined by edges (CRF) alone": ("edges", ("--soft_background",)),
    "refined by saliency alone": ("saliency", ("--soft_background",)),
    "not refined, background 0.4": ("fused", HARD),
    "not refined, background 0.3": ("fused", ("--background", "0.3")),
    "not refined, background 0.2 (published)": ("fused", ("--background", "0.2")),
    "not refined, 0.4, no denoising": ("fused", (*HARD, "--no_denoise")),
    "not refined, 0.4, no reactivation": ("fused", (*HARD, "--no_reactivate")),
    "not refined, 0.4, --rectify cosine": ("fused", (*HARD, "--rectify", "cosine")),
    "not refined, 0.4, --rectify proda": ("fused", (*HARD, "--rectify", "proda")),
    "the head at the backbone's rate": ("refined", ("--soft_background", "--head_factor", "1")),
    "half the rate": ("refined", ("--soft_background", "--lr", "1.5e-4")),
    "cells at corners": ("refined", ("--soft_background", "--cells", "corners")),
}
# Title: whose saliency, options of stage 0
STAGE0: dict[str, tuple[str, tuple[str, ...]]] = {
    "EPS, saliency of the data set": ("SALImages", ()),
    "EPS, classical saliency": ("classical", ()),
    "no saliency (plain CAM)": ("SALImages", ("--network", "cls")),
    "EPS, cells at corners": ("SALImages", ("--cells", "corners")),
    "EPS, half the rate": ("SALImages", ("--lr", "1.5e-4")),
}


class Ablations:
    """The variants of one run."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, Path(args.out) / "ablations"
        self.held_out = Path(args.out).resolve() / "held_out"
        self.data = open_data(args.data_root, classes=args.classes)
        self.classes = ["--classes", args.classes] if args.classes else []
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

    def options(self, stage: str, *, root: str | None = None) -> list[str]:
        path = ROOT / "script" / "recipes" / self.args.recipe / f"{stage}.args"
        return [
            *([f"@{path}"] if path.is_file() else []),
            "--data_root",
            root or self.args.data_root,
            *self.classes,
        ]

    def maps(self, kind: str) -> str:
        """The folder of the training list's maps: the held-out run's, or refined anew."""
        fused = self.held_out / "cam_o_vec"
        if kind in {"fused", "refined"}:
            return str(fused if kind == "fused" else self.held_out / "cam_refined")
        own = {"edges": ["--saliency_weight", "0"], "saliency": ["--no_crf"], "second": []}[kind]
        if kind == "second":
            fused = self.out / "second"
            gen_fusion.main(
                [
                    *self.options("gen_fusion"),
                    "--list",
                    self.train_on,
                    "--weights",
                    str(self.folder(next(iter(STAGE2))) / "classifier.pth"),
                    "--out",
                    str(fused),
                ]
            )
        refine_fusion.main(
            [
                *self.options("refine_fusion"),
                "--list",
                self.train_on,
                "--cam_dir",
                str(fused),
                "--out",
                str(self.out / f"maps_{kind}"),
                *own,
            ]
        )
        return str(self.out / f"maps_{kind}")

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
        """The best threshold of the classifier's fused maps, and what they reach at it, in per
        cent."""
        gen_fusion.main(
            [
                *self.options("gen_fusion"),
                "--list",
                self.score_on,
                "--weights",
                str(weights),
                "--out",
                str(folder / "maps"),
            ]
        )
        out = folder / "sweep.json"
        evaluate.main(
            [
                "--data_root",
                self.args.data_root,
                *self.classes,
                "--list",
                self.score_on,
                "--cam_dir",
                str(folder / "maps"),
                "--sweep",
                "--out",
                str(out),
            ]
        )
        result = read_json(out, "sweep", "run again")
        return {
            "threshold": result["threshold"],
            **{key: 100 * result[key] for key in ("miou", "precision", "recall")},
        }

    def variant(self, title: str) -> dict[str, float]:
        """Train and score a variant."""
        steps = ["--steps", str(self.args.steps)]
        folder = self.folder(title)
        if title in STAGE0:
            saliency, own = STAGE0[title]
            train_eps.main(
                [
                    *self.options("train_eps", root=self.root_of(saliency)),
                    "--list",
                    self.train_on,
                    "--out",
                    str(folder),
                    *own,
                    *steps,
                ]
            )
        else:
            kind, own = STAGE2[title]
            train_fusion.main(
                [
                    *[o for o in self.stage2() if o != "--soft_background"],
                    "--list",
                    self.train_on,
                    "--weights",
                    str(self.held_out / "eps_cls_mode" / "classifier.pth"),
                    "--cam_dir",
                    self.maps(kind),
                    "--out",
                    str(folder),
                    *own,
                    *steps,
                ]
            )
        return self.score(folder / "classifier.pth", folder)

    def stage2(self) -> list[str]:
        """The recipe's options of stage 2, word by word: not all variants have its soft
        background."""
        recipe, *rest = self.options("train_fusion")
        if not recipe.startswith("@"):
            return [recipe, *rest]
        lines = Path(recipe[1:]).read_text(encoding="utf-8").splitlines()
        return [*(word for line in lines for word in line.split("#")[0].split()), *rest]


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
