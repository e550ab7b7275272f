"""How well estimated quality ranks masks: Spearman's correlation with the photographs' IoU.

    .venv/bin/python benchmarks/quality_ranks.py --data_root DATA --classes metadata/animals.txt \
        --list val --out smaf/logdir/quality

Makes fused maps of the list with --weights, by default the shipped ones, and masks of them with
CRF, as `smaf run --masks_by classifier` does; then estimates each mask as `smaf report` does. The
parts are told, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smaf.core.command import run_command
from smaf.core.options import add_options, plan_from
from smaf.data.layout import DataOptions, DataRoot
from smaf.engine.pipeline import RunPlaces
from smaf.engine.reporting.photographs import estimates_of
from smaf.engine.reporting.quality import Estimate, write_quality
from smaf.engine.reporting.runs import ReportedRun
from smaf.engine.stages.gen_fusion import FusionPlan, gen_fusion
from smaf.engine.stages.gen_pm import MaskPlan, gen_pm
from smaf.ops.quality import spearman

_SHIPPED = Path(__file__).resolve().parents[1] / "smaf/weights/animals_lite0.pth"
_PARTS = ("quality", "scales", "crf", "saliency")


def ranks(estimates: Sequence[Estimate]) -> dict[str, tuple[int, float]]:
    """Part → how many photographs have it, and its rank correlation with their IoU.

    >>> ranks([Estimate(scales=0.1 * k, iou=0.2 * k) for k in range(4)])["scales"]
    (4, 1.0)
    """
    found = {}
    for part in _PARTS:
        pairs = [(getattr(e, part), e.iou) for e in estimates if e.iou is not None]
        known = [(value, iou) for value, iou in pairs if value is not None]
        rank = spearman([value for value, _ in known], [iou for _, iou in known])
        found[part] = len(known), round(rank, 3)
    return found


def make(data: DataRoot, list_name: str, weights: Path, out: Path) -> dict[str, Estimate]:
    """Id → the estimate of its mask; maps and masks that are there are not made again."""
    masks = MaskPlan.of("light", list_name=list_name, crf="maps")
    at, views = RunPlaces(out, data.root), masks.views
    fusion = FusionPlan.of("light", list_name=list_name, weights=weights)
    gen_fusion(
        data, fusion.changed(long_side=views.long_side, scales=views.scales), at.student_maps
    )
    gen_pm(data, masks.changed(cam_dir=at.student_maps), at.masks)
    entry = {"settings": {"saliency": True}}
    run = ReportedRun("quality", data, at, entry, (masks.threshold, "the recipe light"))
    return estimates_of(run, data.ids(list_name))


def main(argv: Sequence[str] | None = None) -> None:
    """Make, estimate, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_options(parser, DataOptions())
    parser.add_argument("--list", default="val")
    parser.add_argument("--weights", type=Path, default=_SHIPPED)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    data = plan_from(DataOptions(), args).open()
    estimates = make(data, args.list, args.weights, args.out)
    write_quality(args.out / "quality.csv", estimates)
    for part, (count, rank) in ranks(list(estimates.values())).items():
        print(f"{part:10} {count:5} photographs  Spearman {rank:.3f}")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
