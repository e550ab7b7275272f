"""Masks in colours beside a labelmap, as CVAT exports "segmentation mask 1.1" (and VOC's masks).

```
labelmap.txt                      name:r,g,b:parts:actions, one a line
ImageSets/Segmentation/default.txt
SegmentationClass/<photograph>.png
SegmentationObject/…              not read
```
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from smaf.core.errors import InputError
from smaf.core.inner_png import open_png
from smaf.core.names import is_background
from smaf.data.formats.format import Annotated, Layer
from smaf.data.formats.place import FIX, Place

LABELMAP, MASKS = "labelmap.txt", "SegmentationClass"
_BLACK = 0


def read(place: Place) -> list[Annotated]:
    """The masks of a folder or archive, one a photograph; black is background.

    A mask that is all background may be of a photograph that nobody has looked at. Raises
    :class:`InputError` where there is no labelmap or no mask.
    """
    maps = place.named(LABELMAP)
    if len(maps) != 1:
        raise InputError(f"{place} has {len(maps)} files {LABELMAP}, expected one: {FIX}")
    top = posixpath.dirname(maps[0])
    below = posixpath.join(top, MASKS) + "/"
    colours = read_labelmap(place.read(maps[0]), f"{place}, {maps[0]}")
    files = [n for n in place.names if n.startswith(below) and n.lower().endswith(".png")]
    if not files:
        raise InputError(f"{place} has no masks {below}<photograph>.png: {FIX}")
    return [
        Annotated(
            posixpath.splitext(name[len(below) :])[0],
            f"{place}, {name}",
            _picture(place, name).shape[::-1],
            partial(_layers, place, name, colours),
        )
        for name in files
    ]


def read_labelmap(data: bytes, where: str) -> dict[int, str]:
    """Colour (red · 65,536 + green · 256 + blue) → name.

    Raises :class:`InputError` for a line that is not `name:r,g,b::`, and a colour that comes twice.
    """
    found: dict[int, str] = {}
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *fields = line.rsplit(":", 3)
        try:
            red, green, blue = (int(value) for value in fields[0].split(","))
            code = (red << 16) | (green << 8) | blue
            if not name or not all(0 <= value <= 255 for value in (red, green, blue)):
                raise ValueError
        except (ValueError, IndexError):
            raise InputError(
                f"{where}, line {number} is {line!r:.80}, expected name:r,g,b::: {FIX}"
            ) from None
        if found.setdefault(code, name.strip()) != name.strip():
            raise InputError(
                f"{where}, line {number}: {name} has the colour of {found[code]}: give each label "
                "a colour of its own in the task"
            )
    return found


def _picture(place: Place, name: str) -> np.ndarray:
    """A mask's colours (H, W) int32, as :func:`read_labelmap` counts them."""
    try:
        image = open_png(place.read(name))
    except ValueError as error:
        raise InputError(f"mask {place}, {name}: {error}: {FIX}") from error
    pixels = np.asarray(image.convert("RGB")).astype(np.int32)
    return (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]


def _layers(
    place: Place, name: str, colours: Mapping[int, str], shape: tuple[int, int]
) -> Iterator[Layer]:
    picture = _picture(place, name)
    for code in np.unique(picture).tolist():
        label = colours.get(code)
        if code == _BLACK and (label is None or is_background(label)):
            continue
        if label is None:
            rgb = f"{code >> 16},{code >> 8 & 255},{code & 255}"
            raise ValueError(f"it has the colour {rgb}, which {LABELMAP} does not name")
        yield Layer(label, picture == code)
