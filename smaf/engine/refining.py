"""Dense CRF on masks and fused maps, as worker processes do it: without PyTorch's start-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.class_maps import ClassMaps
from smaf.core.errors import during
from smaf.core.fused_maps import read_fused, write_fused
from smaf.core.images import read_image, read_saliency, write_mask
from smaf.core.proposals import read_proposals
from smaf.ops import (
    cams_to_mask,
    certain_mask,
    refine_cams,
    refine_mask,
    refined_mask,
    sharpen_cams,
    vote_proposals,
    weigh_cams,
)
from smaf.ops.refine import SHARPEN_SIDE

CRF_KINDS = ("none", "masks", "maps")
UNCERTAIN = ("none", "thresholds", "crf")


@dataclass(frozen=True)
class MaskRule:
    """How fused maps become a pseudo mask.

    Args:
        num_classes: C, without background.
        threshold: background threshold.
        crf: one of :data:`CRF_KINDS`: where dense CRF works, if at all.
        uncertain: one of :data:`UNCERTAIN`: what marks pixels 255, which stage 4 ignores.
        band: the two background thresholds of `uncertain="thresholds"`, where masks that differ
            mark a pixel.
        proposals: folder of the proposals that the mask, after CRF, chooses among; or None.
        saliency_weight: power of the saliency map's odds that multiply the classes' values.
        crf_side: longer side at which CRF works on maps; None: the photograph's.
    """

    num_classes: int
    threshold: float
    crf: str = "none"
    uncertain: str = "none"
    band: tuple[float, float] = (0.0, 0.0)
    proposals: Path | None = None
    saliency_weight: float = 0.0
    crf_side: int | None = None

    def mask(
        self, cams: ClassMaps, shape: tuple[int, int], saliency: Image.Image | None = None
    ) -> np.ndarray:
        """(H, W) uint8 mask without CRF, of maps (H, W); `shape` is (H, W)."""
        cams = weigh_cams(cams, saliency, self.saliency_weight)
        if self.uncertain == "thresholds" and self.crf == "none":
            low, high = (cams_to_mask(cams, threshold=edge, shape=shape) for edge in self.band)
            return certain_mask(low, high)
        return cams_to_mask(cams, threshold=self.threshold, shape=shape)

    def refined(
        self,
        photo: Image.Image,
        cams: ClassMaps,
        before: np.ndarray,
        saliency: Image.Image | None = None,
    ) -> np.ndarray:
        """(H, W) uint8 mask after CRF, if there is one, of the maps or of the mask `before` it."""
        if self.crf == "none":
            return before
        if self.crf == "masks":
            mask = refine_mask(photo, before, num_classes=self.num_classes + 1)
        elif self.uncertain == "thresholds":
            low, high = self._cut(photo, cams, self.band, saliency)
            return certain_mask(low, high)
        else:
            (mask,) = self._cut(photo, cams, [self.threshold], saliency)
            before = self.mask(cams, before.shape, saliency)
        return certain_mask(mask, before) if self.uncertain == "crf" else mask

    def _cut(
        self,
        photo: Image.Image,
        cams: Mapping[int, np.ndarray],
        backgrounds: Sequence[float],
        saliency: Image.Image | None,
    ) -> list[np.ndarray]:
        shape = photo.height, photo.width
        refined = refine_cams(
            photo,
            cams,
            backgrounds=backgrounds,
            saliency=saliency,
            saliency_weight=self.saliency_weight,
            long_side=self.crf_side,
        )
        return [refined_mask(maps, shape) for maps in refined]


def write_refined(
    rule: MaskRule,
    out: Path,
    pixels: np.ndarray,
    cams: ClassMaps,
    before: np.ndarray,
    saliency: np.ndarray | None,
) -> None:
    """In a worker: refine one mask of the photograph `pixels` (H, W, 3) uint8, and write it.

    `out` has the photograph's id as its name; `saliency` is its map (H, W) uint8, or None.
    """
    with during(f"refining the mask {out}"):
        salient = None if saliency is None else Image.fromarray(saliency)
        mask = rule.refined(Image.fromarray(pixels), cams, before, salient)
        write_mask(out, voted_mask(mask, rule.proposals, out.stem))


def voted_mask(mask: np.ndarray, proposals: Path | None, image_id: str) -> np.ndarray:
    """The mask after the vote of a photograph's proposals, where a folder has them."""
    if proposals is None:
        return mask
    return vote_proposals(mask, read_proposals(proposals, image_id, size=mask.shape[::-1]))


@dataclass(frozen=True)
class MapsJob:
    """The maps of one photograph that are to be refined by its edges and its saliency map.

    Args:
        labels: (C,); the maps of labelled classes take part.
        photo, cams, saliency, out: files; the saliency map may be None.
        background, saliency_weight, long_side, crf: see :func:`smaf.ops.refine_cams`.
        sharpen: "par": the maps are sharpened first, see :func:`smaf.ops.sharpen_cams`.
    """

    labels: np.ndarray
    photo: Path
    cams: Path
    saliency: Path | None
    out: Path
    background: float
    saliency_weight: float = 0.0
    long_side: int | None = None
    crf: bool = True
    sharpen: str = "none"


def write_refined_maps(job: MapsJob) -> None:
    """In a worker: refine the maps of one photograph and write them."""
    with during(f"refining the maps of {job.photo}"):
        photo = read_image(job.photo)
        saliency = None if job.saliency is None else read_saliency(job.saliency, size=photo.size)
        stored = read_fused(job.cams, num_classes=len(job.labels), size=photo.size)
        cams = {c: cam for c, cam in stored.items() if job.labels[c]}
        if job.sharpen == "par":
            cams = sharpen_cams(photo, cams, long_side=job.long_side or SHARPEN_SIDE)
        (refined,) = refine_cams(
            photo,
            cams,
            backgrounds=[job.background],
            saliency=saliency,
            saliency_weight=job.saliency_weight,
            long_side=job.long_side,
            crf=job.crf,
        )
        write_fused(job.out, refined, (photo.height, photo.width))
