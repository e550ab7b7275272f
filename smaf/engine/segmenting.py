"""What segmentation networks say of a photograph, and the mask and maps that are made of it.

Worker processes do the second without PyTorch's start-up.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.classes import IGNORE
from smaf.core.errors import during
from smaf.core.fused_maps import write_fused
from smaf.core.images import read_image, write_mask
from smaf.core.views import Views
from smaf.engine.predicting.network import Network
from smaf.ops import (
    SizedMaps,
    bounded_photo,
    certain_mask,
    crf_cams,
    mean_of,
    refined_mask,
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

    def doubted(self) -> np.ndarray:
        """(H, W) bool: where the masks of the networks are not all the same."""
        masks = (most_probable(self.classes, maps) for maps in self.by_network)
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
    and background.
    """
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


def most_probable(classes: Sequence[int], maps: SizedMaps) -> np.ndarray:
    """(H, W) uint8: the most probable of the classes and background."""
    return maps.mask(
        lambda piece: refined_mask(dict(zip(classes, piece, strict=True)), piece.shape[1:])
    )


@dataclass(frozen=True)
class SegmentRule:
    """What is made of the networks' mean.

    Args:
        crf: refine it with dense CRF, as DeepLab-V2 has it; large photographs at a smaller size.
        uncertain: one of :data:`UNCERTAIN`: what marks pixels 255, which stage 4 ignores.
        save_maps: also write the maps that the mask comes from, as fused maps.
    """

    crf: bool = False
    uncertain: str = "none"
    save_maps: bool = False


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
    with during(f"making the mask of {job.photo}"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the size cap, which the parent tells once
        maps = SizedMaps(maps.maps.astype(np.float32), maps.whole)
        used = _refined(job.photo, classes, maps) if rule.crf else maps
        mask = most_probable(classes, used)
        if rule.uncertain == "crf":
            mask = certain_mask(mask, most_probable(classes, maps))
        if job.doubted is not None:
            mask[job.doubted] = IGNORE
        if rule.save_maps:
            planes = dict(zip(classes, used.full(), strict=True))
            write_fused(job.out.with_suffix(".npz"), planes, used.whole[::-1])
        write_mask(job.out, mask)


def _refined(photo_path: Path, classes: Sequence[int], maps: SizedMaps) -> SizedMaps:
    """The probabilities after CRF, at the size that it works at."""
    if not len(classes):
        return maps
    photo = bounded_photo(read_image(photo_path))
    planes = dict(zip(classes, maps.at(photo.size).full(), strict=True))
    refined = crf_cams(photo, planes, background=None)
    return SizedMaps(np.stack(list(refined.values())), maps.whole)
