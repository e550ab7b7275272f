"""Stage 4: masks of a list by a segmentation network, refined by dense CRF where asked."""

from __future__ import annotations

import io
import logging
import tarfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from smaf.core.classes import VOC_CLASSES
from smaf.core.errors import InputError, during
from smaf.core.files import write_bytes
from smaf.core.images import read_image, read_mask, write_mask
from smaf.core.options import FRACTION, Role, option, part
from smaf.core.parallel import conveyor
from smaf.core.proposals import require_proposals
from smaf.core.views import MAX_VIEW_PIXELS, Views
from smaf.data.layout import DataRoot
from smaf.engine import distributed
from smaf.engine.distributed import process_group
from smaf.engine.fused import read_ahead
from smaf.engine.outputs import Output, Places, image_run, settings_of
from smaf.engine.plans import Compute, StagePlan, listed_as, proposals_option
from smaf.engine.precision import inference_trial, with_precision
from smaf.engine.predicting import Network, open_network
from smaf.engine.predicting.torch_network import TorchNetwork
from smaf.engine.refining import voted_mask
from smaf.engine.stages.gen_pm import write_class_list
from smaf.ops import SizedMaps, bounded_photo, crf_cams, refined_mask, view_logits

log = logging.getLogger("smaf")
SERVER_FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


@dataclass(frozen=True)
class SegmentPlan(StagePlan):
    """Plan of stage 4's masks; the defaults are one view, no CRF, labels unknown."""

    GROUP: ClassVar[str] = "stage 4"
    command: ClassVar[str] = "test_seg"

    list_name: str = listed_as("val")
    weights: str | Path | None = option(
        None,
        "stage 4's network, deeplab-pytorch's, shipped weights by name, .onnx or .pt2; default: "
        "below --logdir",
        role=Role.CONTENTS,
    )
    crf: bool = option(False, "dense CRF on the softmax")
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

    @property
    def labels_decide(self) -> bool:
        """Whether the image-level labels take part."""
        return self.label_filter != "none"

    def located(self, places: Places) -> SegmentPlan:
        """The plan with the files of a whole run where it names none."""
        return self.filled(weights=places.segmenter)


def probabilities(
    network: Network,
    photo: Any,
    views: Views,
    classes: Sequence[int] | None = None,
    score: float = 0.0,
) -> tuple[list[int], SizedMaps]:
    """Class indices and their maps in 0..1: the mean softmax over the views.

    Background has what the maps leave to 1.
    With `classes` these are taken, without, those whose score (:func:`smaf.ops.peak_scores`)
    reaches `score`. With `views.label_filter` `"logits"` the softmax is over these and background.
    """
    logits = view_logits(network.cam, photo, mean=network.mean, std=network.std, views=views)
    if classes is None:
        maps = logits.sized_maps()
        if score <= 0:
            return list(range(len(maps.maps))), maps
        classes = np.flatnonzero(maps.peak_scores() >= score).tolist()
    return list(classes), logits.sized_maps(classes)


def _mask(classes: Sequence[int], maps: SizedMaps) -> np.ndarray:
    """(H, W) uint8: the most probable of the classes and background."""
    return maps.mask(
        lambda piece: refined_mask(dict(zip(classes, piece, strict=True)), piece.shape[1:])
    )


def _refine(
    photo_path: Path, classes: Sequence[int], half: np.ndarray, proposals: Path | None, out: Path
) -> None:
    """In a worker: CRF on the softmax, as DeepLab-V2 has it; writes the mask, after the vote.

    Large photographs are refined at a smaller size.
    """
    with during(f"refining the mask of {photo_path}"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the size cap, which the parent tells once
        photo = read_image(photo_path)
        smaller = bounded_photo(photo)
        maps = SizedMaps(half.astype(np.float32), smaller.size).full()
        refined = crf_cams(smaller, dict(zip(classes, maps, strict=True)), background=None)
        planes = (
            np.stack(list(refined.values()))
            if refined
            else np.zeros((0, smaller.height, smaller.width))
        )
        mask = _mask(classes, SizedMaps(planes, photo.size))
        write_mask(out, voted_mask(mask, proposals, out.stem))


def _check_network(network: Network, data: DataRoot) -> None:
    if not network.segments:
        raise InputError(
            "--weights hold a classifier: its masks are made by stage 3 (gen_pm), or by `smaf "
            "predict`"
        )
    if network.class_names != data.classes.names:
        raise InputError(
            f"--weights have the classes {', '.join(network.class_names)}; the data set keeps "
            f"{', '.join(data.classes.names)}: name the right --classes, or other weights"
        )


def _precise(plan: SegmentPlan, network: Network, output: Output) -> tuple[SegmentPlan, Network]:
    """The plan with its precision, and the network at it; `.onnx` and `.pt2` have their own."""
    if not isinstance(network, TorchNetwork):
        device = torch.device("cpu")
        return with_precision(plan, output, device=device, trial=None), network
    whole = network.whole
    plan = with_precision(plan, output, device=network.device, trial=lambda: inference_trial(whole))
    return plan, network.at(plan.compute.precision)


def _segmented(
    network: Network, data: DataRoot, ids: Sequence[str], plan: SegmentPlan
) -> Iterator[tuple[str, Image.Image, list[int], SizedMaps]]:
    """(id, photograph, classes, their probabilities) of each image, with a progress bar."""
    photos = zip(ids, read_ahead(ids, data.photo), strict=True)
    quiet = distributed.rank() > 0
    bar = tqdm(photos, total=len(ids), unit="image", mininterval=1.0, disable=quiet)
    for image_id, photo in bar:
        with during(f"segmenting {data.photo_path(image_id)}"):
            known = np.flatnonzero(data.all_labels[image_id]) if plan.labels_decide else None
            shown = None if known is None else known.tolist()
            classes, maps = probabilities(network, photo, plan.views, shown, plan.score)
        yield image_id, photo, classes, maps


def _make(
    network: Network, data: DataRoot, ids: Sequence[str], plan: SegmentPlan, out: Path
) -> None:
    """Write the masks of `ids`; the CRF works beside the network."""
    told, proposals = False, None if plan.proposals is None else Path(plan.proposals)
    with conveyor(plan.compute.num_workers if plan.crf else 0, tasks=len(ids)) as belt:
        for image_id, photo, classes, maps in _segmented(network, data, ids, plan):
            path = out / f"{image_id}.png"
            if not plan.crf:
                write_mask(path, voted_mask(_mask(classes, maps), proposals, image_id))
                continue
            if photo.width * photo.height > MAX_VIEW_PIXELS and not told:
                log.warning(
                    "warning: the dense CRF of %s, and of others as large, works on %d pixels "
                    "(size cap)",
                    data.photo_path(image_id),
                    MAX_VIEW_PIXELS,
                )
                told = True
            half = maps.maps.astype(np.float16)
            task = data.photo_path(image_id), classes, half, proposals, path
            belt.put(_refine, *task, size=half.nbytes)


def test_seg(data: DataRoot, plan: SegmentPlan, output: Output | Path | str) -> Path:
    """Segment a list: write palette PNGs `<id>.png` to a folder; return the folder.

    Their values are 0 for background and class index + 1. Where image-level labels decide
    (`label_filter`), only their classes are told apart, else those whose score reaches the plan's.
    Masks that are there and whole, of the same settings, are not made again. Raises
    :class:`InputError` for data or weights that do not serve.
    """
    plan.require("weights")
    output = Output.of(output)
    network = open_network(str(plan.weights), plan.compute.device, threads=plan.compute.threads)
    _check_network(network, data)
    # nothing of the network is exchanged
    with plan.compute.limited(), process_group(torch.device("cpu")):
        plan, network = _precise(plan, network, output)
        ids, settings = data.ids(plan.list_name), settings_of(data, plan)
        data.require(ids)
        if plan.proposals is not None:
            require_proposals(Path(plan.proposals), ids)
        with image_run(
            output,
            settings,
            ids=ids,
            results=("*.png",),
            check=lambda i: read_mask(output.folder / f"{i}.png"),
            what="masks",
        ) as run:
            write_class_list(output.folder, data)
            _make(network, data, run.todo, plan, output.folder)
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
