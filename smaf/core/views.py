"""The views of a photograph: the sizes and mirror images whose maps are fused."""

from __future__ import annotations

import math
from dataclasses import dataclass

SCALES = (0.5, 1.0, 1.5, 2.0)
MAX_VIEW_PIXELS = 2_000_000  # VOC's and COCO's largest views have 1.0 and 1.6 million
LABEL_FILTERS = ("maps", "logits")


@dataclass(frozen=True)
class Views:
    """Which views of a photograph are fused, and where image-level labels act on them.

    Args:
        scales: factors of the photograph's size; the defaults are the paper's.
        flip: also use each view's mirror image.
        long_side: length in pixels of the longer side at scale 1; None is the photograph's own.
            Departs from the paper.
        max_pixels: cap on a view's pixels, which bounds memory; a warning says where it acts.
        label_filter: `"maps"`, as published: softmax over all channels, then the labelled ones are
            kept; `"logits"`: softmax over the labelled channels and background alone, so that a cow
            that looks like a horse is no background. Departs from the paper.

    Raises :class:`ValueError` where a value is out of its range.

    Example:
        >>> Views((0.5, 1.0)).count  # two scales, each with its mirror image
        4
        >>> Views(label_filter="masks")
        Traceback (most recent call last):
        ValueError: label_filter 'masks': expected one of maps, logits
    """

    scales: tuple[float, ...] = SCALES
    flip: bool = True
    long_side: int | None = None
    max_pixels: int = MAX_VIEW_PIXELS
    label_filter: str = "maps"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales {self.scales}: expected at least one, all above 0")
        for name in ("long_side", "max_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value}: expected at least one pixel")
        check_label_filter(self.label_filter)

    @property
    def count(self) -> int:
        """How many views there are, mirror images included."""
        return len(self.scales) * (2 if self.flip else 1)


def check_label_filter(name: str) -> None:
    """Raise :class:`ValueError` where `name` is none of :data:`LABEL_FILTERS`."""
    if name not in LABEL_FILTERS:
        raise ValueError(f"label_filter {name!r}: expected one of {', '.join(LABEL_FILTERS)}")


PAPER_VIEWS = Views()
ONE_VIEW = Views((1.0,), flip=False)
