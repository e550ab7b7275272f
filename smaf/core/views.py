"""The views of a photograph: the sizes and mirror images whose maps are fused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from smaf.core.errors import InputError
from smaf.core.options import POSITIVE, Options, option

SCALES = (0.5, 1.0, 1.5, 2.0)
MAX_VIEW_PIXELS = 2_000_000  # VOC's and COCO's largest views have 1.0 and 1.6 million
LABEL_FILTERS = ("maps", "logits")


@dataclass(frozen=True)
class Views(Options):
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

    Raises :class:`InputError` where a value is out of its range.

    Example:
        >>> Views((0.5, 1.0)).count  # two scales, each with its mirror image
        4
        >>> Views(label_filter="masks")
        Traceback (most recent call last):
        smaf.core.errors.InputError: --label_filter masks: expected one of maps, logits
    """

    GROUP: ClassVar[str] = "views"

    scales: tuple[float, ...] = option(
        SCALES, "factors of the photograph's size", within=POSITIVE, kind=float
    )
    flip: bool = option(True, "use mirror images, too")
    long_side: int | None = option(
        None,
        "longer side in pixels at scale 1; default: the photograph's own",
        kind=int,
        within=POSITIVE,
    )
    max_pixels: int = option(
        MAX_VIEW_PIXELS, "size cap of a view", name="max_view_pixels", within=POSITIVE
    )
    label_filter: str = option(
        "maps",
        "image-level labels act on the softmax's maps, as published, or on the logits before it: "
        "then classes that the photograph does not show take nothing from those it does",
        choices=LABEL_FILTERS,
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))
        super().__post_init__()

    @property
    def count(self) -> int:
        """How many views there are, mirror images included."""
        return len(self.scales) * (2 if self.flip else 1)


def check_label_filter(name: str) -> None:
    """Raise :class:`InputError` where `name` is none of :data:`LABEL_FILTERS`."""
    if name not in LABEL_FILTERS:
        raise InputError(f"label_filter {name!r}: expected one of {', '.join(LABEL_FILTERS)}")


PAPER_VIEWS = Views()
ONE_VIEW = Views((1.0,), flip=False)
