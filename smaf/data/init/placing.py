"""A new data set's folder, written whole: beside its place first, then renamed."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smaf.core.errors import InputError, printable
from smaf.core.files import output_folder, read_json
from smaf.data.pointers import POINTERS

log = logging.getLogger("smaf")

MADE = "smaf_init"  # the key of `dataset.json` that says by which call it was made
# What a data set of `smaf init` consists of; the lists come last: without them it is none
_OWNED = (
    "metadata",
    "labels.csv",
    "files.csv",
    "faults.csv",
    "faults_each.csv",
    "SegmentationClassAug",
    POINTERS,
    "ImageSets",
)


def check_place(out: Path, call: Mapping[str, Any], *, overwrite: bool) -> None:
    """Raise :class:`InputError` where `out` is something else than a place for this data set.

    It may be missing, empty, or made by the same call; with `overwrite` by another call of
    `smaf init`.
    """
    if not out.exists() or (out.is_dir() and not os.listdir(out)):
        return
    if not out.is_dir():
        raise InputError(f"--out {printable(out)} is a file: name a folder")
    made = made_by(out)
    if made is None:
        raise InputError(
            f"--out {printable(out)} holds other files than a data set of `smaf init`: name a new "
            "folder"
        )
    if made != call and not overwrite:
        differ = sorted(key for key in {*made, *call} if made.get(key) != call.get(key))
        raise InputError(
            f"--out {printable(out)} was made with another {differ[0]}: name another folder, or "
            "make it anew with --overwrite"
        )


def made_by(out: Path) -> dict[str, Any] | None:
    """The call that made the data set in `out`; None where `smaf init` did not."""
    path = out / POINTERS
    if not path.is_file():
        return None
    value = read_json(path, "data-set file", "name a new folder with --out")
    made = value.get(MADE) if isinstance(value, dict) else None
    return made if isinstance(made, dict) else None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder beside `out`; after the block its files take their places in `out`.

    Where the block raises an error, or its files are those of `out` already, `out` stays as it was.
    What is in `out` and no part of the data set (saliency maps, results) stays in any case.
    """
    output_folder(out.parent)
    temporary = out.with_name(f".smaf-{uuid.uuid4().hex[:8]}.part")
    temporary.mkdir()
    try:
        yield temporary
        if _same(temporary, out):
            log.info("%s is as it was", printable(out))
        else:
            _place(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _place(temporary: Path, out: Path) -> None:
    if not out.exists():
        os.replace(temporary, out)
        return
    for name in reversed(_OWNED):  # the lists go first
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        elif name != POINTERS:
            (out / name).unlink(missing_ok=True)
    for name in _OWNED:
        if (temporary / name).exists():
            os.replace(temporary / name, out / name)


def _files(folder: Path) -> dict[str, Path]:
    """Relative path → file of the data set's own files in a folder."""
    found = {}
    for name in _OWNED:
        places = sorted((folder / name).rglob("*")) if (folder / name).is_dir() else [folder / name]
        found.update({p.relative_to(folder).as_posix(): p for p in places if p.is_file()})
    return found


def _same(one: Path, other: Path) -> bool:
    ours, theirs = _files(one), _files(other)
    return ours.keys() == theirs.keys() and all(
        path.read_bytes() == theirs[name].read_bytes() for name, path in ours.items()
    )
