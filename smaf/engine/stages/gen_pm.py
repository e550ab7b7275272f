"""Stage 3: pseudo masks from a classifier or from stored fused maps, refined by CRF where asked."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from smaf.core.class_maps import BACKGROUND
from smaf.core.classes import IGNORE
from smaf.core.errors import InputError, during
from smaf.core.files import write_text
from smaf.core.fused_maps import stored_values, write_fused
from smaf.core.images import read_mask, write_mask
from smaf.core.options import NOT_NEGATIVE, OPEN_FRACTION, POSITIVE, Role, option, part
from smaf.core.parallel import Conveyor, conveyor
from smaf.core.proposals import require_proposals
from smaf.core.views import Views
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.engine.distributed import process_group
from smaf.engine.fused import FusedPhoto, check_fused, fuse_list, require_fused, stored_list
from smaf.engine.outputs import Output, OutputRun, Places, image_run, settings_of
from smaf.engine.plans import (
    Compute,
    StagePlan,
    attention_option,
    crf_threads,
    head_option,
    listed_as,
    proposals_option,
    sharpen_option,
)
from smaf.engine.precision import inference_trial, with_precision
from smaf.engine.refining import CRF_KINDS, UNCERTAIN, MaskRule, write_refined
from smaf.engine.saliency import check_saliency
from smaf.engine.trained import trained_classifier
from smaf.models import Classifier, attention_layers
from smaf.ops import sharpen_cams

BEFORE_CRF = "before_crf"
_RESULTS = ("*.png", f"{BEFORE_CRF}/*.png", f"{BEFORE_CRF}/*.npz")
Source = Callable[[Sequence[str]], Generator[FusedPhoto, None, None]]


@dataclass(frozen=True)
class MaskPlan(StagePlan):
    """Plan of stage 3; the defaults are the release's, without CRF."""

    GROUP: ClassVar[str] = "stage 3"
    command: ClassVar[str] = "gen_pm"

    list_name: str = listed_as("train")
    weights: str | Path | None = option(
        None,
        "stage 2's student, or another classifier; default: below --logdir",
        role=Role.CONTENTS,
    )
    head: str = head_option()
    cam_dir: str | Path | None = option(
        None, "use these fused maps instead of --weights", role=Role.CONTENTS, files=".npz"
    )
    threshold: float = option(BACKGROUND, "background threshold", within=OPEN_FRACTION)
    sharpen: str = sharpen_option("sharpen the fused maps first, at a longer side of 250,")
    crf: str = option(
        "none",
        "refine with dense CRF: on the masks, as published (--crf alone), or "
        "on the fused maps, with EPS's values",
        choices=CRF_KINDS,
        const="masks",
    )
    crf_side: int | None = option(
        None,
        "with --crf maps: longer side at which CRF works, its kernels in proportion; default: the "
        "photograph's",
        kind=int,
        within=POSITIVE,
    )
    saliency_weight: float = option(
        0.0,
        "power of the saliency map's odds that multiply the classes'; 0: without saliency",
        within=NOT_NEGATIVE,
    )
    proposals: str | Path | None = proposals_option()
    uncertain: str = option(
        "none",
        "mark pixels 255, which stage 4 ignores: where the masks at the thresholds of --band "
        "disagree, or where CRF disagrees with the mask before it",
        choices=UNCERTAIN,
    )
    band: tuple[float, float] = option(
        (0.15, 0.35),
        "background thresholds of --uncertain thresholds",
        many=2,
        metavar=("LOW", "HIGH"),
    )
    attention_refine: bool = attention_option()
    views: Views = part(Views)
    compute: Compute = part(Compute)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cam_dir is not None:  # the maps are there: the network has no say
            object.__setattr__(self, "weights", None)
            object.__setattr__(self, "attention_refine", False)
        low, high = self.band
        if self.uncertain == "crf" and self.crf == "none":
            raise InputError(
                "--uncertain crf compares masks before and after CRF: add --crf, or take thresholds"
            )
        if self.uncertain == "thresholds" and self.crf == "masks":
            raise InputError(
                "--uncertain thresholds needs maps, --crf masks has none: use --crf maps"
            )
        if self.uncertain == "thresholds" and not 0 < low <= high < 1:
            raise InputError(
                f"--band {low:g} {high:g}: expected thresholds between 0 and 1, the lower one first"
            )

    @property
    def saliency_decides(self) -> bool:
        """Whether the saliency maps of the list take part in the result."""
        return self.saliency_weight > 0

    def located(self, places: Places) -> MaskPlan:
        """The plan with the files of a whole run where it names none."""
        return self if self.cam_dir is not None else self.filled(weights=places.student)

    def rule(self, num_classes: int) -> MaskRule:
        """How maps become a mask."""
        proposals = None if self.proposals is None else Path(self.proposals)
        return MaskRule(
            num_classes,
            self.threshold,
            self.crf,
            self.uncertain,
            self.band,
            proposals,
            self.saliency_weight,
            self.crf_side,
        )


def check_mask(path: Path, data: DataRoot, image_id: str) -> None:
    """Check that a pseudo mask is whole and shows its labels alone.

    Raises :class:`InputError`, or FileNotFoundError where there is none.
    """
    values = set(np.unique(read_mask(path)).tolist()) - {0, IGNORE}
    if other := sorted(values - set((np.flatnonzero(data.all_labels[image_id]) + 1).tolist())):
        raise InputError(f"mask {path} has the values {other}, which are not of the image's labels")


def write_class_list(folder: Path, data: DataRoot) -> None:
    """Write `classes.txt`, which names the values of the masks in a folder."""
    if distributed.rank() == 0:
        names = ["background", *data.classes.names]
        write_text(folder / "classes.txt", "\n".join(names) + "\n")


class _Masks:
    """The masks of one run: where they lie, which are whole, how they are made.

    With CRF or proposals the masks before lie in `before_crf`, and the maps that they come from,
    where no folder holds them already.
    """

    def __init__(self, data: DataRoot, plan: MaskPlan, folder: Path) -> None:
        self.data, self.folder, self.rule = data, folder, plan.rule(data.num_classes)
        self.refines = plan.crf != "none" or plan.proposals is not None
        made = plan.cam_dir is None or plan.sharpen != "none"
        self.keeps_maps = plan.crf == "maps" and made
        self.raw = folder / BEFORE_CRF if self.refines else folder
        self.maps = self.raw if made else Path(plan.cam_dir or "")

    def check_raw(self, image_id: str) -> None:
        """Raise where the mask before CRF, or its maps, are not there and whole."""
        check_mask(self.raw / f"{image_id}.png", self.data, image_id)
        if self.keeps_maps:
            check_fused(self.raw / f"{image_id}.npz", self.data, image_id)

    def check(self, image_id: str) -> None:
        """Raise where an image is not done."""
        self.check_raw(image_id)
        if self.refines:
            check_mask(self.folder / f"{image_id}.png", self.data, image_id)

    def has_raw(self, image_id: str) -> bool:
        """Whether a stopped run made all but the mask after CRF."""
        if not self.refines:
            return False
        try:
            self.check_raw(image_id)
        except (InputError, FileNotFoundError):
            return False
        return True

    def make(self, fused: FusedPhoto, belt: Conveyor) -> None:
        """Write the mask of a photograph, and have it refined."""
        image_id, cams = fused.image_id, fused.cams
        # gone first: a run that is stopped between must not leave one of an older mask
        (self.folder / f"{image_id}.png").unlink(missing_ok=True)
        if self.keeps_maps:
            write_fused(self.raw / f"{image_id}.npz", cams, fused.shape)
        saliency = self._saliency(fused)
        mask = self.rule.mask(cams, fused.shape, saliency)
        write_mask(self.raw / f"{image_id}.png", mask)
        if self.refines:
            if self.keeps_maps:  # as they are read back, where a run is stopped here
                fused = fused._replace(cams=stored_values(cams))
            self._refine(fused, mask, saliency, belt)

    def refine_stored(self, image_id: str, belt: Conveyor) -> None:
        """Refine a mask that a stopped run left in `before_crf`."""
        fused = FusedPhoto(image_id, self.data.photo(image_id), {})
        mask = read_mask(self.raw / f"{image_id}.png", size=fused.photo.size)
        if self.rule.crf == "maps":
            (fused,) = stored_list(self.maps, self.data, [image_id])
        self._refine(fused, mask, self._saliency(fused), belt)

    def _saliency(self, fused: FusedPhoto) -> Image.Image | None:
        """The photograph's saliency map, where it takes part and a class is shown."""
        if not self.rule.saliency_weight or not fused.cams:
            return None
        return self.data.saliency(fused.image_id, size=fused.photo.size)

    def _refine(
        self, fused: FusedPhoto, mask: np.ndarray, saliency: Image.Image | None, belt: Conveyor
    ) -> None:
        cams = fused.cams if self.rule.crf == "maps" else {}
        pixels, out = np.asarray(fused.photo), self.folder / f"{fused.image_id}.png"
        salient = None if saliency is None or not cams else np.asarray(saliency)
        parts = [pixels, mask, *cams.values(), *([] if salient is None else [salient])]
        size = sum(part.nbytes for part in parts)
        belt.put(write_refined, self.rule, out, pixels, cams, mask, salient, size=size)


def _classifier(data: DataRoot, plan: MaskPlan, device: torch.device) -> Classifier | None:
    """The network that makes the fused maps; None where a folder holds them."""
    if plan.cam_dir is not None:
        return None
    model = trained_classifier(plan.weights or "", data, head=plan.head)
    return model.to(device).to(memory_format=torch.channels_last)


def _source(
    data: DataRoot, plan: MaskPlan, model: Classifier | None, device: torch.device
) -> Source:
    """What gives the maps of images: the classifier, or without one a folder; then sharpened."""

    precision = plan.compute.precision
    attending = attention_layers(model) if model is not None and plan.attention_refine else None

    def source(ids: Sequence[str]) -> Generator[FusedPhoto, None, None]:
        if model is None:
            return stored_list(Path(plan.cam_dir or ""), data, ids)
        return fuse_list(model, data, ids, plan.views, precision=precision, attending=attending)

    def sharpened(ids: Sequence[str]) -> Generator[FusedPhoto, None, None]:
        with closing(source(ids)) as results:
            for fused in results:
                with during(f"sharpening the maps of {data.photo_path(fused.image_id)}"):
                    cams = sharpen_cams(fused.photo, fused.cams, device=str(device))
                yield fused._replace(cams=cams)

    return source if plan.sharpen == "none" else sharpened


def gen_pm(data: DataRoot, plan: MaskPlan, output: Output | Path | str) -> Path:
    """Run stage 3: write palette PNGs `<id>.png` to a folder; return the folder.

    Their values are 0 for background and class index + 1, which `classes.txt` there names, and 255
    where the plan marks pixels as uncertain. Masks that are there and whole, of the same settings
    and labels, are not made again. Raises :class:`InputError` for data, weights or maps that do not
    serve.
    """
    if plan.cam_dir is None:
        plan.require("weights")
    output = Output.of(output)
    device = plan.compute.choose_device()
    model = _classifier(data, plan, device)
    trial = None if model is None else lambda: inference_trial(model)
    with plan.compute.limited(), process_group(device):
        plan = with_precision(plan, output, device=device, trial=trial)
        ids, settings = data.ids(plan.list_name), settings_of(data, plan)
        data.require(ids, labels=True, saliency=plan.saliency_decides)
        if plan.saliency_decides:
            check_saliency(data, ids)
        if plan.cam_dir is not None:
            require_fused(Path(plan.cam_dir), ids, data)
        if plan.proposals is not None:
            require_proposals(Path(plan.proposals), ids)
        masks, source = _Masks(data, plan, output.folder), _source(data, plan, model, device)
        with image_run(
            output, settings, ids=ids, results=_RESULTS, check=masks.check, what="pseudo masks"
        ) as run:
            write_class_list(output.folder, data)
            _make(masks, source, run, num_workers=plan.compute.num_workers)
    return output.folder


def _make(masks: _Masks, source: Source, run: OutputRun, *, num_workers: int) -> None:
    """Make the masks that are left to do; the CRF works beside the network."""
    stopped = [image_id for image_id in run.todo if masks.has_raw(image_id)]
    left = set(run.todo) - set(stopped)
    fresh = [image_id for image_id in run.todo if image_id in left]
    workers, threads = (num_workers, crf_threads()) if masks.refines else (0, 1)
    with (
        conveyor(workers, tasks=len(run.todo), threads=threads) as belt,
        closing(source(fresh)) as results,
    ):
        for fused in results:
            masks.make(fused, belt)
        for image_id in stopped:
            masks.refine_stored(image_id, belt)
