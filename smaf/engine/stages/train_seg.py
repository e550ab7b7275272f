"""Stage 4: train a segmentation network on pseudo masks (or, for the upper bound, on true ones)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from tqdm import tqdm

from smaf.core.classes import IGNORE
from smaf.core.device import seed_everything
from smaf.core.errors import InputError, MissingInputError
from smaf.core.images import MASK_SUFFIXES, find_images
from smaf.core.network_facts import STRIDES
from smaf.core.options import Role, option, part
from smaf.data.augment import TARGET_STRIDE
from smaf.data.layout import DataRoot
from smaf.data.streams import MaskStream
from smaf.engine import distributed
from smaf.engine.corrections import corrections_of
from smaf.engine.distributed import process_group
from smaf.engine.fused import check_classes
from smaf.engine.outputs import SEGMENTER, Output, Places, settings_of
from smaf.engine.plans import Crops, TrainingPlan, corrected_option
from smaf.engine.precision import training_trial, with_precision
from smaf.engine.trained import check_class_names
from smaf.engine.training.loop import LoopSettings
from smaf.engine.training.optim import OptimSettings
from smaf.engine.training.run import tell_background, train, training_run
from smaf.engine.training.validation import validator
from smaf.engine.truth import check_shown
from smaf.models import (
    DEEPLAB,
    IMAGENET,
    Checkpoint,
    Segmenter,
    build_segmenter,
    read_checkpoint,
    write_checkpoint,
)
from smaf.ops import segmentation_loss

log = logging.getLogger("smaf")
STUDENT = "student"  # of --weights: stage 2's classifier


def _published() -> LoopSettings:
    optim = OptimSettings(lr=2.5e-4, momentum=0.9, rate_every=10)
    return LoopSettings(batch_size=5, accumulate=2, optim=optim)


@dataclass(frozen=True)
class SegmentationPlan(TrainingPlan):
    """Plan of stage 4's training; the defaults are DeepLab-V2's published recipe."""

    GROUP: ClassVar[str] = "stage 4"
    command: ClassVar[str] = "train_seg"

    target_dir: str | Path | None = option(
        None,
        "stage 3's masks <id>.png, values 0..C or 255 (ignored); default: those below --data_root",
        role=Role.CONTENTS,
        files=".png",
    )
    true_masks: bool = option(
        False, "train on the data set's true masks instead: the upper bound, not weak supervision"
    )
    corrected: bool = corrected_option()
    network: str = option(DEEPLAB, f"{DEEPLAB}, or any timm model (tf_efficientnet_lite0)")
    weights: str | Path = option(
        IMAGENET,
        "imagenet (installed, or fetched), none, student (stage 2's classifier below --logdir), or "
        "a file: COCO or ImageNet weights, a classifier with this backbone, or a whole network",
        role=Role.CONTENTS,
    )
    output_stride: int | None = option(
        None,
        f"default: 8 for {DEEPLAB}, a vision transformer's patch size, 16 for timm's others",
        kind=int,
        choices=STRIDES,
    )
    decoder: bool = option(
        False,
        "logits at stride 4, with the backbone's features there (tf_efficientnet_lite0 to 4); "
        "starts from weights without it, too",
    )
    loss_at: str = option(
        "logits",
        "where logits and mask are compared: at the logits' size as published, or at a quarter of "
        "the crop",
        choices=("logits", "quarter"),
    )
    loop: LoopSettings = part(_published)
    crops: Crops = part(
        lambda: Crops(resize_long=None, scale=(0.5, 1.5), crop=321, jitter=False),
        without=("cells",),
    )

    @property
    def labels_decide(self) -> bool:
        """The masks teach; image-level labels do not take part."""
        return False

    @property
    def corrections_decide(self) -> bool:
        """Whether corrected masks are among the targets."""
        return self.corrected

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.true_masks and self.corrected:
            raise InputError("--true_masks and --corrected exclude each other: choose one")
        if self.true_masks:
            object.__setattr__(self, "target_dir", None)

    def located(self, places: Places) -> SegmentationPlan:
        """The plan with the files of a whole run where it names none."""
        plan = replace(self, weights=places.student) if self.weights == STUDENT else self
        return plan if plan.true_masks else plan.filled(target_dir=places.masks)

    def build(self, data: DataRoot) -> Segmenter:
        """The network that training starts from; weights of other classes are refused."""
        if self.weights == STUDENT:
            raise InputError(
                "weights student: only a command knows where stage 2's classifier lies (--logdir): "
                "name its file"
            )
        start: str | Checkpoint | None = None if self.weights == "none" else str(self.weights)
        if start not in {IMAGENET, None}:
            start = read_checkpoint(self.weights)
            check_class_names(start, data)
        return build_segmenter(
            self.network,
            num_classes=data.num_classes + 1,
            pretrained=start,
            output_stride=self.output_stride,
            decoder=self.decoder,
        )


@dataclass(frozen=True)
class SegmentationTask:
    """Cross-entropy of every logits map of the network.

    Logits and mask are compared at the logits' size, or with `fine` at a quarter of the crop.
    """

    fine: bool = False

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; see :class:`smaf.engine.training.loop.Task`."""
        stride = TARGET_STRIDE if self.fine else None
        return segmentation_loss(network(batch["image"]), batch["mask"], stride=stride), {}

    def after_step(self, model: nn.Module) -> None:
        """Nothing follows a step."""

    def state_dict(self) -> dict[str, Any]:
        """Stage 4 keeps no state of its own."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to take back."""


def _shown_values(stream: MaskStream, ids: Sequence[str], data: DataRoot) -> tuple[np.ndarray, int]:
    """Read every target once: how many have each value (256,), and how many have any class."""
    shown, with_class = np.zeros(256, dtype=np.int64), np.zeros(1, dtype=np.int64)
    for image_id in tqdm(
        distributed.share(ids),
        desc="targets",
        unit="mask",
        mininterval=1.0,
        disable=distributed.rank() > 0,
    ):
        present = np.bincount(stream.mask(image_id).ravel(), minlength=256) > 0
        outside = np.flatnonzero(present[data.num_classes + 1 : IGNORE])
        if len(outside):
            raise InputError(
                f"mask {stream.mask_path(image_id)} has the value "
                f"{outside[0] + data.num_classes + 1}, the task has the classes "
                f"1..{data.num_classes} (0 background, 255 ignored): name the class list "
                "(--classes, --class_names) that made it"
            )
        shown += present
        with_class += present[1:IGNORE].any()
    distributed.sum_counts(shown, with_class)
    return shown, int(with_class[0])


def check_targets(stream: MaskStream, ids: Sequence[str], data: DataRoot) -> dict[str, int]:
    """Read every target mask once; return the number of images that show each class, by name.

    Each of many processes reads its share. Raises :class:`InputError` for a value outside the
    classes, and where no mask has a class; warns of classes that no mask has, and tells how many
    masks have none.
    """
    shown, with_class = _shown_values(stream, ids, data)
    if stream.masks_folder is None:
        check_shown(shown > 0, f"the true masks below {data.root}", of=data)
    else:
        check_shown(shown > 0, f"the targets in {stream.masks_folder}")
    tell_background(with_class, len(ids), "targets")
    counts = dict(
        zip(
            ("background", *data.classes.names), shown[: data.num_classes + 1].tolist(), strict=True
        )
    )
    empty = [name for name, count in counts.items() if not count]
    if empty and distributed.rank() == 0:
        log.warning(
            "warning: no target has a pixel of %s: the network cannot learn %s",
            ", ".join(empty),
            "it" if len(empty) == 1 else "them",
        )
    return counts


def require_targets(folder: Path, ids: Sequence[str], data: DataRoot) -> None:
    """Check that each id has its mask in `folder`, made with the data set's classes."""
    found = distributed.find_all(
        lambda: find_images([folder], ids, suffixes=MASK_SUFFIXES), len(ids)
    )
    missing = [i for i in ids if i not in found]
    if missing:
        raise MissingInputError(
            f"target {folder / f'{missing[0]}.png'} (and {len(missing) - 1} more) does not exist: "
            "run stage 3 (gen_pm) on this list, or name its folder with --target_dir"
        )
    check_classes(folder, data)


def train_seg(data: DataRoot, plan: SegmentationPlan, output: Output | Path | str) -> Path:
    """Run stage 4 in the folder `output`; return the path of the network's checkpoint.

    The targets are the masks `<id>.png` of the plan's `target_dir`, values 0..C or 255 (ignored),
    or with `true_masks` the data set's, the upper bound; with `corrected` the photographs that have
    a corrected mask learn that one. A stopped run goes on. Raises :class:`InputError` for data,
    targets or weights that do not serve.
    """
    if not plan.true_masks:
        plan.require("target_dir")
    targets = None if plan.true_masks or plan.target_dir is None else Path(plan.target_dir)
    output = Output.of(output)
    device = plan.compute.choose_device()
    seed_everything(plan.seed)
    model = plan.prepare(plan.build(data))
    with plan.compute.limited(), process_group(device):
        plan = with_precision(plan, output, device=device, trial=lambda: training_trial(model))
        ids, settings = data.ids(plan.list_name), settings_of(data, plan)
        data.require(ids, masks=plan.true_masks)
        corrected = corrections_of(data, ids, wanted=plan.corrected, labels=False).ids
        if targets is not None:
            require_targets(targets, [i for i in ids if i not in corrected], data)
        stream = MaskStream(
            data,
            ids,
            masks_folder=targets,
            corrected=corrected,
            augmentation=plan.crops.augmentation(),
            seed=plan.seed,
            mean=model.mean,
            std=model.std,
            bgr=model.bgr,
        )
        validate = validator(model, data, plan.validation, background=None)
        task = SegmentationTask(fine=plan.loss_at == "quarter")

        def save(folder: Path) -> None:
            write_checkpoint(folder / SEGMENTER, model, data.classes.names)

        training = plan.training(model, task, stream, device=device, save=save, validate=validate)
        with training_run(output, settings, images=len(ids)) as run:
            check_targets(stream, ids, data)
            return train(training, run, result=SEGMENTER)
