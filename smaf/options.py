"""The options that entry scripts share, and what they build from them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from smaf.core.device import DEVICES, PRECISIONS
from smaf.core.errors import InputError
from smaf.core.files import require_file
from smaf.core.record import CONTENTS, checksum
from smaf.core.views import LABEL_FILTERS, MAX_VIEW_PIXELS, SCALES, Views
from smaf.data.augment import Augmentation
from smaf.data.layout import DataRoot, open_data
from smaf.engine.loop import LoopSettings
from smaf.engine.optim import OPTIMISERS, OptimSettings
from smaf.engine.outputs import LABELS, LIST, settings_digest
from smaf.engine.training import RunFolder
from smaf.models import (
    HEADS,
    IMAGENET,
    RESNET38,
    Classifier,
    Trainable,
    build_classifier,
    load_checkpoint,
    read_checkpoint,
)

DATA_ROOT = "dataset/VOC2012"
LOGDIR = Path("smaf/logdir")
AUTO = "auto"
Net = TypeVar("Net", bound=Trainable)
# They say how a run goes, not what it gives
_CONTROL = {"resume", "overwrite", "out"}
# They say where something lies: its contents are compared instead
_PLACES = {"data_root", "list", "classes", "class_names", "labels", "cam_dir", "target_dir"}


def add_data_options(parser: argparse.ArgumentParser, *, list_name: str) -> None:
    """--data_root, --list and the class and label files."""
    group = parser.add_argument_group("data set")
    group.add_argument("--data_root", default=DATA_ROOT, help="data set in VOC layout")
    group.add_argument(
        "--list", default=list_name, help="name below ImageSets/Segmentation, or a .txt file of ids"
    )
    group.add_argument(
        "--class_names",
        help="file of the data set's class names, instead of metadata/*/labels.txt, "
        "else PASCAL VOC's",
    )
    group.add_argument(
        "--classes",
        help="file of class names to keep; other labels are dropped, their pixels ignored",
    )
    group.add_argument(
        "--labels",
        help="image-level labels (.npy or .csv), instead of metadata/*/cls_labels.npy, "
        "image_labels.csv or labels.csv",
    )


def add_run_options(parser: argparse.ArgumentParser, *, out: str) -> None:
    """--out, --device and how the run goes."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--out", default=out, help="output folder; a run in it goes on where it stopped"
    )
    group.add_argument("--overwrite", action="store_true", help="start afresh")
    group.add_argument("--device", default="auto", choices=DEVICES, help="where to compute")
    group.add_argument(
        "--precision", default="fp32", choices=PRECISIONS, help="mixed precision of forward passes"
    )
    group.add_argument(
        "--num_workers", type=int, default=2, help="processes that read photographs or run the CRF"
    )


def add_head_option(parser: argparse.ArgumentParser) -> None:
    """--head of a trained classifier."""
    parser.add_argument(
        "--head",
        default=AUTO,
        choices=(AUTO, *HEADS),
        help=(
            "auto: the weights' own; cls for a release's plain-CAM checkpoint (its keys are EPS's)"
        ),
    )


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """Scales and flips of stage 1."""
    group = parser.add_argument_group("views")
    group.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=list(SCALES),
        help="factors of the photograph's size",
    )
    group.add_argument("--no_flip", action="store_true", help="do not use mirror images")
    group.add_argument(
        "--long_side",
        type=int,
        help="longer side in pixels at scale 1; default: the photograph's own",
    )
    group.add_argument(
        "--label_filter",
        default="maps",
        choices=LABEL_FILTERS,
        help=(
            "image-level labels act on the softmax's maps, as published, or on the logits before "
            "it: then classes that the photograph does not show take nothing from those it does"
        ),
    )
    group.add_argument(
        "--max_view_pixels", type=int, default=MAX_VIEW_PIXELS, help="size cap of a view"
    )


def add_training_options(parser: argparse.ArgumentParser, *, jitter: bool) -> None:
    """The optimiser, the schedule and the crops of stages 0 and 2; defaults are the published
    recipe's."""
    crops = Augmentation()
    group = parser.add_argument_group("training")
    add_loop_options(
        group,
        LoopSettings(),
        momentum="SGD's momentum; the release passes its weight decay in this "
        "place, so 5e-4 is faithful",
    )
    group.add_argument(
        "--cells",
        default="corners",
        choices=("corners", "centres"),
        help=(
            "where a CAM's cells lie in the crop when it is compared with a map: corners as "
            "published, centres where resizing takes them to be"
        ),
    )
    group.add_argument(
        "--resize_long",
        type=int,
        nargs=2,
        default=list(crops.long_side),
        metavar=("MIN", "MAX"),
        help="range of the photograph's longer side",
    )
    group.add_argument(
        "--crop", type=int, default=crops.crop, help="side of the square crop, in pixels"
    )
    if jitter:
        group.add_argument("--no_jitter", action="store_true", help="no colour jitter")
    add_course_options(group, LoopSettings())


def add_loop_options(group: argparse._ArgumentGroup, loop: LoopSettings, *, momentum: str) -> None:
    """Seed, schedule and optimiser; the defaults are those of `loop`."""
    optim = loop.optim
    group.add_argument(
        "--seed", type=int, default=1337, help="seed of initial weights, order, crops and dropout"
    )
    group.add_argument("--steps", type=int, default=loop.steps, help="steps of the optimiser")
    group.add_argument(
        "--batch_size",
        type=int,
        default=loop.batch_size,
        help="photographs a forward pass and process",
    )
    group.add_argument(
        "--accumulate", type=int, default=loop.accumulate, help="forward passes a step"
    )
    group.add_argument("--optimiser", default=optim.optimiser, choices=OPTIMISERS, help="optimiser")
    group.add_argument(
        "--lr",
        type=float,
        default=optim.lr,
        help="first rate of convolution weights; biases have ×2",
    )
    group.add_argument(
        "--head_factor",
        type=float,
        default=optim.head_factor,
        help="rate of new layers, times --lr",
    )
    group.add_argument("--momentum", type=float, default=optim.momentum, help=momentum)
    group.add_argument(
        "--weight_decay",
        type=float,
        default=optim.weight_decay,
        help="decay of weights, not of biases",
    )
    group.add_argument(
        "--power", type=float, default=optim.power, help="rate = lr · (1 - step/steps)^power"
    )
    group.add_argument(
        "--batchnorm", default="frozen", choices=("frozen", "free"), help="BatchNorm in training"
    )
    group.add_argument(
        "--freeze",
        nargs="+",
        default=[],
        metavar="LAYER",
        help="layers of the backbone that stay as they are (conv_stem blocks.0)",
    )


def add_course_options(group: argparse._ArgumentGroup, loop: LoopSettings) -> None:
    """Resume, checkpoints and validation."""
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on from --out's checkpoint, fail if there is none "
        "(without it: go on if there is one)",
    )
    group.add_argument(
        "--checkpoint_minutes",
        type=float,
        default=loop.checkpoint_minutes,
        help="minutes between checkpoints",
    )
    group.add_argument(
        "--val_list", help="list to validate on, where its masks exist; training never reads them"
    )
    group.add_argument(
        "--val_every", type=int, default=loop.val_every, help="steps between validations"
    )
    group.add_argument(
        "--val_long_side",
        type=int,
        help="longer side of validation's photographs; default: their own",
    )


def _positive(args: argparse.Namespace, names: Sequence[str]) -> None:
    for name in names:
        value = getattr(args, name, None)
        values = value if isinstance(value, list) else [value]
        if any(v is not None and not 0 < v < math.inf for v in values):
            shown = " ".join(map(str, values))
            raise InputError(f"--{name} {shown}: expected more than 0")


def checked(args: argparse.Namespace) -> argparse.Namespace:
    """Check the ranges of the shared options, before anything is loaded."""
    _positive(
        args,
        (
            "steps",
            "batch_size",
            "accumulate",
            "lr",
            "head_factor",
            "crop",
            "resize_long",
            "scale",
            "scales",
            "long_side",
            "max_view_pixels",
            "val_every",
            "val_long_side",
            "power",
            "rate_every",
            "loss_weight",
        ),
    )
    for name in (
        "num_workers",
        "momentum",
        "weight_decay",
        "checkpoint_minutes",
        "seed",
        "saliency_weight",
    ):
        if not 0 <= getattr(args, name, 0) < math.inf:
            raise InputError(f"--{name} {getattr(args, name)}: expected 0 or more")
    for name in ("resize_long", "scale"):
        low, high = getattr(args, name, None) or (1, 1)
        if low > high:
            kind = "length" if name == "resize_long" else "factor"
            raise InputError(f"--{name} {low} {high}: expected the smaller {kind} first")
    if getattr(args, "crop", 8) < 8:
        raise InputError(f"--crop {args.crop}: expected at least 8 pixels")
    for name in ("tau", "lam", "ema_decay", "prototype_momentum", "score"):
        if not 0 <= getattr(args, name, 0) <= 1:
            raise InputError(f"--{name} {getattr(args, name)}: expected a value from 0 to 1")
    for name in ("threshold", "background"):
        if not 0 < getattr(args, name, 0.5) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: expected a value between 0 and 1")
    return args


def data_from(args: argparse.Namespace) -> DataRoot:
    """Open the data set that the options name."""
    return open_data(
        args.data_root,
        classes=args.classes,
        class_names=args.class_names,
        labels=args.labels,
        mask_folder=getattr(args, "mask_dir", None),
    )


def loop_from(args: argparse.Namespace) -> LoopSettings:
    """The training loop's settings."""
    optim = OptimSettings(
        optimiser=args.optimiser,
        lr=args.lr,
        momentum=args.momentum,
        weight_decay=args.weight_decay,
        power=args.power,
        head_factor=args.head_factor,
        rate_every=getattr(args, "rate_every", 1),
    )
    return LoopSettings(
        steps=args.steps,
        batch_size=args.batch_size,
        accumulate=args.accumulate,
        precision=args.precision,
        optim=optim,
        num_workers=args.num_workers,
        checkpoint_minutes=args.checkpoint_minutes,
        val_every=args.val_every,
    )


def augmentation_from(args: argparse.Namespace) -> Augmentation:
    """The crops' ranges; stage 2 has no colour jitter, stage 4 only where it is asked for."""
    jitter = (
        Augmentation().jitter
        if not getattr(args, "no_jitter", True) or getattr(args, "jitter", False)
        else None
    )
    if args.resize_long is None:
        return Augmentation(scale=tuple(args.scale), crop=args.crop, jitter=jitter)
    return Augmentation(
        long_side=tuple(args.resize_long),
        crop=args.crop,
        jitter=jitter,
        centres=getattr(args, "cells", "corners") == "centres",
    )


def prepare_training(model: Net, args: argparse.Namespace) -> Net:
    """Freeze what the options name, let gradients reach the rest; return the model."""
    model.freeze_batchnorm = args.batchnorm == "frozen"
    model.freeze(args.freeze)
    return model.set_trainable()


def views_from(args: argparse.Namespace) -> Views:
    """Stage 1's views."""
    return Views(
        scales=tuple(args.scales),
        flip=not args.no_flip,
        long_side=args.long_side,
        max_pixels=args.max_view_pixels,
        label_filter=args.label_filter,
    )


def folder_from(args: argparse.Namespace) -> RunFolder:
    """The output folder of a training."""
    return RunFolder(Path(args.out), resume=args.resume, overwrite=args.overwrite)


def facts_from(args: argparse.Namespace, data: DataRoot, *, labels: bool = True) -> dict[str, Any]:
    """The settings that decide a run's result. What files hold counts, not where they lie:
    checksums stand for them.

    `labels`: whether image-level labels take part.
    """
    facts = {key: value for key, value in vars(args).items() if key not in _CONTROL | _PLACES}
    facts["class_list"], facts["source_classes"] = (
        list(data.classes.names),
        list(data.classes.source),
    )
    ids = data.ids(args.list)
    facts[LIST] = checksum(ids)
    if labels:
        facts[LABELS] = checksum(data.labels_of(ids).tobytes())
    for name, suffix in (("cam_dir", "npz"), ("target_dir", "png")):
        if folder := getattr(args, name, None):
            facts[f"{CONTENTS}--{name}"] = settings_digest(
                Path(folder), [f"{i}.{suffix}" for i in ids]
            )
    weights = facts.get("weights")
    if weights and weights != IMAGENET and Path(weights).is_file():
        facts["weights"] = checksum(Path(weights).read_bytes())
    return facts


def check_start(weights: str, data: DataRoot) -> None:
    """Refuse weights to start from that were trained for other classes than the data set keeps."""
    if weights in {IMAGENET, "none"}:
        return
    _check_classes(weights, read_checkpoint(weights).class_names, data)


def _check_classes(weights: str, names: tuple[str, ...], data: DataRoot) -> None:
    if names and names != data.classes.names:
        raise InputError(
            f"weights {weights} have the classes {', '.join(names)}; the data set keeps "
            f"{', '.join(data.classes.names)}: name the right --classes, or other weights"
        )


def trained_classifier(weights: str, data: DataRoot, *, head: str = AUTO) -> Classifier:
    """Build the classifier that a checkpoint holds, with its backbone, output stride and (`auto`)
    head.

    Weights of other classes than the data set keeps are refused. An EPS checkpoint fits
    `head="smaf"`, too.
    """
    require_file(
        Path(weights),
        "weights",
        "train them (stage 0: train_eps, stage 2: train_fusion), or name a "
        "checkpoint with --weights",
    )
    checkpoint = read_checkpoint(weights)
    info = checkpoint.classifier
    if info is None:
        raise InputError(
            f"weights {weights} have no head: they are no trained classifier; run stage 0 "
            "(train_eps --weights) with them first"
        )
    _check_classes(weights, info.class_names, data)
    model = build_classifier(
        info.backbone,
        num_classes=data.num_classes,
        head=info.head if head == AUTO else head,
        output_stride=None if info.backbone == RESNET38 else info.output_stride,
    )
    load_checkpoint(model, checkpoint, adapt_head=True)
    return model
