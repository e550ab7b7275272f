"""Trained networks as stages start from them: a checkpoint, read once, of the right classes."""

from __future__ import annotations

from pathlib import Path

from smaf.core.errors import InputError
from smaf.core.files import require_file
from smaf.data.layout import DataRoot
from smaf.engine.plans import AUTO
from smaf.models import (
    RESNET38,
    Checkpoint,
    Classifier,
    build_classifier,
    load_checkpoint,
    read_checkpoint,
)


def check_class_names(checkpoint: Checkpoint, data: DataRoot) -> None:
    """Refuse a checkpoint that was trained for other classes than the data set keeps."""
    names = checkpoint.class_names
    if names and names != data.classes.names:
        raise InputError(
            f"weights {checkpoint.path} have the classes {', '.join(names)}; the data set keeps "
            f"{', '.join(data.classes.names)}: name the right --classes, or other weights"
        )


def trained_classifier(weights: str | Path, data: DataRoot, *, head: str = AUTO) -> Classifier:
    """Build the classifier that a checkpoint holds, with its backbone, output stride and head.

    `head` other than `auto` asks for another one: an EPS checkpoint fits `"smaf"`, too, and a
    release's plain-CAM checkpoint `"cls"`. Raises :class:`InputError` where the file holds no
    classifier, or one of other classes.
    """
    require_file(
        Path(weights),
        "weights",
        "train them (stage 0: train_eps, stage 2: train_fusion), or name a checkpoint with "
        "--weights",
    )
    checkpoint = read_checkpoint(weights)
    info = checkpoint.classifier
    if info is None:
        raise InputError(
            f"weights {weights} have no head: they are no trained classifier; run stage 0 "
            "(train_eps --weights) with them first"
        )
    check_class_names(checkpoint, data)
    model = build_classifier(
        info.backbone,
        num_classes=data.num_classes,
        head=info.head if head == AUTO else head,
        output_stride=None if info.backbone == RESNET38 else info.output_stride,
    )
    load_checkpoint(model, checkpoint, adapt_head=True)
    return model
