"""The run's masks again, in folders that mirror those of the photographs.

Photographs that have a corrected mask get that one, where the run takes them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from smaf.core.files import link_or_copy, output_folder, plain_name
from smaf.core.images import write_mask
from smaf.engine.outputs import corrected_digest
from smaf.engine.pipeline.scope import Scope
from smaf.engine.pipeline.step import OwnStep
from smaf.engine.stages.gen_pm import write_class_list

_FILES = "files"


def mirrored_names(photographs: Mapping[str, Path], top: Path | None = None) -> dict[str, str]:
    """Id → the name of its mask, with folders, of the paths of photographs by id.

    Folders are those below `top`, by default the one that all photographs share; without such (on
    two drives), the names are the ids. Two photographs of one stem in a folder keep their suffixes:
    `a.jpg.png`.

    Example:
        >>> mirrored_names({"x": Path("p/cats/a.jpg"), "y": Path("p/b.JPG"), "z": Path("p/b.png")})
        {'x': 'cats/a.png', 'y': 'b.JPG.png', 'z': 'b.png.png'}
    """
    paths = {image_id: Path(os.path.abspath(path)) for image_id, path in photographs.items()}
    try:
        shared = os.path.commonpath([path.parent for path in paths.values()])
    except ValueError:  # no folder above them all
        return {image_id: f"{image_id}.png" for image_id in paths}
    if top is not None and Path(shared).is_relative_to(os.path.abspath(top)):
        shared = os.path.abspath(top)
    places = {i: PurePosixPath(path.relative_to(shared).as_posix()) for i, path in paths.items()}
    alike = Counter(_stemmed(place).casefold() for place in places.values())
    return {
        image_id: f"{place if alike[_stemmed(place).casefold()] > 1 else _stemmed(place)}.png"
        for image_id, place in places.items()
    }


def _stemmed(place: PurePosixPath) -> str:
    return plain_name(str(place.with_suffix("")))


def _names(run: Scope) -> dict[str, str]:
    pointers = run.data.pointers
    top = None if pointers is None else pointers.photographs_below
    return mirrored_names({i: run.data.photo_path(i) for i in run.lists.photographs}, top)


def step(run: Scope) -> OwnStep:
    """The step that puts the masks in their folders."""
    title, names = "masks of {} photographs in their folders", run.at.mirrored / "classes.txt"
    return OwnStep("masks", title, mirror, basis, (names,), count=len(run.lists.photographs))


def basis(run: Scope) -> Any:
    """Which masks there are, of which time, and what they are called."""
    masks = [
        [name, _time(run.at.masks / f"{image_id}.png"), (run.at.mirrored / name).is_file()]
        for image_id, name in _names(run).items()
    ]
    corrected = run.lists.corrected
    return [*masks, corrected_digest(run.data, corrected)] if corrected else masks


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


def mirror(run: Scope) -> dict[str, Any]:
    """Link each mask to its place, or copy it where the system has no links.

    Corrected masks are written there in the task's values; the method's of these photographs,
    which scores are of, stay in their own folder. Masks of photographs that are no longer in the
    data set go. `classes.txt` names the values.
    """
    names, corrected = _names(run), set(run.lists.corrected)
    output_folder(run.at.mirrored)
    for old in set(run.notes.result("masks").get(_FILES, ())) - set(names.values()):
        (run.at.mirrored / old).unlink(missing_ok=True)
    for image_id, name in names.items():
        if image_id in corrected:
            write_mask(run.at.mirrored / name, run.data.corrected(image_id))
        else:
            _place(run.at.masks / f"{image_id}.png", run.at.mirrored / name)
    write_class_list(run.at.mirrored, run.data)
    return {_FILES: sorted(names.values())}


def _place(mask: Path, target: Path) -> None:
    """Put a mask at `target`, whole or not at all."""
    if target.is_file() and target.samefile(mask):
        return
    link_or_copy(mask, target)
