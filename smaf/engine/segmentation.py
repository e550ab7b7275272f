"""Stage 4: train a segmentation network on pseudo masks (or, for the upper bound, on true ones)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from smaf.core.classes import IGNORE
from smaf.core.errors import InputError, MissingInputError
from smaf.core.images import MASK_SUFFIXES, find_images
from smaf.data.augment import TARGET_STRIDE, Augmentation
from smaf.data.layout import DataRoot
from smaf.data.streams import MaskStream
from smaf.engine import distributed
from smaf.engine.inference import check_classes
from smaf.engine.loop import LoopSettings
from smaf.engine.training import SEGMENTER, RunFolder, train
from smaf.engine.truth import check_shown
from smaf.engine.validation import validator
from smaf.models import Segmenter, write_checkpoint
from smaf.ops import segmentation_loss

log = logging.getLogger("smaf")


@dataclass(frozen=True)
class SegmentationTask:
    """Cross-entropy of every logits map of the network; at its own size, or with `fine` at a
    quarter of the crop."""

    fine: bool = False

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :class:`smaf.engine.loop.Task`."""
        stride = TARGET_STRIDE if self.fine else None
        return segmentation_loss(network(batch["image"]), batch["mask"], stride=stride), {}

    def after_step(self, model: nn.Module) -> None:
        """Nothing to do."""

    def state_dict(self) -> dict[str, Any]:
        """Stage 4 keeps no state of its own."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take back."""


def check_targets(stream: MaskStream, ids: Sequence[str], data: DataRoot) -> dict[str, int]:
    """Read every target mask once: the number of images that show each class, in the order of the
    classes.

    Raises :class:`InputError` for a value outside the classes, and where no mask has a class; warns
    of classes that no mask has.
    """
    shown = np.zeros(256, dtype=np.int64)
    for image_id in tqdm(
        ids, desc="targets", unit="mask", mininterval=1.0, disable=distributed.rank() > 0
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
    if stream.masks_folder is None:
        check_shown(shown > 0, f"the true masks below {data.root}", of=data)
    else:
        check_shown(shown > 0, f"the targets in {stream.masks_folder}")
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
    found = find_images([folder], ids, suffixes=MASK_SUFFIXES)
    missing = [i for i in ids if i not in found]
    if missing:
        raise MissingInputError(
            f"target {folder / f'{missing[0]}.png'} (and {len(missing) - 1} more) does not exist: "
            "run stage 3 (gen_pm) on this list, or name its folder with --target_dir"
        )
    check_classes(folder, data)


def train_seg(
    model: Segmenter,
    data: DataRoot,
    *,
    list_name: str,
    target_dir: Path | None,
    task: SegmentationTask,
    augmentation: Augmentation,
    seed: int,
    settings: LoopSettings,
    folder: RunFolder,
    facts: Mapping[str, Any],
    device: torch.device,
    val_list: str | None = None,
    val_long_side: int | None = None,
) -> Path:
    """Run stage 4 and return the network's path.

    `target_dir` holds the targets `<id>.png`, values 0..C or 255 (ignored); None: the data set's
    true masks, the upper bound.
    """
    ids = data.ids(list_name)
    data.require(ids, masks=target_dir is None)
    if target_dir is not None:
        require_targets(target_dir, ids, data)
    stream = MaskStream(
        data, ids, augmentation=augmentation, seed=seed, mean=model.mean, std=model.std
    )
    stream.masks_folder, stream.bgr = target_dir, model.bgr
    if val_list:
        data.require(data.ids(val_list), masks=True)
    validate = validator(data, val_list, background=None, long_side=val_long_side)
    with folder.open(facts, images=len(ids)) as run:
        check_targets(stream, ids, data)
        return train(
            model,
            task,
            stream,
            settings=settings,
            run=run,
            device=device,
            validate=validate,
            save=lambda path: write_checkpoint(path, model, data.classes.names),
            result_name=SEGMENTER,
        )
