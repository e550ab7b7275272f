"""The segmentation network as `smaf predict` takes it: with its settings, also as ONNX."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from smaf.core.predict_settings import PredictSettings
from smaf.core.record import checksum
from smaf.engine.class_scores import chosen_score
from smaf.engine.pipeline.lists import spread
from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import OwnStep
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.engine.stages.test_seg import SegmentPlan
from smaf.engine.stages.train_seg import STUDENT, SegmentationPlan
from smaf.models import write_checkpoint
from smaf.models.export import can_export, export_onnx

log = logging.getLogger("smaf")
_CHOSEN_ON = 400  # photographs, at most
_EXPORT = 30.0  # seconds: PyTorch traces the network twice


def start(run: Scope) -> dict[str, Any]:
    """The weights that the network starts from: the recipe's, or the run's last classifier."""
    asked = SegmentationPlan.of(run.plan.recipe).weights
    return {"weights": run.classifier if asked == STUDENT else asked}


def chosen_on(run: Scope) -> tuple[str, ...]:
    """The photographs of the training list that the network's score is chosen on."""
    return spread(run.lists.train, _CHOSEN_ON)


def onnx_asked(run: Scope) -> bool:
    """Whether an ONNX file is asked for, and this installation writes one."""
    return run.plan.onnx and not onnx_fault()


def onnx_fault() -> str:
    """Why this installation writes no ONNX file: what to do; empty where it does."""
    return "" if can_export() else "pip install --upgrade torch torchvision"


def step(run: Scope) -> OwnStep:
    """The step that writes the network's files."""
    return OwnStep(
        "network",
        "the network's files, its score chosen on {} photographs",
        pack,
        basis,
        (run.at.network,),
        count=len(chosen_on(run)),
        like="test_seg",
        seconds=_EXPORT if onnx_asked(run) else 0.0,
    )


def basis(run: Scope) -> Any:
    """What the files are made of: the trained network; and whether one is missing."""
    trained = run.at.segmenter
    return [
        checksum(trained.read_bytes()) if trained.is_file() else None,
        list(chosen_on(run)),
        _onnx(run).is_file() or not onnx_asked(run),
    ]


def _onnx(run: Scope) -> Path:
    return run.at.network.with_suffix(".onnx")


def pack(run: Scope) -> dict[str, Any]:
    """Choose the score from which a class counts as shown; write `segmenter.pth` and `.onnx`.

    The score has the highest F1 over the training list's image-level labels; no masks are read.
    """
    compute, ids = run.plan.compute, chosen_on(run)
    plan = run.make(SegmentPlan, on="train")  # as its masks without labels are made
    network = TorchNetwork(run.at.segmenter, compute.device, threads=compute.threads)
    chosen = chosen_score(network, run.data, ids, plan.views)
    settings = PredictSettings(plan.views, background=plan.threshold, score=chosen["score"])
    names = run.data.classes.names
    write_checkpoint(run.at.network, network.whole, names, predict=settings, half=True)
    files = [run.at.network.name]
    _onnx(run).unlink(missing_ok=True)  # of an earlier network
    if onnx_asked(run):
        export_onnx(_onnx(run), network.whole.cpu(), names, predict=settings, half=True)
        files.append(_onnx(run).name)
    elif run.plan.onnx:
        log.warning(
            "warning: %s is not written: `%s`, and run the same command again; %s serves `smaf "
            "predict`, too",
            _onnx(run),
            onnx_fault(),
            run.at.network,
        )
    return {**chosen, "from": f"the labels of {len(ids)} photographs", "files": files}
