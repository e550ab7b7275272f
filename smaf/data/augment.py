"""Training's random geometry and colour, drawn once for a photograph and all its maps.

The same draw acts on photograph, saliency map, fused maps and mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from smaf.core.classes import IGNORE

TARGET_STRIDE = 4  # pixels of the crop between those of stage 2's target


@dataclass(frozen=True)
class Augmentation:
    """The ranges that training draws from; the defaults are EPS's recipe.

    `long_side` is the range of the photograph's longer side in pixels; `scale`, where given, that
    of a factor of its own size instead; `jitter` the strengths of brightness, contrast, saturation
    and hue (None: no colour jitter). `centres`: maps are brought to the target's size by the mean
    over each cell, instead of align_corners=True, as in the release.
    """

    long_side: tuple[int, int] = (256, 512)
    crop: int = 448
    flip: float = 0.5
    jitter: tuple[float, float, float, float] | None = (0.3, 0.3, 0.3, 0.1)
    centres: bool = False
    scale: tuple[float, float] | None = None


@dataclass(frozen=True)
class Geometry:
    """Resize to `size` (w, h), mirror where `flip`, then cut `crop`×`crop` pixels from (left, top).

    Where the resized image is smaller than the crop, left or top is negative and the rest is
    padding.
    """

    size: tuple[int, int]
    flip: bool
    left: int
    top: int
    crop: int
    centres: bool = False

    @staticmethod
    def draw(rng: np.random.Generator, size: tuple[int, int], ranges: Augmentation) -> Geometry:
        """Draw a geometry for an image of `size` (w, h)."""
        if ranges.scale is None:
            factor = int(rng.integers(ranges.long_side[0], ranges.long_side[1] + 1)) / max(size)
        else:
            factor = float(rng.uniform(*ranges.scale))
        w, h = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
        flip = bool(rng.random() < ranges.flip)
        left, top = (
            int(rng.integers(min(0, s - ranges.crop), max(0, s - ranges.crop) + 1)) for s in (w, h)
        )
        return Geometry((w, h), flip, left, top, ranges.crop, ranges.centres)

    def cut(self, planes: Tensor, *, padding: int = 0) -> Tensor:
        """Mirror and cut (K, H, W) planes of the resized image → (K, crop, crop).

        What lies outside of the image becomes `padding`.
        """
        part, rows, columns = self.window(planes)
        after_x, after_y = self.crop - columns.stop, self.crop - rows.stop
        return F.pad(part, (columns.start, after_x, rows.start, after_y), value=padding)

    def window(self, planes: Tensor) -> tuple[Tensor, slice, slice]:
        """Return what the crop shows of (K, H, W) planes, and the crop's rows and columns of it."""
        w, h = self.size
        x, y = max(0, self.left), max(0, self.top)
        right, bottom = min(w, self.left + self.crop), min(h, self.top + self.crop)
        if self.flip:
            part = planes[:, y:bottom, w - right : w - x].flip(2)
        else:
            part = planes[:, y:bottom, x:right]
        rows = slice(y - self.top, bottom - self.top)
        return part, rows, slice(x - self.left, right - self.left)

    def apply_map(self, image: Image.Image) -> Tensor:
        """Greyscale image of the photograph's size → (1, crop, crop) in [0, 1]; bilinear."""
        resized = (
            np.array(image.resize(self.size, Image.Resampling.BILINEAR), dtype=np.float32) / 255.0
        )
        return self.cut(torch.from_numpy(resized)[None])

    def apply_mask(self, mask: np.ndarray) -> Tensor:
        """Return the crop, (crop, crop) int64, of an (H, W) uint8 mask of the photograph's size.

        Nearest pixels are taken; padding is 255.
        """
        resized = np.array(Image.fromarray(mask).resize(self.size, Image.Resampling.NEAREST))
        return self.cut(torch.from_numpy(resized)[None].long(), padding=IGNORE)[0]

    def apply_planes(self, planes: Tensor, side: int) -> Tensor:
        """Return (K, side, side) maps over the crop of (K, H, W) float maps; K > 0.

        The maps are of the photograph's size; padding is 0. Bilinear to the resized image, cut,
        then to `side`: bilinear with align_corners=True, as in the release, or with `centres` each
        cell's mean.
        """
        resized = F.interpolate(
            planes[None], size=self.size[::-1], mode="bilinear", align_corners=False
        )[0]
        if self.centres:
            return F.interpolate(self.cut(resized)[None], size=(side, side), mode="area")[0]
        return F.interpolate(
            self.cut(resized)[None], size=(side, side), mode="bilinear", align_corners=True
        )[0]

    def grid(self, side: int) -> Tensor:
        """Return where the pixels of a (side, side) map over the crop lie in the whole image.

        (side, side, 2), for `grid_sample(..., align_corners=False)`. The corners of map and crop
        coincide, as in the target's resize; with `centres` the cells' centres are taken.
        """
        step = torch.arange(side, dtype=torch.float32)
        step = (
            (step + 0.5) * (self.crop / side) - 0.5
            if self.centres
            else step * ((self.crop - 1) / max(1, side - 1))
        )
        x = (step + self.left + 0.5) / self.size[0]
        y = (step + self.top + 0.5) / self.size[1]
        x = 1.0 - x if self.flip else x
        return torch.stack([x.expand(side, side), y[:, None].expand(side, side)], dim=2) * 2.0 - 1.0


def jitter_colours(rng: np.random.Generator, planes: Tensor, strengths: Sequence[float]) -> Tensor:
    """Change brightness, contrast, saturation and hue by random factors, in random order.

    `planes` (3, H, W) uint8 are RGB; the outcome has new ones.
    """
    from smaf.data import colours  # compiles its loops: a second that only training needs to spend

    brightness, contrast, saturation, hue = strengths
    changes = [
        (colours.adjust_brightness, rng.uniform(1 - brightness, 1 + brightness)),
        (colours.adjust_contrast, rng.uniform(1 - contrast, 1 + contrast)),
        (colours.adjust_saturation, rng.uniform(1 - saturation, 1 + saturation)),
        (colours.adjust_hue, rng.uniform(-hue, hue)),
    ]
    changed = planes.clone(memory_format=torch.contiguous_format)
    flat = changed.view(3, -1).numpy()
    for index in rng.permutation(len(changes)):
        change, factor = changes[index]
        change(flat, factor)
    return changed
