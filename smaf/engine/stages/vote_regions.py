"""Between stages 3 and 4, beyond the paper: regions of masks judged by their like elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from tqdm import tqdm

from smaf.core.classes import IGNORE
from smaf.core.device import autocast
from smaf.core.errors import InputError, MissingInputError, during
from smaf.core.images import MASK_SUFFIXES, find_images, read_mask, write_mask
from smaf.core.options import FRACTION, NOT_NEGATIVE, POSITIVE, Range, Role, option, part
from smaf.core.record import CONTENTS, checksum
from smaf.core.tensors import normalise
from smaf.core.views import Views
from smaf.data.layout import DataRoot
from smaf.engine.fused import check_classes
from smaf.engine.outputs import Output, OutputRun, Places, image_run, settings_of
from smaf.engine.plans import Compute, StagePlan, listed_as
from smaf.engine.precision import inference_trial, with_precision
from smaf.engine.region_bank import BankMaker, read_bank, superpixels, write_bank
from smaf.engine.stages.gen_pm import check_mask, write_class_list
from smaf.engine.trained import trained_classifier
from smaf.models import IMAGENET, Classifier, build_classifier
from smaf.ops.bank import Bank, confident, region_features, regions_of, voted
from smaf.ops.views import resize_view, working_size

BANK = "bank.npz"
_MARGIN = 6  # pixels; beside another value a mask is not taken for sure
Features = Callable[[str], np.ndarray]
Vote = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class VotePlan(StagePlan):
    """Plan of the vote."""

    GROUP: ClassVar[str] = "vote"
    command: ClassVar[str] = "vote_regions"

    list_name: str = listed_as("train")
    target_dir: str | Path | None = option(
        None,
        "masks <id>.png that are to be mended; default: stage 3's, below --data_root",
        role=Role.CONTENTS,
        files=".png",
    )
    weights: str | Path = option(
        IMAGENET,
        "what tells regions apart: imagenet (--backbone's, installed or fetched), or a "
        "classifier's file",
        role=Role.CONTENTS,
    )
    backbone: str = option("tf_efficientnet_lite0", "any timm model, with --weights imagenet")
    superpixels: int = option(
        100,
        "about how many a photograph is cut into (SLIC)",
        within=Range(lambda n: n >= 2, "2 or more"),
    )
    neighbours: int = option(25, "regions that vote", within=POSITIVE)
    share: float = option(0.6, "of the votes that changes a region", within=FRACTION)
    changes: str = option(
        "classes",
        "classes: from one class of the labels to another; all: also from and to background",
        choices=("classes", "all"),
    )
    min_pixels: int = option(300, "of a region of the bank", within=POSITIVE)
    bank_size: int = option(
        1000, "most regions of a class, and 2.5 times as many of background", within=POSITIVE
    )
    seed: int = option(1337, "of the choice where there are more", within=NOT_NEGATIVE)
    long_side: int = option(448, "longer side of what the network sees", within=POSITIVE)
    compute: Compute = part(Compute)

    def located(self, places: Places) -> VotePlan:
        """The plan with the files of a whole run where it names none."""
        return self.filled(target_dir=places.masks)

    def build(self, data: DataRoot) -> Classifier:
        """The network whose features are compared."""
        if self.weights != IMAGENET:
            return trained_classifier(self.weights, data)
        return build_classifier(
            self.backbone, num_classes=data.num_classes, head="eps", pretrained=IMAGENET
        )


def _extractor(model: Classifier, data: DataRoot, plan: VotePlan) -> Features:
    """Id → the features (D, h, w) float32 of its photograph."""
    device, views = next(model.parameters()).device, Views((1.0,), False, plan.long_side)

    @torch.inference_mode()
    def features(image_id: str) -> np.ndarray:
        with during(f"comparing regions of {data.photo_path(image_id)}"):
            photo = data.photo(image_id)
            view = resize_view(photo, working_size(photo.size, views), 1.0)
            pixels = normalise(view, model.mean, model.std)[None].to(device)
            with autocast(device, plan.compute.precision):
                seen = model(pixels.contiguous(memory_format=torch.channels_last))
            return np.asarray(seen.features[0].float().cpu())

    return features


class _Masks:
    """The masks of a list, as they are before the vote."""

    def __init__(self, data: DataRoot, ids: Sequence[str], folder: Path) -> None:
        self.data, self.paths = data, find_images([folder], ids, suffixes=MASK_SUFFIXES)
        missing = [image_id for image_id in ids if image_id not in self.paths]
        if missing:
            raise MissingInputError(
                f"mask {folder / missing[0]}.png (and {len(missing) - 1} more) does not exist: run "
                "stage 3 (gen_pm) on this list, or name its folder with --target_dir"
            )
        check_classes(folder, data)

    def mask(self, image_id: str) -> np.ndarray:
        """(H, W) uint8; a value that is no class of the photograph's labels is an error."""
        path = self.paths[image_id]
        check_mask(path, self.data, image_id)
        return read_mask(path, size=self.data.photo_size(image_id))


def _progress(ids: Sequence[str], what: str) -> Iterator[str]:
    yield from tqdm(ids, desc=what, unit="image", mininterval=1.0)


def _bank(
    masks: _Masks, features: Features, ids: Sequence[str], plan: VotePlan, path: Path
) -> Bank:
    """The bank of the list: read where a stopped run left it, else made and written."""
    if path.is_file():
        return read_bank(path)
    maker = BankMaker(plan.bank_size, plan.seed)
    for number, image_id in enumerate(_progress(ids, "bank")):
        sure = confident(masks.mask(image_id), _MARGIN)
        pieces = superpixels(masks.data.photo(image_id), plan.superpixels)
        regions, values = regions_of(sure, pieces)
        means, pixels = region_features(features(image_id), regions, len(values))
        large = pixels >= plan.min_pixels
        maker.add(Bank(means[large], values[large], np.full(large.sum(), number)))
    bank = maker.bank().without_farthest()
    if not (bank.values > 0).any():
        raise InputError(
            f"no mask in {plan.target_dir} has a region of a class with {plan.min_pixels} pixels: "
            "take fewer --min_pixels, or fewer --superpixels"
        )
    write_bank(path, bank)
    return read_bank(path)  # as a run that goes on has it


def _mended(
    mask: np.ndarray, pieces: np.ndarray, features: np.ndarray, vote: Vote, plan: VotePlan
) -> np.ndarray:
    """The mask (H, W) uint8 with the regions changed that the vote changes."""
    regions, values = regions_of(mask, pieces)
    means, _ = region_features(features, regions, len(values))
    best, share = vote(means)
    changes = (share >= plan.share) & (share > 0)
    if plan.changes == "classes":
        changes &= (values > 0) & (best > 0)
    table = np.append(np.where(changes, best, values), IGNORE)  # the last is that of regions -1
    return table[regions].astype(np.uint8)


def _mend(
    masks: _Masks, features: Features, run: OutputRun, ids: Sequence[str], plan: VotePlan
) -> None:
    """Mend the masks of `run.todo` by the bank of `ids`, the whole list."""
    if not run.todo:
        return
    bank = _bank(masks, features, ids, plan, run.folder / BANK)
    number = {image_id: index for index, image_id in enumerate(ids)}
    for image_id in _progress(run.todo, "vote"):
        shown = (np.flatnonzero(masks.data.all_labels[image_id]) + 1).tolist()
        vote = partial(
            voted,
            bank=bank,
            allowed=[0, *shown],
            photo=number[image_id],
            neighbours=plan.neighbours,
        )
        pieces = superpixels(masks.data.photo(image_id), plan.superpixels)
        mask = _mended(masks.mask(image_id), pieces, features(image_id), vote, plan)
        write_mask(run.folder / f"{image_id}.png", mask)


def vote_regions(data: DataRoot, plan: VotePlan, output: Output | Path | str) -> Path:
    """Mend the masks of a list: write them, `<id>.png`, to a folder; return the folder.

    Regions are superpixels, cut where the mask changes. Those that lie well inside a mask make a
    bank of features, `bank.npz`; each region then gets the value that most of the nearest regions
    of other photographs have, among background and the labelled classes, where enough of them
    agree. Masks that are there and whole, of the same settings and list, are not made again.
    Raises :class:`InputError` for data, masks or weights that do not serve.
    """
    plan.require("target_dir")
    output = Output.of(output)
    device = plan.compute.choose_device()
    model = plan.build(data).to(device).to(memory_format=torch.channels_last).eval()
    with plan.compute.limited():
        plan = with_precision(plan, output, device=device, trial=lambda: inference_trial(model))
        ids, settings = data.ids(plan.list_name), settings_of(data, plan)
        data.require(ids, labels=True)
        masks = _Masks(data, ids, Path(plan.target_dir or ""))
        # another list is another bank
        settings = replace(
            settings, values={**settings.values, f"{CONTENTS}the bank": checksum(ids)}
        )
        with image_run(
            output,
            settings,
            ids=ids,
            results=("*.png", BANK),
            check=lambda i: check_mask(output.folder / f"{i}.png", data, i),
            what="masks",
        ) as run:
            write_class_list(output.folder, data)
            _mend(masks, _extractor(model, data, plan), run, ids, plan)
    return output.folder
