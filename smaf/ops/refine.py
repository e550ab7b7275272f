"""This module applies dense CRF and PAR to photographs of any size.

They refine masks (as published) and fused maps (beyond the paper).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from smaf.core.class_maps import ClassMaps
from smaf.core.classes import IGNORE
from smaf.core.views import MAX_VIEW_PIXELS
from smaf.ops.crf import SOFTMAX, CrfSettings, crf_cams, crf_labels, crf_of, saliency_odds
from smaf.ops.views import SizedMaps, cams_to_mask, normalise_maps

SHARPEN_SIDE = 250  # half of VOC's photographs, as ToCo has it: better than whole, and faster
CRF_SIDE = 250  # the same for dense CRF: masks as good as whole or better, in a quarter of the time
_KERNELS_SIDE = 500  # of VOC's photographs, for which the kernels were chosen


def refine_mask(
    photo: Image.Image, mask: np.ndarray, *, num_classes: int, max_pixels: int = MAX_VIEW_PIXELS
) -> np.ndarray:
    """Refine the labels (H, W) of a mask with stage 3's dense CRF.

    A photograph of more than `max_pixels` is refined at a smaller size.
    """
    if mask.size <= max_pixels:
        return crf_labels(photo, mask, num_classes=num_classes)
    size = _smaller(photo, max_pixels)
    small = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    refined = crf_labels(
        photo.resize(size, Image.Resampling.BICUBIC), small, num_classes=num_classes
    )
    return np.array(Image.fromarray(refined).resize(photo.size, Image.Resampling.NEAREST))


def bounded_photo(
    photo: Image.Image, *, max_pixels: int = MAX_VIEW_PIXELS, quiet: bool = False
) -> Image.Image:
    """Return the photograph with at most `max_pixels`, for a dense CRF on it.

    A larger photograph is made smaller (bicubic), with a warning unless `quiet`.
    """
    if photo.width * photo.height <= max_pixels:
        return photo
    size = _smaller(photo, max_pixels)
    if not quiet:
        warnings.warn(
            f"the dense CRF of a photograph of {photo.width}×{photo.height} pixels works on "
            f"{size[0]}×{size[1]}, not more than {max_pixels} pixels (size cap)",
            RuntimeWarning,
            stacklevel=2,
        )
    return photo.resize(size, Image.Resampling.BICUBIC)


def _smaller(photo: Image.Image, max_pixels: int, long_side: int | None = None) -> tuple[int, int]:
    """The photograph's (W, H), made smaller where it has more pixels or is longer."""
    factor = min(1.0, math.sqrt(max_pixels / (photo.width * photo.height)))
    if long_side is not None:
        factor = min(factor, long_side / max(photo.size))
    return max(1, round(photo.width * factor)), max(1, round(photo.height * factor))


def crf_photo(
    photo: Image.Image, *, long_side: int | None, max_pixels: int = MAX_VIEW_PIXELS
) -> tuple[Image.Image, CrfSettings]:
    """The photograph at the size where a CRF on maps works, and its kernels there.

    A photograph that is longer than `long_side` or has more than `max_pixels` is made smaller. With
    a `long_side` the kernels cover the same part of the photograph at each size: that of one of 500
    pixels, as VOC's are, where it is longer. Without, they are as published.
    """
    size, side = _smaller(photo, max_pixels, long_side), max(photo.size)
    kernels = SOFTMAX if long_side is None else SOFTMAX.scaled(max(size) / min(side, _KERNELS_SIDE))
    same = size == photo.size
    return photo if same else photo.resize(size, Image.Resampling.BICUBIC), kernels


def _resize(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.array(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))


def refine_cams(
    photo: Image.Image,
    cams: Mapping[int, np.ndarray],
    *,
    backgrounds: Sequence[float | None],
    saliency: Image.Image | None = None,
    saliency_weight: float = 1.0,
    long_side: int | None = None,
    crf: bool = True,
    max_pixels: int = MAX_VIEW_PIXELS,
) -> list[ClassMaps]:
    """Refine the fused maps of a photograph with :func:`smaf.ops.crf_cams`, for each background.

    Without `crf` its saliency part works alone. Both work at a smaller size where the photograph is
    longer than `long_side` or has more than `max_pixels`: see :func:`crf_photo`.
    """
    whole = photo.size
    photo, settings = crf_photo(photo, long_side=long_side, max_pixels=max_pixels)
    if photo.size != whole:
        cams = {c: _resize(cam, photo.size) for c, cam in cams.items()}
        if saliency is not None:
            saliency = saliency.resize(photo.size, Image.Resampling.BILINEAR)
    salient = None if saliency is None else np.asarray(saliency, dtype=np.float32) / 255.0
    edges = crf_of(photo, settings) if crf and cams else photo
    refined = [
        crf_cams(
            edges,
            cams,
            background=background,
            saliency=salient,
            saliency_weight=saliency_weight,
            settings=settings if crf else None,
        )
        for background in backgrounds
    ]
    if photo.size == whole:
        return refined
    return [{c: _resize(cam, whole) for c, cam in maps.items()} for maps in refined]


def weigh_cams(cams: ClassMaps, saliency: Image.Image | None, weight: float) -> ClassMaps:
    """Multiply class maps (H, W) by the odds of salient pixels, as :func:`smaf.ops.crf_cams` does.

    `saliency` is W×H, 8-bit; without it, or with `weight` 0, the maps stay. They may then exceed 1.

    Example:
        >>> maps, salient = {2: np.full((1, 2), 0.25)}, Image.fromarray(np.uint8([[0, 204]]))
        >>> weigh_cams(maps, salient, 1.0)[2].round(2).tolist()  # odds 1, and 0.8 / 0.2
        [[0.25, 1.0]]
    """
    if saliency is None or not weight:
        return cams
    odds = saliency_odds(np.asarray(saliency, dtype=np.float32) / 255.0, weight)
    return {c: cam * odds for c, cam in cams.items()}


def sharpen_cams(
    photo: Image.Image,
    cams: Mapping[int, np.ndarray],
    *,
    long_side: int | None = SHARPEN_SIDE,
    device: str = "cpu",
    max_pixels: int = MAX_VIEW_PIXELS,
) -> ClassMaps:
    """Sharpen the class maps of a photograph with PAR, :func:`smaf.ops.par_maps`.

    Its weights sum to 1, so a constant background, or what maps leave to 1, may be taken before or
    after. It works at a smaller size where the photograph is longer than `long_side` (None: at the
    photograph's own) or has more than `max_pixels`; on the PyTorch device `device`.

    Args:
        photo: RGB, W×H.
        cams: `{class index: (H, W) float32}`.

    Returns:
        `{class index: (H, W) float32}`.
    """
    if not cams:
        return {}
    import torch  # here: what refines by CRF alone does without its start-up

    from smaf.ops.par import par_maps

    whole, size = photo.size, _smaller(photo, max_pixels, long_side)
    planes = np.stack([cam if size == whole else _resize(cam, size) for cam in cams.values()])
    if size != whole:
        photo = photo.resize(size, Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        maps = par_maps(image.to(device).float(), torch.from_numpy(planes)[None].to(device))
    sharpened = dict(zip(cams, maps[0].cpu().numpy(), strict=True))
    return sharpened if size == whole else {c: _resize(m, whole) for c, m in sharpened.items()}


def certain_mask(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two masks (H, W) of one photograph → where they agree, and 255 where they do not."""
    return np.where(first == second, first, np.uint8(IGNORE)).astype(np.uint8)


def mask_of_maps(
    maps: SizedMaps, classes: Sequence[int], threshold: float | None = None
) -> np.ndarray:
    """Return the mask (H, W) uint8 of the maps (n, h, w) of `classes`, at the photograph's size.

    With a background `threshold` each map is divided by its maximum, and the strongest class above
    the threshold wins, as in stages 1 and 3; without, the maps are probabilities, and the most
    probable one of the classes and background does.

    Example:
        >>> maps = SizedMaps(np.array([[[0.1, 0.3, 0.4]]], dtype=np.float32), (3, 1))
        >>> mask_of_maps(maps, [4]).tolist(), mask_of_maps(maps, [4], 0.5).tolist()
        ([[0, 0, 0]], [[0, 5, 5]])
    """
    if threshold is None or not len(classes):
        return maps.mask(
            lambda piece: refined_mask(dict(zip(classes, piece, strict=True)), piece.shape[1:])
        )
    maxima, edge = maps.maxima(), threshold
    return maps.mask(
        lambda piece: cams_to_mask(
            normalise_maps(piece, classes, maxima=maxima), threshold=edge, shape=piece.shape[1:]
        )
    )


def refined_mask(cams: Mapping[int, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return the mask (H, W) uint8 of refined maps: the most probable class of each pixel.

    0 is background, the others are class index + 1; `shape` is (H, W).
    """
    rest = 1.0 - np.sum(list(cams.values()), axis=0) if cams else 0.0
    return cams_to_mask({c: cam - rest for c, cam in cams.items()}, threshold=0.0, shape=shape)
