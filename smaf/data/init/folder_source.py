"""Labels from folders: the first one below the photographs' folder names the class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smaf.core.errors import InputError, printable
from smaf.core.found_names import in_order
from smaf.data.init.labelled import Labelled, renamed, split_name


def read_folders(
    folder: Path, photographs: Sequence[str], names: tuple[str, ...] | None = None
) -> Labelled:
    """Take each photograph's class from its first folder; `none` and `background` name none.

    Where all of the first folders are parts of a split (train, val or valid, test), as PyTorch's
    ImageFolder has them, they are the lists, and the second folder names the class. Photographs
    beside the class folders have no label. Raises :class:`InputError` where there are no folders.
    """
    split = [file.split("/") for file in photographs]
    firsts = {parts[0] for parts in split if len(parts) > 1}
    parted = (
        bool(firsts)
        and "train" in {split_name(first) for first in firsts}
        and all(map(split_name, firsts))
    )
    level = 1 if parted else 0
    named = {"/".join(parts): parts[level] for parts in split if len(parts) > level + 1}
    classes = names or in_order(named.values())
    if not classes:
        raise InputError(
            f"{printable(folder)} has no folder a class, and no labels are named: name them with "
            "--labels (a table of the columns image and labels, metadata.jsonl, COCO's JSON)"
        )
    shown = renamed({file: [name] for file, name in named.items()}, classes, f"folder {folder}")
    found = Labelled(classes, shown)
    if parted:
        for file in shown:
            found.lists.setdefault(split_name(file.split("/")[0]) or "", []).append(file)
    return found
