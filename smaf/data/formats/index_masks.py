"""A folder of masks whose values are class numbers, as the project writes them itself."""

from __future__ import annotations

from smaf.core.errors import InputError
from smaf.core.images import MASK_SUFFIXES, write_mask
from smaf.core.record import RECORD
from smaf.data.formats.format import (
    CLASS_LIST,
    Annotated,
    Export,
    annotated_mask,
    listed_classes,
    write_class_list,
)
from smaf.data.formats.place import FIX, Place

_BESIDE = {CLASS_LIST, RECORD}


class IndexMasks:
    """Masks `<id>.png`: 0 background, class numbers, 255 ignored; `classes.txt` names them.

    Without `classes.txt` the values are those of the data set's masks. A mask without a class says
    that all is background.
    """

    name = "masks"
    about = "PNGs whose values are class numbers, and classes.txt"
    takes = frozenset[str]()
    ignores = True

    def write(self, export: Export) -> None:
        """Write the masks and `classes.txt`; photographs are not copied."""
        for picture in export.pictures:
            write_mask(export.folder / f"{picture.image_id}.png", picture.mask())
        write_class_list(export.folder, export.classes)

    def claims(self, place: Place) -> bool:
        """A folder of PNGs, but for `classes.txt` and a run's record."""
        others = [name for name in place.names if not name.lower().endswith(MASK_SUFFIXES)]
        return place.is_folder and len(others) < len(place.names) and {*others} <= _BESIDE

    def read(self, place: Place) -> list[Annotated]:
        """A mask a photograph; folders below may mirror those of the photographs."""
        files = [name for name in place.names if name.lower().endswith(MASK_SUFFIXES)]
        if not files:
            raise InputError(f"{place} has no masks ({', '.join(MASK_SUFFIXES)}): {FIX}")
        names = listed_classes(place)
        return [annotated_mask(place.file(name), names, name.rsplit(".", 1)[0]) for name in files]
