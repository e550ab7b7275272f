"""What n corrected photographs are worth: the n worst ones of the training list get true masks in
the place of corrections, and stages 2 and 4 are trained with --corrected.

All points start from the EPS classifier and the refined maps in `--run`, a finished `smaf run`, or
a seed's folder of `benchmarks/ladder.py`; in another folder they are made first. The worst
photographs are those of the lowest quality in its `quality.csv` (columns image, quality), without
that file a seeded sample; those of a larger n contain those of a smaller one. Only photographs with
a true mask count. Each point has a data set of its own, which points to the files of `--data_root`,
but has the corrected masks. Finished steps stay; a stopped curve goes on when the same command is
run again.

Writes to `--out`: `corrections.md`, a table, and `corrections.json`, which `smaf report` draws
where it lies in a run's folder (`--copy_to_run` puts it there):

    {"n": [0, 20],           numbers of corrected photographs, the x axis
     "list": "val",          mIoU is on its true masks,
     "photographs": 225,     of so many photographs
     "trained_on": 1038,     photographs of the training list
     "chosen": "lowest quality" or "a seeded sample",
     "seed": 1337,
     "threshold": 0.38,      of stage 3's masks
     "rows": [{"n": 0,
               "masks": 80.7,            mIoU in per cent: stage 3 + CRF, labels known
               "network": 66.2,          stage 4's network, labels unknown, one scale
               "network_known": 75.4,    and labels known
               "seconds": 900.0}, …]}    of the call that finished the point

The report takes no other entries. One row a point that is done; `rows` may be shorter than `n`
while the curve is made.

    python benchmarks/corrections.py --data_root DATA --classes metadata/animals.txt --run
    smaf/logdir/animals/seed_1337 --out smaf/logdir/animals/corrections
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smaf.commands import Commands, classifier_in
from smaf.core.command import run_command
from smaf.core.errors import InputError
from smaf.core.files import read_json, write_json, write_text
from smaf.core.record import RunRecord, checksum
from smaf.data.layout import CORRECTED_FOLDER, DataRoot, open_data
from smaf.data.pointers import POINTERS, write_pointers
from smaf.engine.outputs import SEGMENTER, Places
from smaf.engine.pipeline.report import QUALITY
from smaf.engine.reporting.correction_curve import CORRECTIONS, LOWEST, SAMPLE, SCORES
from smaf.engine.reporting.quality import read_quality
from smaf.engine.stages.gen_pm import MaskPlan


def worst_first(
    data: DataRoot, ids: Sequence[str], quality: dict[str, float], seed: int
) -> list[str]:
    """Those of `ids` with a true mask: by quality, the lowest first, or without any at random."""
    without = set(data.missing("mask", ids))
    judged = [image_id for image_id in ids if image_id not in without]
    if quality:
        return sorted((i for i in judged if i in quality), key=lambda i: (quality[i], i))
    order = np.random.default_rng(seed).permutation(len(judged))
    return [judged[index] for index in order]


def corrected_set(data: DataRoot, ids: Sequence[str], folder: Path) -> Path:
    """A data set that points to the files of `data`, where the true masks of `ids` are corrected
    ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in data.root.iterdir():
        link = folder / path.name
        if path.name not in {CORRECTED_FOLDER, POINTERS} and not link.exists():
            link.symlink_to(path.resolve())
    if data.pointers is not None and not (folder / POINTERS).exists():
        masks = str(data.pointers.masks_below.resolve()) if data.pointers.masks else None
        write_pointers(folder, str(data.pointers.photographs_below.resolve()), masks)
    corrected = folder / CORRECTED_FOLDER
    shutil.rmtree(corrected, ignore_errors=True)
    corrected.mkdir()
    for image_id in ids:
        mask = data.mask_path(image_id)
        shutil.copyfile(mask, corrected / f"{image_id}{mask.suffix}")
    return folder


def make_start(args: argparse.Namespace) -> None:
    """Stages 0 and 1 and the refinement in `--run`, where they are not done there."""
    at, listed = Places(Path(args.run), Path(args.data_root)), {"list": args.train_on}
    commands = Commands(
        recipe=args.recipe,
        data_root=args.data_root,
        classes=args.classes,
        device=args.device,
        num_workers=args.num_workers,
    )
    if not at.eps.is_file():
        commands.run("train_eps", seed=args.seed, out=at.eps.parent, **listed)
    entry = RunRecord(at.refined, {}).previous()
    if any(at.refined.glob("*.npz")) if entry is None else entry["finished"]:
        return
    commands.run("gen_fusion", weights=at.eps, out=at.fused, **listed)
    commands.run("refine_fusion", cam_dir=at.fused, out=at.refined, **listed)


class Point:
    """One point of the curve: so many corrected photographs."""

    def __init__(self, args: argparse.Namespace, data: DataRoot, ids: Sequence[str]) -> None:
        self.args, self.count, self.out = args, len(ids), Path(args.out) / f"n_{len(ids)}"
        root = corrected_set(data, ids, self.out / "data")
        decide = (args.recipe, args.seed, args.threshold, args.train_on, args.report_on)
        self.of = checksum([list(ids), *map(str, decide)])
        self.commands = Commands(
            recipe=args.recipe,
            data_root=root,
            classes=args.classes,
            device=args.device,
            num_workers=args.num_workers,
            corrected=True if ids else None,
        )

    def row(self) -> dict[str, float]:
        """Train what is not trained yet; the point's scores."""
        done, started = self.out / "row.json", time.monotonic()
        if done.is_file():
            before = read_json(done, "row", "delete it")
            if before["of"] != self.of:
                raise InputError(
                    f"{self.out} was made with other photographs or settings: name another --out"
                )
            return dict(before["row"])
        self.train()
        scores = {
            "masks": self.score("gen_pm", "masks", crf="maps", **self.student, **self.cut),
            "network": self.score("test_seg", "blind", **self.network),
            "network_known": self.score(
                "test_seg", "known", label_filter="logits", score=0.0, **self.network
            ),
        }
        row = {"n": self.count, **scores, "seconds": round(time.monotonic() - started, 1)}
        write_json(done, {"of": self.of, "row": row})
        return row

    @property
    def student(self) -> dict[str, Any]:
        """Stage 2's classifier."""
        return {"weights": classifier_in(self.out / "proda_model")}

    @property
    def network(self) -> dict[str, Any]:
        """Stage 4's network."""
        return {"weights": self.out / "segmenter" / SEGMENTER}

    @property
    def cut(self) -> dict[str, Any]:
        """Stage 3's threshold."""
        return {"threshold": self.args.threshold}

    def train(self) -> None:
        """Stage 2 from the common start, its masks of the training list, stage 4 on them."""
        start, run = Places(Path(self.args.run), Path(self.args.data_root)), self.commands.run
        listed = {"list": self.args.train_on}
        trained = {**listed, "seed": self.args.seed}
        run(
            "train_fusion",
            weights=start.eps,
            cam_dir=start.refined,
            out=self.out / "proda_model",
            **trained,
        )
        targets = self.out / "pseudo_mask"
        run("gen_pm", crf="maps", out=targets, **listed, **self.student, **self.cut)
        run("train_seg", target_dir=targets, out=self.out / "segmenter", **trained, **self.student)

    def score(self, command: str, name: str, **options: Any) -> float:
        """mIoU of the masks that a command makes of the list to report on, in per cent."""
        masks, listed = self.out / name, self.args.report_on
        off: dict[str, Any] = {"evaluate": False} if command == "test_seg" else {}
        self.commands.run(command, list=listed, out=masks, **off, **options)
        report = self.out / f"{name}.json"
        self.commands.run("evaluate", list=listed, pred_dir=masks, out=report)
        return 100 * float(read_json(report, "evaluation", "run again")["miou"])


def table(rows: Sequence[dict[str, float]]) -> str:
    """A Markdown table: a row a point."""
    titles = ["corrected photographs", *SCORES.values()]
    lines = ["| " + " | ".join(titles) + " |", "| --- " * len(titles) + "|"]
    for row in rows:
        cells = [f"{row['n']}", *(f"{row[key]:.1f}" for key in SCORES)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_root", required=True)
    parser.add_argument("--classes")
    parser.add_argument("--run", required=True, help="folder with the classifier and refined maps")
    parser.add_argument("--out", required=True)
    parser.add_argument("--recipe", default="light")
    parser.add_argument("--train_on", default="train_aug")
    parser.add_argument("--report_on", default="val")
    parser.add_argument("--counts", type=int, nargs="+", default=[0, 20, 50, 100])
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--threshold", type=float, help="of stage 3's masks; default: the recipe's")
    parser.add_argument("--quality", help="default: quality.csv in --run, where there is one")
    parser.add_argument("--copy_to_run", action="store_true", help="also write the JSON to --run")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--num_workers", type=int, default=2)
    args = parser.parse_args(argv)
    if args.threshold is None:
        args.threshold = MaskPlan.of(args.recipe).threshold
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Make the curve; write corrections.md and corrections.json after each point."""
    args = parsed(argv)
    data = open_data(args.data_root, classes=args.classes)
    ids, out = data.ids(args.train_on), Path(args.out)
    path = Path(args.quality or Path(args.run) / QUALITY)
    quality = read_quality(path) if args.quality or path.is_file() else {}
    judges = set(data.ids(args.report_on))
    order = worst_first(data, [i for i in ids if i not in judges], quality, args.seed)
    if max(args.counts) > len(order):
        raise InputError(
            f"--counts {max(args.counts)}: {len(order)} photographs of list {args.train_on} have a "
            f"true mask{' and a quality' * bool(quality)}"
        )
    about = {
        "n": sorted(set(args.counts)),
        "list": args.report_on,
        "photographs": len(data.ids(args.report_on)),
        "trained_on": len(ids),
        "chosen": LOWEST if quality else SAMPLE,
        "seed": args.seed,
        "threshold": args.threshold,
    }
    make_start(args)
    rows: list[dict[str, float]] = []
    for count in about["n"]:
        write_text(out / f"n_{count}/corrected.txt", "".join(f"{i}\n" for i in order[:count]))
        rows.append(Point(args, data, order[:count]).row())
        for folder in (out, Path(args.run)) if args.copy_to_run else (out,):
            write_json(folder / CORRECTIONS, {**about, "rows": rows})
        write_text(out / "corrections.md", table(rows) + "\n")
    print(table(rows))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
