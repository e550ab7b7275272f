"""The method: the steps of a run, in their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from smaf.core.recipes import recipe_file
from smaf.engine.outputs import CLASSIFIER, SEGMENTER
from smaf.engine.pipeline import masks, network, report, scores, thresholds
from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import SaliencyStep, StageStep, Step
from smaf.engine.plans import StagePlan
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
    self-training is left out.
    """
    taught = [_saliency(run), _classifier(run), *_self_training(run)]
    learned = taught if run.plan.saliency else [_classifier(run)]
    return [*learned, *_pseudo_masks(run), *_segmentation(run), *_results(run)]


def _saliency(run: Scope) -> Step:
    """Saliency maps of the photographs that have none."""
    return SaliencyStep(
        "saliency",
        "saliency maps of {} photographs",
        saliency,
        lambda: run.make(
            SaliencyPlan, on=run.salient, device="cpu", model=run.plan.model, preset=run.plan.preset
        ),
        run.data.root / run.data.saliency_folder,
        ".png",
    )


def _classifier(run: Scope) -> Step:
    """Stage 0: the EPS classifier, without saliency maps plain CAM."""
    kind = "EPS" if run.plan.saliency else "plain-CAM"
    return StageStep(
        "train_eps",
        f"training the {kind} classifier, {{}} steps",
        train_eps,
        lambda: run.training(EpsPlan, saliency=run.plan.saliency),
        run.at.eps.parent,
        CLASSIFIER,
    )


def _self_training(run: Scope) -> list[Step]:
    """Stages 1 and 2: fused maps, refined where the recipe does so; a student learns them."""
    recipe = run.plan.recipe
    refines = recipe is not None and recipe_file(recipe, RefinementPlan.command).is_file()
    learned = run.at.refined if refines else run.at.fused
    fused = StageStep(
        "gen_fusion",
        "fused maps of {} photographs",
        gen_fusion,
        lambda: run.viewed(run.make(FusionPlan, on="train", weights=run.at.eps)),
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


def _pseudo_masks(run: Scope) -> list[Step]:
    """Stage 3: the last classifier's maps of all photographs, cut at a threshold, with CRF."""
    maps = StageStep(
        "final_maps",
        "fused maps for the masks of {} photographs",
        gen_fusion,
        lambda: thresholds.classifier_maps(run),
        run.at.student_maps,
        ".npz",
    )
    cut = _cut(run, thresholds.of_classifier(run), run.at.pseudo_masks)
    masks = StageStep("gen_pm", "pseudo masks of {} photographs", gen_pm, *cut, parallel=True)
    return _chosen(run, maps, thresholds.of_classifier(run), masks)


def _cut(
    run: Scope, threshold: thresholds.Threshold, folder: Path
) -> tuple[Callable[[], StagePlan], Path, str]:
    """The plan, folder and files of masks that are cut from maps, with CRF."""

    def plan() -> StagePlan:
        return run.make(
            MaskPlan,
            on="photographs",
            threshold=run.threshold(threshold.key),
            cam_dir=threshold.maps,
            crf="maps",
            saliency_weight=run.saliency_weight(threshold.key),
        )

    return plan, folder, ".png"


def _chosen(run: Scope, maps: Step, threshold: thresholds.Threshold, masks: Step) -> list[Step]:
    """Maps and masks, the threshold between them chosen where there are true masks for that."""
    return [maps, threshold.step(run), masks] if run.lists.thresholds else [maps, masks]


def _segmentation(run: Scope) -> list[Step]:
    """Stage 4: a network learns the pseudo masks of the training list, and segments others."""
    train = StageStep(
        "train_seg",
        "training the segmentation network, {} steps",
        train_seg,
        lambda: run.training(
            SegmentationPlan, target_dir=run.at.pseudo_masks, **network.start(run)
        ),
        run.at.segmenter.parent,
        SEGMENTER,
    )
    blind = StageStep(
        "test_seg",
        "the network's masks of {} photographs",
        test_seg,
        lambda: run.make(SegmentPlan, on="segmented", weights=run.network, score=run.score),
        run.at.network_masks,
        ".png",
    )
    known = _network_masks(run) if run.plan.masks_by == "network" else []
    return [train, network.step(run), blind, *known]


def _network_masks(run: Scope) -> list[Step]:
    """The masks of all photographs again, as stage 3 makes them, of the network's maps."""
    threshold = thresholds.of_network(run)
    maps = StageStep(
        "network_maps",
        "the network's maps of {} photographs, labels known",
        test_seg,
        lambda: thresholds.network_maps(run),
        run.at.network_maps,
        ".npz",
    )
    cut = _cut(run, threshold, run.at.known_masks)
    masks = StageStep(
        "network_masks", "masks of {} photographs by the network", gen_pm, *cut, parallel=True
    )
    return _chosen(run, maps, threshold, masks)


def _results(run: Scope) -> list[Step]:
    """Scores where there are true masks, masks in the photographs' folders, and the report."""
    judged = [scores.step(run)] if run.lists.scored else []
    return [*judged, masks.step(run), report.step(run)]
