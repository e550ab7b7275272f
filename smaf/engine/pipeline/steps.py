"""The method: the steps of a run, in their order."""

from __future__ import annotations

from smaf.core.recipes import recipe_file
from smaf.engine.outputs import CLASSIFIER, SEGMENTER
from smaf.engine.pipeline import masks as folders
from smaf.engine.pipeline import network, report, scores, thresholds
from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import OwnStep, SaliencyStep, StageStep, Step
from smaf.engine.stages.gen_fusion import FusionPlan, gen_fusion
from smaf.engine.stages.gen_pm import MaskPlan, gen_pm
from smaf.engine.stages.refine_fusion import RefinementPlan, refine_fusion
from smaf.engine.stages.saliency import SaliencyPlan, saliency
from smaf.engine.stages.test_seg import SegmentPlan, test_seg
from smaf.engine.stages.train_eps import EpsPlan, train_eps
from smaf.engine.stages.train_fusion import FusionTrainingPlan, train_fusion
from smaf.engine.stages.train_seg import SegmentationPlan, train_seg


def method(run: Scope) -> list[Step]:
    """All steps of a run; each reads what those before it wrote.

    Without saliency maps there is no background to learn: masks come from plain CAM, and
    self-training is left out. Where the recipe does not refine, neither does the run.
    """
    learn = [_saliency(run), *_classifier(run)] if run.plan.saliency else [*_classifier(run)]
    if run.plan.saliency:
        learn += _self_training(run)
    return [*learn, *_masks(run), *_segmentation(run), *_results(run)]


def _saliency(run: Scope) -> Step:
    return SaliencyStep(
        "saliency",
        "saliency maps of {} photographs",
        saliency,
        lambda: run.make(SaliencyPlan, on="train", device="cpu", **_saliency_network(run)),
        run.data.root / run.data.saliency_folder,
        ".png",
    )


def _saliency_network(run: Scope) -> dict[str, object]:
    return {"model": run.plan.model, "preset": run.plan.preset}


def _classifier(run: Scope) -> list[Step]:
    """Stage 0: the EPS classifier, without saliency maps plain CAM."""
    kind = "EPS" if run.plan.saliency else "plain-CAM"
    return [
        StageStep(
            "train_eps",
            f"training the {kind} classifier, {{}} steps",
            train_eps,
            lambda: run.training(EpsPlan, saliency=run.plan.saliency),
            run.at.eps.parent,
            CLASSIFIER,
        )
    ]


def _self_training(run: Scope) -> list[Step]:
    """Stages 1 and 2: fused maps, refined where the recipe does so; a student learns them."""
    refines = _refines(run.plan.recipe)
    learned = run.at.refined if refines else run.at.fused
    fused = StageStep(
        "gen_fusion",
        "fused maps of {} photographs",
        gen_fusion,
        lambda: _viewed(run, run.make(FusionPlan, on="train", weights=run.at.eps)),
        run.at.fused,
        ".npz",
    )
    refined = StageStep(
        "refine_fusion",
        "refining the maps of {} photographs",
        refine_fusion,
        lambda: run.make(RefinementPlan, on="train", cam_dir=run.at.fused),
        run.at.refined,
        ".npz",
        parallel=True,
    )
    student = StageStep(
        "train_fusion",
        "self-training, {} steps",
        train_fusion,
        lambda: run.training(FusionTrainingPlan, weights=run.at.eps, cam_dir=learned),
        run.at.student.parent,
        CLASSIFIER,
    )
    return [fused, refined, student] if refines else [fused, student]


def _refines(recipe: str | None) -> bool:
    return recipe is not None and recipe_file(recipe, RefinementPlan.command).is_file()


def _viewed(run: Scope, plan: FusionPlan) -> FusionPlan:
    return plan.changed(scales=run.plan.views(plan.views).scales)


def _masks(run: Scope) -> list[Step]:
    """Stage 3: the last classifier's maps of all photographs, cut at a threshold, with CRF."""
    maps = StageStep(
        "final_maps",
        "fused maps for the masks of {} photographs",
        gen_fusion,
        lambda: _viewed(run, thresholds.final_maps(run)),
        run.at.student_maps,
        ".npz",
    )
    threshold = OwnStep(
        "threshold",
        "the background threshold, on {} true masks of the training list",
        thresholds.choose,
        thresholds.basis,
        count=len(run.lists.thresholds),
    )
    cut = {"cam_dir": run.at.student_maps, "crf": "maps"}
    masks = StageStep(
        "gen_pm",
        "pseudo masks of {} photographs",
        gen_pm,
        lambda: run.make(MaskPlan, on="photographs", threshold=run.threshold, **cut),
        run.at.masks,
        ".png",
        parallel=True,
    )
    return [maps, threshold, masks] if run.lists.thresholds else [maps, masks]


def _segmentation(run: Scope) -> list[Step]:
    """Stage 4: a network learns the pseudo masks of the training list, and segments others."""
    train = StageStep(
        "train_seg",
        "training the segmentation network, {} steps",
        train_seg,
        lambda: run.training(SegmentationPlan, target_dir=run.at.masks, **network.start(run)),
        run.at.segmenter.parent,
        SEGMENTER,
    )
    pack = OwnStep(
        "network",
        "the network's files, its score chosen on {} photographs",
        network.pack,
        network.basis,
        (run.at.network,),
        count=len(network.chosen_on(run)),
        like="test_seg",
        seconds=10.0,  # the export
    )
    blind = StageStep(
        "test_seg",
        "the network's masks of {} photographs",
        test_seg,
        lambda: run.make(SegmentPlan, on="segmented", weights=run.network, score=run.score),
        run.at.network_masks,
        ".png",
    )
    known = StageStep(
        "test_seg_known",
        "the network's masks of {} photographs, labels known",
        test_seg,
        lambda: run.make(
            SegmentPlan, on="scored", weights=run.network, label_filter="logits", score=0.0
        ),
        run.at.network_masks_known,
        ".png",
    )
    return [train, pack, blind, known] if run.lists.scored else [train, pack, blind]


def _results(run: Scope) -> list[Step]:
    """Scores where there are true masks, masks in the photographs' folders, and the report."""
    judge = OwnStep(
        "scores",
        "scores on {} true masks of the validation list",
        scores.judge,
        scores.basis,
        count=len(run.lists.scored),
    )
    rest: list[Step] = [
        OwnStep(
            "masks",
            "masks of {} photographs in their folders",
            folders.mirror,
            folders.basis,
            (run.at.mirrored / "classes.txt",),
            count=len(run.lists.photographs),
        ),
        OwnStep(
            "report",
            "the report, with {} photographs",
            report.write,
            report.basis,
            (run.at.logdir / report.NAME,),
            count=len(run.lists.rows),
        ),
    ]
    return [judge, *rest] if run.lists.scored else rest
