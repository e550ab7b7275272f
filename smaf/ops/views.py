"""A photograph's views and what becomes of their maps, on NumPy alone: prediction does without PyTorch's start-up."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from smaf.core.predict_settings import LABEL_FILTERS as LABEL_FILTERS

SCALES = (0.5, 1.0, 1.5, 2.0)
MAX_VIEW_PIXELS = 2_000_000  # VOC's and COCO's largest views have 1.0 and 1.6 million


def working_size(size: tuple[int, int], scales: Sequence[float], *, long_side: int | None = None,
                 max_pixels: int = MAX_VIEW_PIXELS) -> tuple[int, int]:
    """The (width, height) that scale 1 has: the photograph's own, or `long_side` at its longer side.

    Where the largest view would have more than `max_pixels`, all are made smaller by one factor, with a warning.
    """
    w, h = size
    factor = 1.0 if long_side is None else long_side / max(w, h)
    largest = w * h * (factor * max(scales)) ** 2
    if largest > max_pixels:
        factor *= math.sqrt(max_pixels / largest)
        warnings.warn(f"a photograph of {w}×{h} pixels is worked on at {max(1, round(w * factor))}×"
                      f"{max(1, round(h * factor))} so that no view exceeds {max_pixels} pixels (size cap)",
                      RuntimeWarning, stacklevel=3)
    return max(1, round(w * factor)), max(1, round(h * factor))


def resize_view(image: Image.Image, size: tuple[int, int], scale: float) -> Image.Image:
    """Bicubic resize of the PIL image to (round(w·scale), round(h·scale)), at least one pixel."""
    target = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    return image if image.size == target else image.resize(target, Image.Resampling.BICUBIC)


def upsample(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, C, h, w) → (N, C, *size), bilinear as PyTorch has it with align_corners=False."""
    rows, columns = (_interpolation(old, new) for old, new in zip(maps.shape[2:], size, strict=True))
    return np.asarray(rows @ maps @ columns.T)


def _interpolation(old: int, new: int) -> np.ndarray:
    """(new, old) float32: each row's two weights of the old samples."""
    place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0.0, old - 1.0)
    low = np.minimum(place.astype(np.int64), max(old - 2, 0))
    share = (place - low).astype(np.float32)
    weights = np.zeros((new, old), dtype=np.float32)
    weights[np.arange(new), low] = 1.0 - share
    weights[np.arange(new), np.minimum(low + 1, old - 1)] += share
    return weights


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over axis 1."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class ViewLogits:
    """A network's logits of a photograph's views; each is (1 or 2, C+1, h', w'), the second its mirror image's.

    `size` and `whole` are (W, H) at scale 1 and of the photograph.
    """

    logits: tuple[np.ndarray, ...]
    size: tuple[int, int]
    whole: tuple[int, int]

    def maps(self, classes: Sequence[int] | None = None, *, label_filter: str = "maps") -> np.ndarray:
        """Maps of `classes` (None: all), the mean over the views of :func:`smaf.ops.fuse_cams`, not normalised.

        (n, H, W) float32 in 0..1. The views are brought to the size of scale 1, their mean to the photograph's.
        """
        total: np.ndarray | float = 0.0
        for logits in self.logits:
            wanted = list(range(logits.shape[1] - 1) if classes is None else classes)
            if label_filter == "logits":
                shares = softmax(logits[:, [*wanted, logits.shape[1] - 1]])[:, :-1]
            else:
                shares = softmax(logits)[:, wanted]
            maps = upsample(shares, self.size[::-1])
            total = total + ((maps[0] + maps[1][..., ::-1]) / 2 if len(maps) == 2 else maps[0])
        result = np.asarray(total, dtype=np.float32) / len(self.logits)
        return result if self.size == self.whole else upsample(result[None], self.whole[::-1])[0]


def view_logits(cam: Callable[[np.ndarray], np.ndarray], image: Image.Image, *, mean: Sequence[float],
                std: Sequence[float], scales: Sequence[float] = SCALES, flip: bool = True, long_side: int | None = None,
                max_pixels: int = MAX_VIEW_PIXELS) -> ViewLogits:
    """Run a network over the views of a photograph.

    Args:
        cam: (n, 3, h, w) float32 normalised images → (n, C+1, h', w') logits, the last channel background.
        image: RGB, W×H.
        mean, std: of RGB in 0..1.
        scales, flip, long_side, max_pixels: see :func:`smaf.ops.fuse_cams`.
    """
    size = working_size(image.size, scales, long_side=long_side, max_pixels=max_pixels)
    logits = []
    for scale in scales:
        pixels = np.asarray(resize_view(image, size, scale), dtype=np.float32) / 255.0
        view = ((pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)).transpose(2, 0, 1)[None]
        logits.append(cam(np.ascontiguousarray(np.concatenate([view, view[..., ::-1]]) if flip else view)))
    return ViewLogits(tuple(logits), size, image.size)


def mean_maps(cam: Callable[[np.ndarray], np.ndarray], image: Image.Image, *, mean: Sequence[float],
              std: Sequence[float], scales: Sequence[float] = SCALES, flip: bool = True, long_side: int | None = None,
              max_pixels: int = MAX_VIEW_PIXELS) -> np.ndarray:
    """All class maps of a photograph, (C, H, W) float32: :func:`view_logits`, then their mean."""
    return view_logits(cam, image, mean=mean, std=std, scales=scales, flip=flip, long_side=long_side,
                       max_pixels=max_pixels).maps()


def peak_scores(maps: np.ndarray) -> np.ndarray:
    """Score of each class in 0..1: the mean of the strongest hundredth of its map (n, H, W) → (n,)."""
    flat = maps.reshape(len(maps), -1)
    count = max(1, flat.shape[1] // 100)
    return np.asarray(np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1))


def normalise_maps(maps: np.ndarray, classes: Sequence[int]) -> dict[int, np.ndarray]:
    """(n, H, W) summed maps of `classes`, each divided by (its maximum + 1e-5) → `{class index: (H, W)}`."""
    return {int(c): plane / (plane.max() + 1e-5) for c, plane in zip(classes, maps, strict=True)}


def cams_to_mask(cams: dict[int, np.ndarray], *, threshold: float = 0.2,
                 size: tuple[int, int] | None = None) -> np.ndarray:
    """argmax over [threshold, class maps]: (H, W) uint8, 0 background, class index + 1.

    `size` (H, W) is needed where `cams` is empty. A tie goes to the background, then to the lower class.
    """
    shape = next(iter(cams.values())).shape if cams else size
    if shape is None:
        raise ValueError("no class maps: give the mask's size")
    best = np.full(shape, threshold, dtype=np.float32)
    mask = np.zeros(best.shape, dtype=np.uint8)
    for c in sorted(cams):
        wins = cams[c] > best
        mask[wins] = c + 1
        best = np.where(wins, cams[c], best)
    return mask
