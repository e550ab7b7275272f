"""Whether masks can judge or teach anything: a list in which none shows a class cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smaf.core.errors import InputError
from smaf.core.masks import why_no_class
from smaf.data.layout import DataRoot


def values_of(mask: np.ndarray) -> np.ndarray:
    """(256,) bool: which values a (H, W) uint8 mask has."""
    values: np.ndarray = np.bincount(mask.ravel(), minlength=256) > 0
    return values


def check_shown(seen: np.ndarray, masks: str, *, of: DataRoot | None = None) -> None:
    """Raise :class:`InputError` where `masks` show no class.

    `seen` (256,) bool tells which values they have. `of`: they are the data set's true masks, where
    classes that the task leaves out became 255.
    """
    fault = why_no_class(seen)
    if fault is None:
        return
    if of is not None and len(of.classes.names) < len(of.classes.source) and seen[0] and seen[255]:
        fault = (
            f"show none of the classes {', '.join(of.classes.names)}, nothing but background and "
            "what is ignored (255): keep more classes (--classes), or name another list"
        )
    raise InputError(f"{masks} {fault}")


def require_shown(data: DataRoot, ids: Sequence[str], list_name: str) -> None:
    """Check that a true mask of the list shows a class, before work is spent.

    Reads masks up to the first one that does.
    """
    seen = np.zeros(256, dtype=bool)
    for image_id in ids:
        seen |= values_of(data.mask(image_id))
        if seen[1:255].any():
            return
    check_shown(seen, true_masks(data, list_name), of=data)


def true_masks(data: DataRoot, list_name: str) -> str:
    """Return what messages call the true masks of a list."""
    return f"the true masks of list {list_name} below {data.root}"
