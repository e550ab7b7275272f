"""This module makes a photograph's views and turns their maps into scores and masks.

It uses NumPy alone: prediction does without PyTorch's start-up.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from smaf.core.class_maps import BACKGROUND, ClassMaps
from smaf.core.predict_settings import PEAK
from smaf.core.views import MAX_VIEW_PIXELS, PAPER_VIEWS, Views

_PIECE_WIDTH = 4096


def working_size(size: tuple[int, int], views: Views) -> tuple[int, int]:
    """The (W, H) that scale 1 has: the photograph's own, or `views.long_side` at its longer side.

    Where the largest view would have more than `views.max_pixels`, all are made smaller by one
    factor, with a warning.

    Example:
        >>> working_size((500, 375), Views(long_side=250))
        (250, 188)
    """
    (w, h), max_pixels = size, views.max_pixels
    factor = 1.0 if views.long_side is None else views.long_side / max(w, h)
    largest = w * h * (factor * max(views.scales)) ** 2
    if largest > max_pixels:
        factor *= math.sqrt(max_pixels / largest)
        warnings.warn(
            f"a photograph of {w}×{h} pixels is worked on at {max(1, round(w * factor))}×"
            f"{max(1, round(h * factor))} so that no view exceeds {max_pixels} pixels (size cap)",
            RuntimeWarning,
            stacklevel=3,
        )
    return max(1, round(w * factor)), max(1, round(h * factor))


def resize_view(image: Image.Image, size: tuple[int, int], scale: float) -> Image.Image:
    """Bicubic resize of the PIL image to (round(w·scale), round(h·scale)), at least one pixel."""
    target = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    return image if image.size == target else image.resize(target, Image.Resampling.BICUBIC)


def upsample(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(N, C, h, w) → (N, C, *shape), bilinear as PyTorch has it with align_corners=False."""
    rows, columns = (
        _interpolation(old, new, slice(0, new), slice(0, old))
        for old, new in zip(maps.shape[2:], shape, strict=True)
    )
    return np.asarray(rows @ maps @ columns.T)


def _upsample_part(
    maps: np.ndarray, shape: tuple[int, int], part: tuple[slice, slice]
) -> np.ndarray:
    """The rows and columns `part` of :func:`upsample`, from the samples beside them alone."""
    axes = list(zip(maps.shape[2:], shape, part, strict=True))
    used = [_samples(old, new, here) for old, new, here in axes]
    rows, columns = (_interpolation(*axis, here) for axis, here in zip(axes, used, strict=True))
    return np.asarray(rows @ maps[:, :, used[0], used[1]] @ columns.T)


def _places(old: int, new: int, part: slice) -> np.ndarray:
    """Where the new samples `part` lie among the old ones."""
    return np.clip((np.arange(part.start, part.stop) + 0.5) * (old / new) - 0.5, 0.0, old - 1.0)


def _samples(old: int, new: int, part: slice) -> slice:
    """The old samples that the new ones `part` are made of."""
    low = np.minimum(_places(old, new, part).astype(np.int64), max(old - 2, 0))
    return slice(int(low[0]), min(int(low[-1]) + 2, old))


def _interpolation(old: int, new: int, part: slice, used: slice) -> np.ndarray:
    """(part, used) float32: each new sample's two weights of the old samples."""
    place = _places(old, new, part)
    low = np.minimum(place.astype(np.int64), max(old - 2, 0))
    share = (place - low).astype(np.float32)
    weights = np.zeros((len(place), used.stop - used.start), dtype=np.float32)
    index = np.arange(len(place))
    weights[index, low - used.start] = 1.0 - share
    weights[index, np.minimum(low + 1, old - 1) - used.start] += share
    return weights


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over axis 1."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class SizedMaps:
    """This holds maps (n, h, w) float32 of a photograph of the size `whole` (W, H).

    The maps are brought to the photograph's size piece by piece, so that memory does not grow with
    it. A photograph of at most :data:`MAX_VIEW_PIXELS` is one piece.
    """

    maps: np.ndarray
    whole: tuple[int, int]

    def full(self) -> np.ndarray:
        """(n, H, W)."""
        shape = self.whole[::-1]
        return self.maps if self.maps.shape[1:] == shape else upsample(self.maps[None], shape)[0]

    def at(self, whole: tuple[int, int]) -> SizedMaps:
        """The same maps for another size (W, H) of the photograph."""
        return replace(self, whole=whole)

    def pieces(
        self, max_pixels: int = MAX_VIEW_PIXELS
    ) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """(rows and columns, the maps there) of :meth:`full`, of at most `max_pixels` each."""
        w, h = self.whole
        if w * h <= max_pixels:
            yield (slice(0, h), slice(0, w)), self.full()
            return
        width = min(w, _PIECE_WIDTH, max_pixels)
        height = max_pixels // width
        for top in range(0, h, height):
            for left in range(0, w, width):
                part = slice(top, min(top + height, h)), slice(left, min(left + width, w))
                yield part, _upsample_part(self.maps[None], (h, w), part)[0]

    def peak_scores(self, share: float = PEAK) -> np.ndarray:
        """:func:`peak_scores` of :meth:`full`.

        Where more than a hundredth of a large photograph's values would have to be held at once,
        the maps are taken at their own size.
        """
        w, h = self.whole
        if w * h <= MAX_VIEW_PIXELS:
            return peak_scores(self.full(), share)
        if share > PEAK:
            return peak_scores(self.maps, share)
        count = _count(w * h, share)
        strongest = [np.empty(0, dtype=np.float32)] * len(self.maps)
        for _, piece in self.pieces():
            strongest = [
                _strongest(values, plane, count)
                for values, plane in zip(strongest, piece, strict=True)
            ]
        return np.array([np.partition(values, -count)[-count:].mean() for values in strongest])

    def maxima(self) -> np.ndarray:
        """(n,): the largest value of each map of :meth:`full`."""
        return np.max([piece.max(axis=(1, 2)) for _, piece in self.pieces()], axis=0)

    def mask(self, decide: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """(H, W) uint8: what `decide` makes of the maps, (n, h, w) → (h, w), piece by piece."""
        mask = np.zeros(self.whole[::-1], dtype=np.uint8)
        for part, piece in self.pieces():
            mask[part] = decide(piece)
        return mask


def _strongest(values: np.ndarray, plane: np.ndarray, count: int) -> np.ndarray:
    """Return values that include the `count` largest of `plane` and `values` together.

    `values` is what this function returned for earlier planes. There are at most
    2·`count` values; once there are `count` or more, `count` of them are not less than the first.
    """
    enough = len(values) >= count
    values = np.concatenate([values, plane[plane > values[0]] if enough else plane.ravel()])
    if len(values) < count or (enough and len(values) < 2 * count):
        return values
    return np.partition(values, -count)[-count:]


def mean_of(several: Sequence[SizedMaps]) -> SizedMaps:
    """The mean of the maps of several networks, which have one size.

    Example:
        >>> halves = [SizedMaps(np.full((1, 1, 1), v, dtype=np.float32), (1, 1)) for v in (0, 1)]
        >>> mean_of(halves).maps.tolist()
        [[[0.5]]]
    """
    if len(several) == 1:
        return several[0]
    total = np.sum([each.maps for each in several], axis=0)
    return replace(several[0], maps=total / np.float32(len(several)))


@dataclass(frozen=True)
class ViewLogits:
    """This holds a network's logits of a photograph's views.

    The logits of a view are (1 or 2, C+1, h', w'), the second those of its mirror image. `size` is
    (W, H) at scale 1, `whole` is (W, H) of the photograph; `label_filter` is that of
    :class:`smaf.core.views.Views`.
    """

    logits: tuple[np.ndarray, ...]
    size: tuple[int, int]
    whole: tuple[int, int]
    label_filter: str = "maps"

    def maps(self, classes: Sequence[int] | None = None) -> np.ndarray:
        """Mean over the views of the softmax maps of `classes` (None: all), not normalised.

        (n, H, W) float32 in 0..1. The views are brought to the size of scale 1, their mean to the
        photograph's, as in :func:`smaf.ops.torch_mean_maps`.
        """
        return self.sized_maps(classes).full()

    def sized_maps(self, classes: Sequence[int] | None = None) -> SizedMaps:
        """:meth:`maps` at the size of scale 1, for photographs of any size."""
        total: np.ndarray | float = 0.0
        for logits in self.logits:
            wanted = list(range(logits.shape[1] - 1) if classes is None else classes)
            if self.label_filter == "logits":
                shares = softmax(logits[:, [*wanted, logits.shape[1] - 1]])[:, :-1]
            else:
                shares = softmax(logits)[:, wanted]
            maps = upsample(shares, self.size[::-1])
            total = total + ((maps[0] + maps[1][..., ::-1]) / 2 if len(maps) == 2 else maps[0])
        return SizedMaps(np.asarray(total, dtype=np.float32) / len(self.logits), self.whole)


def view_logits(
    cam: Callable[[np.ndarray], np.ndarray],
    image: Image.Image,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    views: Views = PAPER_VIEWS,
) -> ViewLogits:
    """Run a network over the views of a photograph: the way to maps without PyTorch.

    Args:
        cam: (n, 3, h, w) float32 normalised images → (n, C+1, h', w') logits, the last channel
            background.
        image: RGB, W×H.
        mean, std: of RGB in 0..1.
        views: which sizes and mirror images.
    """
    size = working_size(image.size, views)
    logits = {}
    for scale in sorted(views.scales, reverse=True):  # see smaf.ops.fusion: memory
        pixels = np.asarray(resize_view(image, size, scale), dtype=np.float32) / 255.0
        normal = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
        view = normal.transpose(2, 0, 1)[None]
        mirrored = [view, view[..., ::-1]] if views.flip else [view]
        logits[scale] = np.concatenate([cam(np.ascontiguousarray(image)) for image in mirrored])
    return ViewLogits(
        tuple(logits[scale] for scale in views.scales), size, image.size, views.label_filter
    )


def mean_maps(
    cam: Callable[[np.ndarray], np.ndarray],
    image: Image.Image,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    views: Views = PAPER_VIEWS,
) -> np.ndarray:
    """All class maps of a photograph, (C, H, W) float32: :func:`view_logits`, then their mean."""
    return view_logits(cam, image, mean=mean, std=std, views=views).maps()


def _count(pixels: int, share: float) -> int:
    """How many of `pixels` are a share in 0..1 of them, rounded down; at least 1."""
    return max(1, math.floor(pixels * share + 1e-6))  # 1e-6: a hundredth of 700 is 7, not 6


def peak_scores(maps: np.ndarray, share: float = PEAK) -> np.ndarray:
    """Return the score of each class in 0..1, (n,), from its map in `maps` (n, H, W).

    The score is the mean of the strongest `share` of the map's pixels: 0 is the strongest one
    alone, 1 the mean over the photograph, as a classifier's pooling has it.

    Example:
        >>> maps = np.array([[[0.9, 0.5], [0.1, 0.1]]])
        >>> [peak_scores(maps, share).round(2).tolist() for share in (0.0, 0.5, 1.0)]
        [[0.9], [0.7], [0.4]]
    """
    flat = maps.reshape(len(maps), -1)
    count = _count(flat.shape[1], share)
    return np.asarray(np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1))


def normalise_maps(
    maps: np.ndarray, classes: Sequence[int], *, maxima: Sequence[float] | np.ndarray | None = None
) -> ClassMaps:
    """Divide each of the summed maps (n, H, W) of `classes` by its maximum + 1e-5.

    Returns `{class index: (H, W)}`. `maxima` are the maxima of the whole maps where `maps` are a
    piece of them.
    """
    largest = [plane.max() for plane in maps] if maxima is None else maxima
    return {
        int(c): plane / (top + 1e-5) for c, plane, top in zip(classes, maps, largest, strict=True)
    }


def cams_to_mask(
    cams: ClassMaps, *, threshold: float = BACKGROUND, shape: tuple[int, int] | None = None
) -> np.ndarray:
    """argmax over [threshold, class maps]: (H, W) uint8, 0 background, class index + 1.

    `shape` (H, W) is needed where `cams` is empty. A tie goes to the background, then to the lower
    class.
    """
    return strongest_class(cams, threshold=threshold, shape=shape)[0]


def strongest_class(
    cams: ClassMaps, *, threshold: float, shape: tuple[int, ...] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of :func:`cams_to_mask`, and the value that won: (H, W) uint8 and float32.

    Example:
        >>> maps = {0: np.array([[0.1, 0.5]]), 4: np.array([[0.3, 0.5]])}
        >>> [part.round(2).tolist() for part in strongest_class(maps, threshold=0.2)]
        [[[5, 1]], [[0.3, 0.5]]]
    """
    found = next(iter(cams.values())).shape if cams else shape
    if found is None:
        raise ValueError("no class maps: give the mask's shape")
    best = np.full(found, threshold, dtype=np.float32)
    mask = np.zeros(best.shape, dtype=np.uint8)
    for c in sorted(cams):
        wins = cams[c] > best
        np.copyto(mask, np.uint8(c + 1), where=wins)
        np.copyto(best, cams[c], where=wins, casting="same_kind")
    return mask, best
