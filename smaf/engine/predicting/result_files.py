"""This module names the files that `smaf predict` writes of a photograph.

It also says how these files are known again.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from PIL import Image

from smaf.core.errors import InputError, printable
from smaf.core.files import plain_name
from smaf.core.images import voc_palette

PREDICTIONS = "predictions.json"
OVERLAY = "_overlay.jpg"  # ends an overlay's name
OVERLAY_COMMENT = "SMAF overlay"  # in the file, by which it is known again
REPORT = "report.html"
_CAM = re.compile(r"_cam_[\w.-]+\.jpg$")  # ends the name of a class's map as a picture
_TEMPORARY = 20  # bytes of a temporary file's name


@dataclass(frozen=True)
class Pictures:
    """What is drawn beside the masks.

    Args:
        legend: the classes' names below the overlays.
        cams: each class's map, as a picture.
        report: a page of all photographs.
    """

    legend: bool = True
    cams: bool = False
    report: bool = False


@dataclass(frozen=True)
class Photograph:
    """This holds a photograph's path as it was named, and the place of its results.

    The place is a path in the output folder, without a suffix.
    """

    path: Path
    place: PurePath


def place_of(path: PurePath) -> PurePath:
    """A photograph's path within its folder, without the suffix: the place of its results."""
    return path.with_name(path.stem) if path.stem.strip(".") else path


def is_result(path: Path) -> bool:
    """Return whether `path` is a result of `smaf predict`, not a photograph.

    Results are masks in VOC's colours, and overlays, pictures of maps and records of this command.
    """
    if path.name == PREDICTIONS:
        return True
    suffix, is_map = path.suffix.lower(), _CAM.search(path.name) is not None
    if suffix != ".png" and not path.name.endswith(OVERLAY) and not is_map:
        return False
    try:
        with Image.open(path) as image:  # its head alone
            if suffix == ".png":
                return (
                    image.mode == "P"
                    and image.palette is not None
                    and _is_voc(image.palette.getdata()[1])
                )
            if image.info.get("comment") == OVERLAY_COMMENT.encode():
                return True
    except Exception:  # damaged in one of a dozen ways: its reader says how
        return False
    return not is_map and is_result(
        path.with_name(path.name[: -len(OVERLAY)] + ".png")
    )  # version 0.3 left no comment


def _is_voc(palette: bytes | bytearray) -> bool:
    colours = bytes(palette)
    return len(colours) >= 9 and voc_palette().tobytes().startswith(colours)


def all_names(folder: Path, photographs: Sequence[Photograph]) -> dict[Path, tuple[str, str]]:
    """The names of each photograph's mask and overlay in `folder`.

    Raises :class:`InputError` where a file system cannot hold them, or not beside each other.
    """
    names = {photograph.path: result_names(folder, photograph) for photograph in photographs}
    folders = {parent for photograph in photographs for parent in photograph.place.parents}
    alike: dict[str, Path] = {}
    for photograph in photographs:
        mask, _ = names[photograph.path]
        if PurePath(mask) in folders:
            raise InputError(
                f"the mask of {printable(photograph.path)} would be called like the folder "
                f"{printable(mask)} of other masks: rename one of them, or predict them into two "
                "folders"
            )
        other = alike.setdefault(plain_name(mask).casefold(), photograph.path)
        if other != photograph.path and _ignores_case(folder):
            raise InputError(
                f"{printable(other)} and {printable(photograph.path)} would both be written to "
                f"{printable(mask)}, since {printable(folder)} does not tell upper from lower "
                "case: rename one, or predict them into two folders"
            )
    return names


def result_names(folder: Path, photograph: Photograph) -> tuple[str, str]:
    """The names of a photograph's mask and overlay in `folder`, which exists.

    Raises :class:`InputError` where the file system cannot hold the mask's name; the overlay's is
    made shorter.
    """
    longest, longest_path = _limits(folder)
    place = photograph.place
    overlay = _shortened(place.name, OVERLAY, longest)
    mask = place.with_name(f"{place.name}.png")
    if (
        max(map(_length, mask.parts)) > longest
        or _length(str(folder / mask)) + _TEMPORARY > longest_path
    ):
        raise InputError(
            f"the name of {printable(photograph.path)} is too long for its mask in "
            f"{printable(folder)}, whose names have at most {longest} bytes: rename it"
        )
    return mask.as_posix(), place.with_name(overlay).as_posix()


def cam_names(folder: Path, photograph: Photograph, names: Sequence[str]) -> list[str]:
    """The names of the pictures of a photograph's maps in `folder`, for each of all class names.

    What file names cannot hold is replaced; two classes that would then be one keep their number.
    """
    plain = [re.sub(r"[^\w-]+", "_", name) for name in names]
    alike = [name.casefold() for name in plain]
    marked = [
        f"{name}_{number}" if alike.count(name.casefold()) > 1 else name
        for number, name in enumerate(plain, 1)
    ]
    place, longest = photograph.place, _limits(folder)[0]
    files = [_shortened(place.name, f"_cam_{name[:60]}.jpg", longest) for name in marked]
    return [place.with_name(file).as_posix() for file in files]


def _limits(folder: Path) -> tuple[int, int]:
    """How long a name and a path may be in `folder`."""
    if not hasattr(os, "pathconf"):
        return 255, 4096
    return os.pathconf(folder, "PC_NAME_MAX"), os.pathconf(folder, "PC_PATH_MAX")


def _shortened(stem: str, ending: str, longest: int) -> str:
    """`stem` and `ending`; where that is too long, the stem's beginning and its checksum."""
    if _length(stem + ending) <= longest:
        return stem + ending
    mark = "~" + hashlib.sha256(os.fsencode(stem)).hexdigest()[:8] + ending
    while _length(stem + mark) > longest:
        stem = stem[:-1]
    return stem + mark


def _length(name: str) -> int:
    return len(name) if os.name == "nt" else len(os.fsencode(name))


def _ignores_case(folder: Path) -> bool:
    probe = folder / f".smaf-{uuid.uuid4().hex[:8]}.part"
    try:
        probe.touch()
        return probe.with_name(probe.name.upper()).exists()
    finally:
        probe.unlink(missing_ok=True)
