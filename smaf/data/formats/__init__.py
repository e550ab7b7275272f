"""Formats of annotation tools: masks go out to be corrected, and come back.

The table of formats; one more is a file with a class (:class:`~smaf.data.formats.format.Format`)
and a line here.
"""

from __future__ import annotations

from smaf.core.errors import InputError
from smaf.data.formats.coco import Coco
from smaf.data.formats.cvat import Cvat
from smaf.data.formats.format import Format
from smaf.data.formats.huggingface import HuggingFace
from smaf.data.formats.index_masks import IndexMasks
from smaf.data.formats.label_studio import LabelStudio
from smaf.data.formats.labelme import Labelme
from smaf.data.formats.place import Place
from smaf.data.formats.ultralytics import Ultralytics, YoloSeg

_ALL: tuple[Format, ...] = (
    Coco(),
    Ultralytics(),
    YoloSeg(),
    Cvat(),
    LabelStudio(),
    Labelme(),
    HuggingFace(),
    IndexMasks(),
)
FORMATS: dict[str, Format] = {made.name: made for made in _ALL}


def format_of(place: Place) -> Format:
    """The one format that a file or folder seems to be of.

    Raises :class:`InputError` where it seems to be of none, or of several.
    """
    found = [one for one in FORMATS.values() if one.claims(place)]
    if len(found) == 1:
        return found[0]
    several = " or ".join(one.name for one in found)
    raise InputError(
        f"{place} {f'may be {several}' if found else 'is of no format that is known'}: name it "
        f"with --from, one of {', '.join(FORMATS)}"
        + (" (archives are CVAT's alone: unpack others)" if place.suffix == ".zip" else "")
    )
