"""Hugging Face's image folders: `metadata.jsonl`, photographs and masks."""

from __future__ import annotations

import json
import posixpath

from smaf.core.errors import InputError
from smaf.core.fields import parse_json
from smaf.core.files import read_lines, write_text
from smaf.core.images import write_mask
from smaf.data.formats.format import (
    Annotated,
    Export,
    annotated_mask,
    listed_classes,
    write_class_list,
)
from smaf.data.formats.place import FIX, Place

FILE, MASKS = "metadata.jsonl", "masks"
_FOLDERS = {"train": "train", "val": "validation"}  # as `datasets` calls the lists
_COLUMNS = ("mask_file_name", "label_file_name", "annotation_file_name")


class HuggingFace:
    """`train/metadata.jsonl`, a line a photograph: `file_name`, `mask_file_name`, `labels`.

    `datasets.load_dataset("imagefolder", data_dir=…)` makes columns image, mask and labels of them;
    labels are a text, `cat;dog`, since lists that are all empty would have another type.
    `classes.txt` names the masks' values; without it they are those of the data set's masks. A mask
    without a class says that all is background.
    """

    name = "huggingface"
    about = "Hugging Face's imagefolder, metadata.jsonl and masks"
    takes = frozenset[str]()
    ignores = True

    def write(self, export: Export) -> None:
        """Write a folder for each list that has photographs, and `classes.txt`."""
        lines: dict[str, list[str]] = {}
        for picture in export.pictures:
            folder = export.folder / _FOLDERS[picture.split]
            (folder / MASKS).mkdir(parents=True, exist_ok=True)
            picture.put(folder / picture.file)
            mask, name = picture.mask(), f"{MASKS}/{picture.image_id}.png"
            write_mask(folder / name, mask)
            shown = [export.classes[region.class_index] for region in export.regions(mask)]
            row = {"file_name": picture.file, "mask_file_name": name, "labels": ";".join(shown)}
            lines.setdefault(picture.split, []).append(json.dumps(row, ensure_ascii=False))
        for split, rows in lines.items():
            write_text(export.folder / _FOLDERS[split] / FILE, "\n".join(rows) + "\n")
        write_class_list(export.folder, export.classes)

    def claims(self, place: Place) -> bool:
        """A file `metadata.jsonl`, or a folder with one."""
        return place.path.name == FILE or bool(place.named(FILE))

    def read(self, place: Place) -> list[Annotated]:
        """The lines of each `metadata.jsonl` that name a mask."""
        files = place.named(FILE)
        if not place.is_folder:
            place, files = Place(place.path.parent), [FILE]
        names = listed_classes(place) or listed_classes(_above(place))
        found = [one for file in files for one in _read(place, file, names)]
        if not found:
            raise InputError(
                f"{place}: no line of {FILE} names a mask ({', '.join(_COLUMNS)}): {FIX}"
            )
        return found


def _above(place: Place) -> Place:
    """What was exported, with the class list of all lists, where a place is one list of it."""
    folder = place.path.absolute()
    return Place(folder.parent) if folder.name in _FOLDERS.values() else place


def _read(place: Place, file: str, names: tuple[str, ...] | None) -> list[Annotated]:
    found = []
    for number, line in enumerate(read_lines(place.file(file), "metadata", FIX), start=1):
        where = f"{place}, {file}, line {number}"
        row = parse_json(line, where, FIX)
        name = row.get("file_name") if isinstance(row, dict) else None
        if not isinstance(name, str) or not name:
            raise InputError(f"{where} has no file_name: {FIX}")
        mask = next((row[key] for key in _COLUMNS if row.get(key)), None)
        if mask is None:
            continue
        inside = place.beside(file, mask) if isinstance(mask, str) else None
        if inside is None:
            raise InputError(f"{where}: mask {mask!r:.200} is no file in {place}: {FIX}")
        photograph = posixpath.join(posixpath.dirname(file), name)
        found.append(annotated_mask(place.file(inside), names, photograph))
    return found
