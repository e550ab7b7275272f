"""What segmentation networks say of a photograph, and the mask and maps that are made of it.

Worker processes do the second without PyTorch's start-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.class_maps import ClassMaps
from smaf.core.classes import IGNORE
from smaf.core.errors import during
from smaf.core.fused_maps import write_fused
from smaf.core.images import read_image, write_mask
from smaf.core.views import Views
from smaf.engine.predicting.network import Network
from smaf.engine.refining import voted_mask
from smaf.ops import (
    SizedMaps,
    bounded_photo,
    certain_mask,
    crf_cams,
    mask_of_maps,
    mean_of,
    normalise_maps,
    view_logits,
)

UNCERTAIN = ("none", "networks", "crf")


@dataclass(frozen=True)
class Probabilities:
    """Class probabilities of one photograph, as each of some networks has them.

    Args:
        classes: indices of the n classes.
        by_network: their maps (n, h, w) in 0..1, a set a network; background has what they leave
            to 1.
    """

    classes: Sequence[int]
    by_network: tuple[SizedMaps, ...]

    def mean(self) -> SizedMaps:
        """The networks' mean."""
        return mean_of(self.by_network)

    def doubted(self, threshold: float | None = None) -> np.ndarray:
        """(H, W) bool: where the masks of the networks are not all the same."""
        masks = (mask_of_maps(maps, self.classes, threshold) for maps in self.by_network)
        return np.asarray(reduce(certain_mask, masks) == IGNORE)


def probabilities(
    networks: Sequence[Network],
    photo: Image.Image,
    views: Views,
    classes: Sequence[int] | None = None,
    score: float = 0.0,
) -> Probabilities:
    """Class indices and their maps in 0..1: each network's mean softmax over the views.

    With `classes` these are taken, without, those whose score (:func:`smaf.ops.peak_scores` of the
    networks' mean) reaches `score`. With `views.label_filter` `"logits"` the softmax is over these
    and background. Where no class is left to tell apart, no network is run.
    """
    if classes is not None and not len(classes):
        return Probabilities([], (SizedMaps(np.zeros((0, 1, 1), np.float32), photo.size),))
    logits = [
        view_logits(network.cam, photo, mean=network.mean, std=network.std, views=views)
        for network in networks
    ]
    if classes is None:
        of_all = tuple(each.sized_maps() for each in logits)
        if score <= 0:
            return Probabilities(range(len(of_all[0].maps)), of_all)
        classes = np.flatnonzero(mean_of(of_all).peak_scores() >= score).tolist()
    return Probabilities(list(classes), tuple(each.sized_maps(classes) for each in logits))


@dataclass(frozen=True)
class SegmentRule:
    """What is made of the networks' mean.

    Args:
        crf: refine it with dense CRF, as DeepLab-V2 has it; large photographs at a smaller size.
        uncertain: one of :data:`UNCERTAIN`: what marks pixels 255, which stage 4 ignores.
        save_maps: also write the maps that the mask comes from, as fused maps.
        threshold: each class's map is divided by its maximum and cut at this background threshold,
            as stages 1 and 3 do; None: the most probable of the classes and background wins.
        proposals: folder of proposals that the mask chooses among, at the end; None: no such.
    """

    crf: bool = False
    uncertain: str = "none"
    save_maps: bool = False
    threshold: float | None = None
    proposals: Path | None = None


@dataclass(frozen=True)
class SegmentJob:
    """A photograph's file, its mask's file `<id>.png`, and (H, W) bool: what is marked 255."""

    photo: Path
    out: Path
    doubted: np.ndarray | None = None


def write_segmented(
    rule: SegmentRule, job: SegmentJob, classes: Sequence[int], maps: SizedMaps
) -> None:
    """In a worker, with CRF: make a mask of class probabilities, and write it.

    The maps, where the rule asks for them, lie beside it, `<id>.npz`.
    """
    with during(f"making the mask of {job.photo}"):
        maps = SizedMaps(maps.maps.astype(np.float32), maps.whole)
        used = _refined(job.photo, classes, maps, rule.threshold) if rule.crf else maps
        edge = None if rule.crf else rule.threshold  # after CRF they are probabilities
        mask = mask_of_maps(used, classes, edge)
        if rule.uncertain == "crf":
            mask = certain_mask(mask, mask_of_maps(maps, classes, rule.threshold))
        if job.doubted is not None:
            mask[job.doubted] = IGNORE
        mask = voted_mask(mask, rule.proposals, job.out.stem)
        if rule.save_maps:
            planes = _planes(used, classes, edge)
            write_fused(job.out.with_suffix(".npz"), planes, used.whole[::-1])
        write_mask(job.out, mask)


def _planes(maps: SizedMaps, classes: Sequence[int], threshold: float | None) -> ClassMaps:
    """The maps by class: with a threshold each has a maximum of 1, else they are probabilities."""
    if threshold is None or not len(classes):
        return dict(zip(classes, maps.full(), strict=True))
    return normalise_maps(maps.full(), classes, maxima=maps.maxima())


def _refined(
    photo_path: Path, classes: Sequence[int], maps: SizedMaps, threshold: float | None
) -> SizedMaps:
    """The probabilities after CRF, at the size that it works at."""
    if not len(classes):
        return maps
    photo = bounded_photo(read_image(photo_path), quiet=True)  # the parent tells it once
    planes = _planes(maps.at(photo.size), classes, threshold)
    refined = crf_cams(photo, planes, background=threshold)
    return SizedMaps(np.stack(list(refined.values())), maps.whole)
