"""The kinds of labels that `smaf init` takes, told apart by files' names: each has a reader.

| kind | recognised by |
| --- | --- |
| table | `.csv`, `.tsv`, `.txt` |
| Hugging Face's metadata | `.jsonl` |
| COCO instances | `.json` |
| class folders | the word `folders`, or nothing named and photographs in folders |
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from smaf.core.classes import MAX_CLASSES
from smaf.core.errors import InputError, MissingInputError, printable
from smaf.core.names import check_names
from smaf.data.init.coco_source import read_coco
from smaf.data.init.faults import Faults
from smaf.data.init.folder_source import read_folders
from smaf.data.init.jsonl_source import read_metadata
from smaf.data.init.labelled import Labelled
from smaf.data.init.matching import FileIndex
from smaf.data.init.table_source import read_label_table

FOLDERS = "folders"
_KINDS = {".csv": "table", ".tsv": "table", ".txt": "table", ".jsonl": "metadata", ".json": "coco"}
# Where a folder's labels are looked for when none are named: what lies there alone is taken
_USUAL = (
    "labels.csv",
    "labels.tsv",
    "metadata.csv",
    "_classes.csv",
    "metadata.jsonl",
    "*/metadata.jsonl",
    "_annotations.coco.json",
    "*/_annotations.coco.json",
    "annotations/instances_*.json",
    "result.json",
)
_EXPECTED = (
    "a table (.csv, .tsv), Hugging Face's metadata.jsonl, COCO's .json, or the word folders for "
    "one folder a class"
)


def label_files(folder: Path, labels: Sequence[str | Path] | None) -> list[Path]:
    """The files that hold the labels; an empty list means one folder a class.

    A name is taken as it is, or below `folder`. Raises :class:`InputError` where a file is missing
    or of an unknown kind, where they are of several kinds, and where none are named and none found.
    """
    if labels is None:
        return _usual_files(folder)
    if [str(name) for name in labels] == [FOLDERS] and not Path(FOLDERS).is_file():
        return []
    files = [_existing(folder, name) for name in labels]
    for path in files:
        _kind(path)
    if len({_kind(path) for path in files}) > 1 or (len(files) > 1 and _kind(files[0]) == "table"):
        raise InputError(
            f"--labels {' '.join(map(printable, files))}: expected one file, or several of COCO's "
            "or Hugging Face's that share the photographs"
        )
    if len({os.path.realpath(path) for path in files}) < len(files):
        raise InputError(f"--labels {' '.join(map(printable, files))}: name each file once")
    return files


def _existing(folder: Path, name: str | Path) -> Path:
    path = Path(name)
    found = path if path.exists() or path.is_absolute() else folder / path
    if found.is_dir():
        raise InputError(f"labels {printable(path)} are a folder: expected {_EXPECTED}")
    if not found.is_file():
        raise MissingInputError(f"labels {printable(path)} do not exist: expected {_EXPECTED}")
    return found


def _kind(path: Path) -> str:
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"labels {printable(path)} are of an unknown kind: expected {_EXPECTED}")
    return kind


def _usual_files(folder: Path) -> list[Path]:
    found = [path for pattern in _USUAL for path in sorted(folder.glob(pattern)) if path.is_file()]
    kinds = {(_kind(path), path.name if _kind(path) == "table" else "") for path in found}
    if len(kinds) > 1:
        raise InputError(
            f"{printable(folder)} has labels of several kinds, {printable(found[0])} and "
            f"{printable(found[-1])}: say which with --labels"
        )
    return found


def read_labels(
    folder: Path,
    files: Sequence[Path],
    photographs: Sequence[str],
    faults: Faults,
    *,
    names: tuple[str, ...] | None = None,
) -> Labelled:
    """Read what :func:`label_files` has found; `photographs` are paths below `folder`.

    `names` are the data set's classes, where the user names them: another name is an
    :class:`InputError`.
    """
    index = FileIndex(photographs)
    if not files:
        found = read_folders(folder, photographs, names)
    else:
        read: Callable[..., Labelled] = {
            "table": read_label_table,
            "metadata": read_metadata,
            "coco": read_coco,
        }[_kind(files[0])]
        found = read(folder, files, index, faults, names=names)
    where = f"labels {printable(files[0])}" if files else f"folders of {printable(folder)}"
    check_names(found.names, where)
    if not found.names or len(found.names) > MAX_CLASSES:
        raise InputError(
            f"{where} have {len(found.names)} classes, such as "
            f"{', '.join(found.names[:3]) or 'none'}: expected 1 to {MAX_CLASSES}"
        )
    return found
