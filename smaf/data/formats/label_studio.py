"""Label Studio's tasks: brush strokes go out as predictions, annotations come back."""

from __future__ import annotations

import logging
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import write_json, write_text
from smaf.core.images import IMAGE_SUFFIXES, voc_palette
from smaf.data.formats.brush import decode_brush, encode_brush
from smaf.data.formats.drawing import draw_polygons, flat, inside
from smaf.data.formats.format import Annotated, Export, Layer, Picture
from smaf.data.formats.place import FIX, Place

log = logging.getLogger("smaf")
FILE, CONFIG, IMAGES = "tasks.json", "config.xml", "images"
_FROM, _TO, _KEY = "brush", "image", "image"
_AREAS = ("brushlabels", "polygonlabels")
_LOCAL = "/data/local-files/?d="  # what Label Studio serves of its document root
_FIX = f'{FIX}, as "JSON"'


class LabelStudio:
    """Label Studio's JSON: tasks with `brushlabels` as predictions, to be accepted or mended.

    `config.xml` is the labelling interface, `images/` the photographs; tasks name them as files
    below Label Studio's document root, or after another address (`url`). Reading takes of each task
    the newest annotation that was not cancelled; where no task of a file has one, the predictions.
    An annotation without a region says that all is background. Of regions that overlap the later
    one wins.
    """

    name = "label-studio"
    about = "Label Studio's JSON, brush strokes as predictions"
    takes = frozenset({"split", "url"})
    ignores = False

    def write(self, export: Export) -> None:
        """Write `tasks.json`, `config.xml` and `images/`."""
        (export.folder / IMAGES).mkdir()
        start = f"{_LOCAL}{IMAGES}/" if export.url is None else export.url
        tasks = []
        for picture in export.pictures:
            picture.put(export.folder / IMAGES / picture.file)
            results = _results(picture, export)
            tasks.append(
                {
                    "data": {_KEY: start + quote(picture.file)},
                    "predictions": [{"model_version": "smaf", "result": results}],
                }
            )
        write_json(export.folder / FILE, tasks, indent=None)
        write_text(export.folder / CONFIG, _config(export.classes))

    def claims(self, place: Place) -> bool:
        """A JSON file that is a list of tasks, or a folder with `tasks.json`."""
        if place.is_folder:
            return FILE in place.names
        value = place.json
        return isinstance(value, list) and all(
            isinstance(task, dict) and "data" in task for task in value
        )

    def read(self, place: Place) -> list[Annotated]:
        """The tasks of a file."""
        if place.is_folder:
            place = Place(place.file(FILE))
        where, tasks = f"file {place}", place.json
        if not self.claims(place) or not tasks:
            raise InputError(f"{where} is no list of Label Studio's tasks: {_FIX}")
        chosen = [_annotation(task, f"{where}, task {n}") for n, task in enumerate(tasks, 1)]
        if not any(chosen):
            chosen = [_prediction(task) for task in tasks]
        return [
            _annotated(task, result, f"{where}, task {number}")
            for number, (task, result) in enumerate(zip(tasks, chosen, strict=True), 1)
            if result is not None
        ]


def _results(picture: Picture, export: Export) -> list[dict[str, Any]]:
    width, height = picture.size
    return [
        {
            "id": f"smaf{number}",
            "type": "brushlabels",
            "from_name": _FROM,
            "to_name": _TO,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": encode_brush(region.whole(picture.size)),
                "brushlabels": [export.classes[region.class_index]],
            },
        }
        for number, region in enumerate(export.regions(picture.mask()), start=1)
    ]


def _config(classes: tuple[str, ...]) -> str:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=_TO, value=f"${_KEY}", zoom="true")
    labels = ElementTree.SubElement(view, "BrushLabels", name=_FROM, toName=_TO)
    for name, (red, green, blue) in zip(classes, voc_palette()[1:].tolist(), strict=False):
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        ElementTree.SubElement(labels, "Label", value=name, background=colour)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _annotation(task: dict[str, Any], where: str) -> dict[str, Any] | None:
    """The newest annotation of a task that was not cancelled."""
    found = task.get("annotations", task.get("completions"))
    if found is not None and not (
        isinstance(found, list) and all(isinstance(one, dict) for one in found)
    ):
        raise InputError(f"{where}: annotations are no list: {_FIX}")
    done = [one for one in found or [] if not one.get("was_cancelled")]
    times = [str(one.get("updated_at") or one.get("created_at") or "") for one in done]
    newest = max(range(len(done)), key=lambda n: (times[n], n), default=None)
    return None if newest is None else {**done[newest], "looked_at": True}


def _prediction(task: dict[str, Any]) -> dict[str, Any] | None:
    found = task.get("predictions")
    one = found[-1] if isinstance(found, list) and found else None
    return {**one, "looked_at": False} if isinstance(one, dict) else None


def _annotated(task: dict[str, Any], annotation: dict[str, Any], where: str) -> Annotated:
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise InputError(f"{where}: result is no list: {_FIX}")
    kinds = {str(one.get("type")) for one in results} - {*_AREAS}
    areas = [one for one in results if one.get("type") in _AREAS]
    if kinds:
        log.warning(
            "warning: %s: results that are no areas are left out (%s)", where, sorted(kinds)
        )
    sizes = [(one.get("original_width"), one.get("original_height")) for one in areas]
    fit = all(type(side) is int and side > 0 for size in sizes for side in size)
    if not fit or any(size != sizes[0] for size in sizes):
        raise InputError(
            f"{where}: original_width and original_height are {str(sizes)[:80]}: {_FIX}"
        )
    size = sizes[0] if sizes else None
    name = _photograph(task.get("data"), where)
    looked_at = bool(annotation["looked_at"])
    return Annotated(name, f"{where} ({name:.200})", size, partial(_layers, areas), looked_at)


def _photograph(data: Any, where: str) -> str:
    """The photograph's address in a task's data, without what a server puts around it."""
    values = data if isinstance(data, dict) else {}
    texts = [values.get(_KEY), *values.values()]
    for text in texts:
        if isinstance(text, str):
            local = re.search(r"[?&]d=([^&]*)", text)
            name = unquote(local[1] if local else re.sub(r"[?#].*", "", text))
            if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                return name
    raise InputError(f"{where}: its data name no photograph: {_FIX}")


def _layers(areas: list[dict[str, Any]], shape: tuple[int, int]) -> Iterator[Layer]:
    for area in areas:
        kind, value = area["type"], area.get("value")
        labels = value.get(kind) if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(labels, list) or len(labels) != 1:
            raise ValueError(f"a region has the labels {labels!r:.80}, expected one")
        if area.get("image_rotation") not in (None, 0):
            raise ValueError("the photograph was turned in the tool, turn it back")
        draw = _brush if kind == "brushlabels" else _polygon
        yield Layer(str(labels[0]), draw(value, shape))


def _brush(value: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    return decode_brush(value.get("rle"), (shape[1], shape[0]))


def _polygon(value: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Points are in percent of the picture."""
    height, width = shape
    percent = flat(value.get("points"))
    numbers = [v * (height if n % 2 else width) / 100 for n, v in enumerate(percent)]
    return draw_polygons([inside(numbers, (width, height))], shape)
