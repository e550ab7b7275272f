"""Ultralytics' data sets: semantic segmentation by masks, and YOLO's outlines."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from smaf.core.errors import InputError
from smaf.core.files import read_lines, read_text, write_text
from smaf.core.images import write_mask
from smaf.core.name_lists import listed_names
from smaf.core.names import is_background
from smaf.data.formats.drawing import draw_polygons, inside, outline
from smaf.data.formats.format import Annotated, Export, Layer, Picture, annotated_mask
from smaf.data.formats.place import FIX, Place

FILE, IMAGES, MASKS, LABELS = "data.yaml", "images", "masks", "labels"
_YAML = (".yaml", ".yml")
_QUOTED = re.compile(r"""\s+(\d{1,9})\s*:\s*(?:("(?:[^"\\]|\\.)*")|'((?:[^']|'')*)')\s*""")


class Ultralytics:
    """Semantic segmentation: `data.yaml`, `images/train/` and `masks/train/`, the same for val.

    Values of masks are those of `names`, with 0 for background; 255 is ignored. A mask without a
    class says that all is background.
    """

    name = "ultralytics"
    about = "Ultralytics' semantic segmentation, index PNGs"
    takes = frozenset[str]()
    ignores = True

    def write(self, export: Export) -> None:
        """Write `data.yaml`, photographs and masks."""
        for picture in export.pictures:
            picture.put(_below(export.folder, IMAGES, picture) / picture.file)
            folder = _below(export.folder, MASKS, picture)
            write_mask(folder / f"{picture.image_id}.png", picture.mask())
        names = ("background", *export.classes)
        _write_yaml(export, names, f"masks_dir: {MASKS}\n")

    def claims(self, place: Place) -> bool:
        """A YAML file with `masks_dir`, or a folder with one."""
        text = _yaml_text(place)
        return text is not None and _masks_dir(text) is not None

    def read(self, place: Place) -> list[Annotated]:
        """The masks below `masks_dir`."""
        place, text = _opened(place)
        names = _names(text, place)
        if not is_background(names[0]):
            raise InputError(
                f"{place}: names begin with {names[0]}, but 0 is background in masks: {FIX}"
            )
        below = f"{_masks_dir(text) or MASKS}/"
        files = [n for n in place.names if n.startswith(below) and n.lower().endswith(".png")]
        if not files:
            raise InputError(f"{place} has no masks {below}<list>/<photograph>.png: {FIX}")
        return [annotated_mask(place.file(name), names[1:]) for name in files]


class YoloSeg:
    """YOLO's outlines: `labels/train/<id>.txt`, a row `class x1 y1 …` in 0..1 for each polygon.

    Classes count from 0, without background. The polygons of a class are together exactly its
    region: a part with holes is cut in pieces, since a polygon holds no hole (Ultralytics itself
    draws the line, too, so that its regions are a pixel wider). An empty file says that all is
    background. Of polygons that overlap the later one wins.
    """

    name = "yolo-seg"
    about = "YOLO's outlines, for Ultralytics' instance segmentation"
    takes = frozenset({"polygons"})
    ignores = False

    def write(self, export: Export) -> None:
        """Write `data.yaml`, photographs and rows of outlines."""
        for picture in export.pictures:
            picture.put(_below(export.folder, IMAGES, picture) / picture.file)
            folder = _below(export.folder, LABELS, picture)
            rows = "".join(f"{row}\n" for row in _rows(picture, export))
            write_text(folder / f"{picture.image_id}.txt", rows)
        _write_yaml(export, export.classes, "")

    def claims(self, place: Place) -> bool:
        """A YAML file beside `labels/`, without `masks_dir`; or a folder with both."""
        text = _yaml_text(place)
        if text is None or _masks_dir(text) is not None:
            return False
        folder = place if place.is_folder else Place(place.path.parent)
        return any(_is_rows(name) for name in folder.names)

    def read(self, place: Place) -> list[Annotated]:
        """The rows of all files in folders called `labels`."""
        place, text = _opened(place)
        names = _names(text, place)
        files = [name for name in place.names if _is_rows(name)]
        if not files:
            raise InputError(f"{place} has no {LABELS}/<list>/<photograph>.txt: {FIX}")
        return [_read_rows(place.file(name), names) for name in files]


def _below(folder: Path, what: str, picture: Picture) -> Path:
    path = folder / what / picture.split
    path.mkdir(parents=True, exist_ok=True)
    return path


def _write_yaml(export: Export, names: Sequence[str], more: str) -> None:
    """JSON's texts are YAML's, too; without photographs of list val those of train stand in."""
    there = {picture.split for picture in export.pictures}
    first = "train" if "train" in there else "val"
    lines = [
        f"train: {IMAGES}/{first}",
        f"val: {IMAGES}/{'val' if 'val' in there else first}",
        *more.splitlines(),
        "names:",
        *(f"  {n}: {json.dumps(name, ensure_ascii=False)}" for n, name in enumerate(names)),
    ]
    where = "# no path: Ultralytics then looks beside this file"
    write_text(export.folder / FILE, "\n".join([where, *lines]) + "\n")


def _rows(picture: Picture, export: Export) -> Iterator[str]:
    width, height = picture.size
    for region in export.regions(picture.mask()):
        for points in outline(region.pixels, tolerance=export.tolerance):
            numbers = (
                text
                for x, y in points
                for text in (_share(x + region.x, width), _share(y + region.y, height))
            )
            yield " ".join([str(region.class_index), *numbers])


def _share(value: float, side: int) -> str:
    return f"{value / side:.7g}"


def _yaml_text(place: Place) -> str | None:
    """The text of a YAML file, or of the one in a folder; None where there is none, or several."""
    if place.is_folder:
        found = [n for n in place.names if "/" not in n and n.lower().endswith(_YAML)]
        path = place.file(found[0]) if len(found) == 1 else None
    else:
        path = place.path if place.suffix in _YAML else None
    return None if path is None else read_text(path, "data-set file", FIX)


def _opened(place: Place) -> tuple[Place, str]:
    text = _yaml_text(place)
    if text is None:
        raise InputError(f"{place} is no folder with one {FILE}: name that file")
    return (place if place.is_folder else Place(place.path.parent)), text


def _masks_dir(text: str) -> str | None:
    found = re.search(r"^masks_dir\s*:\s*[\"']?([^\"'#\n]+)", text, flags=re.MULTILINE)
    return None if found is None else posixpath.normpath(found[1].strip())


def _names(text: str, place: Place) -> list[str]:
    """The names in the order of their numbers; a first one that is background is kept."""
    if quoted := _quoted_names(text):
        return quoted
    try:
        names = listed_names(text)
    except ValueError as error:
        raise InputError(f"{place}: the names in {FILE}: the list {error}: {FIX}") from error
    first = re.search(
        r"^names\s*:\s*[\[{]?\s*(?:-\s+|[\"']?0[\"']?\s*:)?\s*[\"']?([\w ]+)",
        text,
        flags=re.MULTILINE,
    )
    if not names or first is None:
        raise InputError(f"{place}: {FILE} has no names: {FIX}")
    return [first[1].strip(), *names] if is_background(first[1].strip()) else names


def _quoted_names(text: str) -> list[str]:
    """The names of lines `0: "name"`, as :func:`_write_yaml` has them; else none."""
    block = re.search(r"^names\s*:[ \t]*\n((?:[ \t]+\S.*(?:\n|\Z))+)", text, flags=re.MULTILINE)
    rows = [_QUOTED.fullmatch(line) for line in block[1].splitlines()] if block else []
    found = [row for row in rows if row]
    if len(found) < len(rows) or [int(row[1]) for row in found] != list(range(len(found))):
        return []
    try:
        return [json.loads(row[2]) if row[2] else row[3].replace("''", "'") for row in found]
    except ValueError:  # an escape that JSON does not have
        return []


def _is_rows(name: str) -> bool:
    return name.endswith(".txt") and LABELS in name.split("/")[:-1]


def _read_rows(path: Path, names: Sequence[str]) -> Annotated:
    rows = []
    for number, line in enumerate(read_lines(path, "label file", FIX), start=1):
        try:
            index, *shares = (float(word) for word in line.split())
        except ValueError:
            raise InputError(
                f"label file {path}, line {number} is no row of numbers: {FIX}"
            ) from None
        if index not in range(len(names)):
            raise InputError(
                f"label file {path}, line {number}: class {index:g}, expected 0 to "
                f"{len(names) - 1}: {FIX}"
            )
        if len(shares) < 6 or len(shares) % 2 or not all(-1 <= share <= 2 for share in shares):
            raise InputError(
                f"label file {path}, line {number}: expected three points or more in 0..1, as "
                f"outlines have (boxes have none): {FIX}"
            )
        rows.append((names[int(index)], shares))
    layers = partial(_layers, rows)
    return Annotated(path.stem, f"label file {path}", None, layers, looked_at=True)


def _layers(rows: list[tuple[str, list[float]]], shape: tuple[int, int]) -> Iterator[Layer]:
    """Rows of one class that follow each other are drawn at once: they may be thousands."""
    height, width = shape
    for name, group in groupby(rows, key=itemgetter(0)):
        lines = [
            inside(
                [share * (height if n % 2 else width) for n, share in enumerate(shares)],
                (width, height),
            )
            for _, shares in group
        ]
        yield Layer(name, draw_polygons(lines, shape))
