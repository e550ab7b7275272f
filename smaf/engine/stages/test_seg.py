"""Stage 4: masks of a list by a segmentation network, refined by dense CRF where asked."""

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from smaf.core.classes import VOC_CLASSES
from smaf.core.errors import InputError, during
from smaf.core.files import write_bytes
from smaf.core.images import read_mask
from smaf.core.options import FRACTION, OPEN_FRACTION, Role, option, part
from smaf.core.parallel import conveyor
from smaf.core.proposals import require_proposals
from smaf.core.views import MAX_VIEW_PIXELS, Views
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.engine.distributed import process_group
from smaf.engine.fused import check_fused, read_ahead
from smaf.engine.outputs import Output, Places, image_run, settings_of
from smaf.engine.plans import Compute, StagePlan, crf_threads, listed_as, proposals_option
from smaf.engine.precision import inference_trial, with_precision
from smaf.engine.predicting import Network, open_network
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.engine.segmenting import (
    UNCERTAIN,
    Probabilities,
    SegmentJob,
    SegmentRule,
    probabilities,
    write_segmented,
)
from smaf.engine.stages.gen_pm import check_mask, write_class_list
from smaf.ops import SizedMaps

log = logging.getLogger("smaf")
SERVER_FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


@dataclass(frozen=True)
class SegmentPlan(StagePlan):
    """Plan of stage 4's masks; the defaults are one view, no CRF, labels unknown."""

    GROUP: ClassVar[str] = "stage 4"
    command: ClassVar[str] = "test_seg"

    list_name: str = listed_as("val")
    weights: str | Path | tuple[str | Path, ...] | None = option(
        None,
        "stage 4's network, deeplab-pytorch's, shipped weights by name, .onnx or .pt2; default: "
        "below --logdir. Of several networks the mean of their softmaxes is taken, each costs its "
        "own time",
        many="+",
        role=Role.CONTENTS,
    )
    crf: bool = option(False, "dense CRF on the softmax")
    uncertain: str = option(
        "none",
        "mark pixels 255, which stage 4 ignores: where the masks of several networks disagree, or "
        "where CRF disagrees with the mask before it",
        choices=UNCERTAIN,
    )
    save_maps: bool = option(
        False,
        "also write the class maps as fused maps <id>.npz: with --threshold as stage 1 does; "
        "without, and after CRF, as probabilities, for train_fusion --soft_background or "
        "refine_fusion --background 0.5; needs --label_filter logits",
    )
    threshold: float | None = option(
        None,
        "background threshold of the classes shown, where --label_filter logits or --score say "
        "which: each one's map is divided by its maximum and cut here, as in stages 1 and 3, which "
        "is more accurate; default: the most probable of the classes and background",
        kind=float,
        within=OPEN_FRACTION,
    )
    proposals: str | Path | None = proposals_option()
    label_filter: str = option(
        "none",
        "logits: tell only the classes of the image-level labels apart, for photographs whose "
        "labels are known",
        choices=("none", "logits"),
    )
    score: float = option(
        0.0,
        "from which a class counts as shown, 0 to 1: the mean of its strongest hundredth; the "
        "others' pixels go to these. Not with --label_filter logits",
        within=FRACTION,
    )
    views: Views = part(
        lambda: Views((1.0,), flip=False, label_filter="logits"), without=("label_filter",)
    )
    compute: Compute = part(Compute)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score and self.label_filter != "none":
            raise InputError(
                "--score and --label_filter logits: labels that are known need no score"
            )
        if isinstance(self.weights, tuple) and len(self.weights) < 2:
            object.__setattr__(self, "weights", next(iter(self.weights), None))
        if self.uncertain == "networks" and not isinstance(self.weights, tuple):
            raise InputError(
                "--uncertain networks compares the masks of several: name two --weights or more"
            )
        if self.uncertain == "crf" and not self.crf:
            raise InputError("--uncertain crf compares masks before and after CRF: add --crf")
        if self.save_maps and not self.labels_decide:
            raise InputError(
                "--save_maps writes maps of the labelled classes: add --label_filter logits"
            )

    @property
    def labels_decide(self) -> bool:
        """Whether the image-level labels take part."""
        return self.label_filter != "none"

    @property
    def networks(self) -> list[str]:
        """The names of the weights."""
        several = self.weights if isinstance(self.weights, tuple) else (self.weights,)
        return [str(one) for one in several if one is not None]

    @property
    def rule(self) -> SegmentRule:
        """What is made of the networks' mean."""
        proposals = None if self.proposals is None else Path(self.proposals)
        known = self.labels_decide or self.score > 0  # else classes that are not shown grow, too
        threshold = self.threshold if known else None
        return SegmentRule(self.crf, self.uncertain, self.save_maps, threshold, proposals)

    def located(self, places: Places) -> SegmentPlan:
        """The plan with the files of a whole run where it names none."""
        return self.filled(weights=places.segmenter)


def _open(data: DataRoot, plan: SegmentPlan) -> list[Network]:
    """The networks, which must all segment the data set's classes."""
    networks = []
    for weights in plan.networks:
        network = open_network(weights, plan.compute.device, threads=plan.compute.threads)
        if not network.segments:
            raise InputError(
                f"--weights {weights} hold a classifier: its masks are made by stage 3 (gen_pm), "
                "or by `smaf predict`"
            )
        if network.class_names != data.classes.names:
            raise InputError(
                f"--weights {weights} have the classes {', '.join(network.class_names)}; the data "
                f"set keeps {', '.join(data.classes.names)}: name the right --classes, or other "
                "weights"
            )
        networks.append(network)
    return networks


def _precise(
    plan: SegmentPlan, networks: Sequence[Network], output: Output
) -> tuple[SegmentPlan, list[Network]]:
    """The plan with its precision, and the networks at it; `.onnx` and `.pt2` have their own."""
    first = next((n for n in networks if isinstance(n, TorchNetwork)), None)
    if first is None:
        device = torch.device("cpu")
        return with_precision(plan, output, device=device, trial=None), list(networks)
    whole = first.whole
    plan = with_precision(plan, output, device=first.device, trial=lambda: inference_trial(whole))
    precision = plan.compute.precision
    return plan, [n.at(precision) if isinstance(n, TorchNetwork) else n for n in networks]


def _segmented(
    networks: Sequence[Network], data: DataRoot, ids: Sequence[str], plan: SegmentPlan
) -> Iterator[tuple[str, Image.Image, Probabilities]]:
    """(id, photograph, its class probabilities) of each image, with a progress bar."""
    photos = zip(ids, read_ahead(ids, data.photo), strict=True)
    quiet = distributed.rank() > 0
    bar = tqdm(photos, total=len(ids), unit="image", mininterval=1.0, disable=quiet)
    for image_id, photo in bar:
        with during(f"segmenting {data.photo_path(image_id)}"):
            known = np.flatnonzero(data.all_labels[image_id]) if plan.labels_decide else None
            shown = None if known is None else known.tolist()
            found = probabilities(networks, photo, plan.views, shown, plan.score)
        yield image_id, photo, found


def _make(
    networks: Sequence[Network], data: DataRoot, ids: Sequence[str], plan: SegmentPlan, out: Path
) -> None:
    """Write the masks of `ids`; the CRF works beside the networks."""
    told, rule = False, plan.rule
    workers, threads = (plan.compute.num_workers, crf_threads()) if plan.crf else (0, 1)
    with conveyor(workers, tasks=len(ids), threads=threads) as belt:
        for image_id, photo, found in _segmented(networks, data, ids, plan):
            maps, size = found.mean(), 0
            if plan.crf:  # the workers' input, halved
                maps = SizedMaps(maps.maps.astype(np.float16), maps.whole)
                size = maps.maps.nbytes
                if photo.width * photo.height > MAX_VIEW_PIXELS and not told:
                    log.warning(
                        "warning: the dense CRF of %s, and of others as large, works on %d pixels "
                        "(size cap)",
                        data.photo_path(image_id),
                        MAX_VIEW_PIXELS,
                    )
                    told = True
            doubted = found.doubted(rule.threshold) if plan.uncertain == "networks" else None
            job = SegmentJob(data.photo_path(image_id), out / f"{image_id}.png", doubted)
            belt.put(write_segmented, rule, job, found.classes, maps, size=size)


def _check(data: DataRoot, plan: SegmentPlan, folder: Path, image_id: str) -> None:
    """Raise where the results of an image are not there and whole, or not of its labels."""
    path = folder / f"{image_id}.png"
    if plan.labels_decide:
        check_mask(path, data, image_id)
    else:
        read_mask(path)
    if plan.save_maps:
        check_fused(path.with_suffix(".npz"), data, image_id)


def test_seg(data: DataRoot, plan: SegmentPlan, output: Output | Path | str) -> Path:
    """Segment a list: write palette PNGs `<id>.png` to a folder; return the folder.

    Their values are 0 for background and class index + 1, and 255 where the plan marks pixels as
    uncertain. Where image-level labels decide (`label_filter`), only their classes are told apart,
    else those whose score reaches the plan's. With `save_maps` class probabilities lie beside them,
    `<id>.npz` as stages 1 and 2 know them. Results that are there and whole, of the same settings,
    are not made again. Raises :class:`InputError` for data or weights that do not serve.
    """
    plan.require("weights")
    output = Output.of(output)
    networks = _open(data, plan)
    if plan.threshold is not None and plan.rule.threshold is None:
        log.info(
            "--threshold %g takes no part: neither labels nor --score say which classes are shown",
            plan.threshold,
        )
    # nothing of the network is exchanged
    with plan.compute.limited(), process_group(torch.device("cpu")):
        plan, networks = _precise(plan, networks, output)
        ids, settings = data.ids(plan.list_name), settings_of(data, plan)
        data.require(ids, labels=plan.labels_decide)
        if plan.proposals is not None:
            require_proposals(Path(plan.proposals), ids)
        with image_run(
            output,
            settings,
            ids=ids,
            results=("*.png", "*.npz"),
            check=lambda i: _check(data, plan, output.folder, i),
            what="masks",
        ) as run:
            write_class_list(output.folder, data)
            _make(networks, data, run.todo, plan, output.folder)
    return output.folder


test_seg.__test__ = False  # type: ignore[attr-defined]  # the command's name, not a test


def save_for_server(data: DataRoot, ids: Sequence[str], *, masks: Path, out: Path) -> Path:
    """Pack `masks/<id>.png` for PASCAL VOC's evaluation server; return the archive's path.

    `out/results.tgz` holds `results/VOC2012/Segmentation/comp6_test_cls/<id>.png`: palette PNGs of
    the photographs' size with VOC's 20 classes. comp6 is for networks trained
    on more than VOC's training masks.
    """
    if data.classes.names != VOC_CLASSES:
        raise InputError(
            f"--save_for_server: VOC's server takes its 20 classes, the data set keeps "
            f"{', '.join(data.classes.names)}: leave out --classes"
        )
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for image_id in ids:
            archive.add(masks / f"{image_id}.png", arcname=f"{SERVER_FOLDER}/{image_id}.png")
    path = out / "results.tgz"
    write_bytes(path, stream.getvalue())
    return path
