"""Labels and true masks from COCO's instances, as COCO and annotation tools write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smaf.core.errors import InputError, printable
from smaf.core.names import check_names, find_class, name_key
from smaf.data.init.faults import Faults
from smaf.data.init.labelled import Labelled, Outline, Said, find_one, split_name
from smaf.data.init.matching import FileIndex
from smaf.data.init.table_source import below
from smaf.data.prepare.coco_annotations import Split, read_split

_FIX = "have the tool that wrote it write COCO's instances again, or mend the file"


def read_coco(
    folder: Path,
    files: Sequence[Path],
    index: FileIndex,
    faults: Faults,
    *,
    names: tuple[str, ...] | None = None,
) -> Labelled:
    """Read annotation files, whose categories must agree; several are the lists that they name.

    An image without annotations shows none of the classes. Classes are in ascending category id,
    or in the order of `names`. Photographs may lie beside the file (Roboflow's
    `train/_annotations.coco.json`), or in a folder called as it is (`train2017` of
    `instances_train2017.json`). An image with an object whose outline is missing has no mask.

    Raises :class:`InputError` where files have other categories, or share a photograph.
    """
    found: Labelled | None = None
    declared: tuple[str, ...] = ()
    for path in files:
        split = read_split(path, by_file=True, fix=_FIX)
        if found is None:
            declared = split.names
            found = Labelled(names or declared, {})
            _require_known(declared, found.names, path)
        elif [*map(name_key, split.names)] != [*map(name_key, declared)]:
            raise InputError(
                f"annotation file {printable(path)} has other categories than "
                f"{printable(files[0])}: name files of one data set"
            )
        listed = _add(found, folder, split, index, faults)
        name = split_name(path.stem, path.parent.name)
        if name is not None:
            found.lists.setdefault(name, []).extend(listed)
    if found is None:
        raise ValueError("no annotation files")
    if len(files) == 1 or sum(map(len, found.lists.values())) < len(found.shown):
        found.lists.clear()  # one file is no split; of files without a name nobody knows the part
    return found


def _require_known(declared: Sequence[str], names: Sequence[str], path: Path) -> None:
    check_names(declared, f"annotation file {path}")
    unknown = [name for name in declared if find_class(name, names) is None]
    if unknown:
        raise InputError(
            f"annotation file {printable(path)} has the category {unknown[0]}, which is none of "
            f"--class_names: {', '.join(names)}"
        )


def _add(
    found: Labelled, folder: Path, split: Split, index: FileIndex, faults: Faults
) -> list[str]:
    """Add the labels and outlines of one file; return its photographs."""
    starts = (*below(folder, split.path), split.path.stem.removeprefix("instances_"))
    places = [find_class(name, found.names) or 0 for name in split.names]
    listed = []
    for name, regions in split.regions.items():
        file = find_one(Said(split.path.name, name, (), below=starts), index, faults)
        if file is None:
            continue
        if file in found.shown:
            raise InputError(
                f"annotation file {printable(split.path)}: {file} is there twice, or in another "
                "of the files, too: keep it in one of them"
            )
        placed = [region._replace(class_index=places[region.class_index]) for region in regions]
        found.shown[file] = frozenset(found.names[region.class_index] for region in placed)
        if name not in split.unmasked and len(split.unmasked) < len(split.regions) - split.empty:
            found.outlines[file] = Outline(split.shapes[name], placed, split.path)
        listed.append(file)
    return listed
