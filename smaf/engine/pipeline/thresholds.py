"""The background thresholds of masks: chosen on true masks of the training list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smaf.core.views import Views
from smaf.engine.pipeline.crf_thresholds import mious_after_crf
from smaf.engine.pipeline.lists import spread
from smaf.engine.pipeline.scope import NETWORK_THRESHOLD, THRESHOLD, Scope
from smaf.engine.pipeline.step import OwnStep, made
from smaf.engine.plans import crf_threads
from smaf.engine.stages.evaluate import EvaluationPlan, evaluate
from smaf.engine.stages.gen_fusion import FusionPlan
from smaf.engine.stages.gen_pm import MaskPlan
from smaf.engine.stages.test_seg import SegmentPlan


def classifier_maps(run: Scope) -> FusionPlan:
    """The plan of the maps that stage 3's masks are cut from: the last classifier's.

    They are made of all photographs, once: for the threshold, the masks and the report.
    """
    plan = run.make(FusionPlan, on="photographs", weights=run.classifier)
    views = MaskPlan.of(run.plan.recipe).views
    return plan.changed(**_sizes(run, views), label_filter=views.label_filter)


def network_maps(run: Scope) -> SegmentPlan:
    """The plan of the maps by stage 4's network, of the labelled classes, in stage 3's views.

    Its own masks beside them are without CRF, cut at a recipe's threshold.
    """
    plan = run.make(SegmentPlan, on="photographs", weights=run.at.segmenter)
    shown = {"label_filter": "logits", "score": 0.0, "crf": False, "uncertain": "none"}
    cut = {"save_maps": True, "threshold": run.recipe_threshold(NETWORK_THRESHOLD)[0]}
    views = MaskPlan.of(run.plan.recipe).views
    return plan.changed(**_sizes(run, views), **shown, **cut)


def _sizes(run: Scope, views: Views) -> dict[str, Any]:
    """A recipe's views, as the run takes them, by the names of their options."""
    views = run.plan.views(views)
    return {
        "scales": views.scales,
        "flip": views.flip,
        "long_side": views.long_side,
        "max_view_pixels": views.max_pixels,
    }


_CRF_STEPS = (0.0, 0.04, 0.08, 0.12, 0.16)  # below the best one without CRF
_CRF_PHOTOGRAPHS = 60


@dataclass(frozen=True)
class Threshold:
    """A background threshold that is chosen on true masks of the training list.

    Args:
        key: of its step, and the name of the file that the sweep is written to.
        maps: folder of the fused maps that it cuts.
        title: its name in lines; {} is the number of true masks.
    """

    key: str
    maps: Path
    title: str

    def step(self, run: Scope) -> OwnStep:
        """The step that chooses it."""
        count = len(run.lists.thresholds)
        # at most 60 photographs, five times
        return OwnStep(self.key, self.title, self.choose, self.basis, count=count, like="gen_pm")

    def basis(self, run: Scope) -> Any:
        """What it is chosen by: the maps, and which of them have true masks."""
        truths = [run.data.mask_path(image_id).stat() for image_id in run.lists.thresholds]
        return [
            made(self.maps),
            list(run.lists.thresholds),
            [[status.st_size, status.st_mtime_ns] for status in truths],
        ]

    def choose(self, run: Scope) -> dict[str, Any]:
        """The threshold of the highest mIoU on the training list's true masks, after CRF.

        Nothing is trained on these masks. The sweep before CRF is of all, written to `<key>.json`
        and drawn beside it; the best and those below it, which CRF makes better, are tried with CRF
        on a few.
        """
        plan = run.make(EvaluationPlan, on="thresholds", cam_dir=self.maps, sweep=True)
        best = evaluate(run.data, plan, run.at.logdir / f"{self.key}.json").result
        assert best.threshold is not None
        few = spread(run.lists.thresholds, _CRF_PHOTOGRAPHS)
        after = self._after_crf(run, few, best.threshold)
        return {
            "threshold": max(after, key=lambda threshold: after[threshold]),
            "from": f"{best.images} true masks of list {run.plan.list_name}, "
            f"{len(few)} of them with CRF",
            "miou": float(best.matrix.compute()["miou"]),
            "before_crf": best.threshold,
            "after_crf": {str(threshold): miou for threshold, miou in after.items()},
        }

    def _after_crf(self, run: Scope, few: Sequence[str], highest: float) -> dict[float, float]:
        """Threshold → mIoU with CRF, from the highest down for as long as it gets better."""
        threads = crf_threads(run.plan.compute.threads)
        found = dict[float, float]()
        for threshold in (round(highest - step, 2) for step in _CRF_STEPS if step < highest):
            (miou,) = mious_after_crf(
                run.data,
                few,
                self.maps,
                [threshold],
                saliency_weight=run.saliency_weight(self.key),
                crf_side=MaskPlan.of(run.plan.recipe).crf_side,
                threads=threads,
            )
            found[threshold] = miou
            if miou < max(found.values()):
                break
        return found


def of_classifier(run: Scope) -> Threshold:
    """The threshold of stage 3's masks."""
    title = "the background threshold, on {} true masks of the training list"
    return Threshold(THRESHOLD, run.at.student_maps, title)


def of_network(run: Scope) -> Threshold:
    """The threshold of the masks by stage 4's network."""
    title = "the network's background threshold, on {} true masks of the training list"
    return Threshold(NETWORK_THRESHOLD, run.at.network_maps, title)


def used(run: Scope) -> dict[str, Any]:
    """The threshold that the run's masks were cut at, and where it comes from."""
    key = NETWORK_THRESHOLD if run.at.by_network else THRESHOLD
    value, source = run.recipe_threshold(key)
    return run.chosen_threshold(key) or {"threshold": value, "from": source}
