"""The page of predictions: a gallery of the photographs of an output folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from smaf.core.errors import InputError, printable
from smaf.core.images import read_image, read_mask
from smaf.engine.predicting.found_again import gone_of, photograph_of
from smaf.engine.predicting.result_files import PREDICTIONS, REPORT
from smaf.report.page import (
    MOST,
    Card,
    Gallery,
    Layer,
    Page,
    Section,
    Table,
    is_replaceable,
    write_page,
)
from smaf.report.thumbnails import fitted, mask_uri, photo_uri

log = logging.getLogger("smaf")
_LAYERS = (Layer("mask", "mask"), Layer("cam", "map", smooth=True))


def check_page(folder: Path) -> None:
    """Raise :class:`InputError` where `report.html` in the folder is not one of this project."""
    if not is_replaceable(folder / REPORT):
        raise InputError(
            f"--out {printable(folder)} holds {REPORT}, which this project did not write: choose "
            "another folder"
        )


def write_predictions_page(
    folder: Path,
    entries: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    weights: str,
    *,
    most: int = MOST,
) -> Path:
    """Write `report.html` with each photograph of the record whose mask is still there.

    `entries` are those of `predictions.json`; of more than `most` those of the lowest quality are
    shown. The layers are the mask and, where it was drawn, the map of the class with the largest
    part of the mask. Of photographs that are gone the page and a warning say how many they are.
    """
    taken = _lowest(entries, most)
    cards = [card for entry in taken if (card := _card(folder, entry, classes)) is not None]
    shown = np.zeros(len(classes), dtype=np.int64)
    for card in cards:
        shown[list(card.classes)] += 1
    rows = [[name, str(count)] for name, count in zip(classes, shown.tolist(), strict=True)]
    section = Section(
        "classes", "Classes", [], [], [Table("Photographs with each class", ["class", ""], rows)]
    )
    intro = [f"Masks of {len(cards):,} photographs by {printable(weights)}."]
    gone = gone_of(entries, folder)
    if gone.names:
        log.warning("warning: %s", gone)
        intro.append(f"{gone}. Masks are shown without them.")
    notes = [
        "Quality estimates how good a mask is without a true mask: how sure its maps are of it. "
        "Worst and best go by it; after CRF all maps are sure, and the order alone counts."
    ]
    if len(taken) < len(entries):
        notes.append(
            f"{len(taken):,} of {len(entries):,} photographs are shown, those of the lowest "
            f"quality; {PREDICTIONS} has all."
        )
    layers = [layer for layer in _LAYERS if any(layer.key in card.pictures for card in cards)]
    gallery = Gallery(cards, layers, "mask", notes)
    write_page(folder / REPORT, Page("SMAF: predictions", classes, intro, [section], gallery))
    return folder / REPORT


def _lowest(entries: Sequence[Mapping[str, Any]], most: int) -> Sequence[Mapping[str, Any]]:
    """At most `most` entries, in their order: those of the lowest quality."""
    if len(entries) <= most:
        return entries
    order = sorted(range(len(entries)), key=lambda n: entries[n].get("quality", 2.0))
    return [entries[n] for n in sorted(order[:most])]


def _card(folder: Path, entry: Mapping[str, Any], classes: Sequence[str]) -> Card | None:
    """The card of a photograph, which may be gone; None where its mask no longer serves."""
    names = [one["name"] for one in entry["classes"]]
    try:
        whole = int(entry["width"]), int(entry["height"])
        mask = read_mask(folder / entry["mask"], size=whole)
    except (InputError, OSError, KeyError):
        return None
    photo, fault = _photo(folder, entry)
    pictures = {"mask": mask_uri(mask)}
    if cams := entry.get("cams"):
        shares = [one["share"] for one in entry["classes"]]
        path = folder / cams[int(np.argmax(shares))]
        if path.is_file():
            with Image.open(path) as picture:
                pictures["cam"] = photo_uri(picture.convert("RGB"))
    indices = [classes.index(name) for name in names if name in classes]
    name = printable(PurePath(entry["mask"]).with_suffix("").as_posix())
    return Card(
        name,
        fitted(whole),
        photo,
        indices,
        pictures,
        entry.get("quality"),
        also=printable(entry["photograph"]),
        fault=fault,
    )


def _photo(folder: Path, entry: Mapping[str, Any]) -> tuple[str | None, str]:
    """A photograph's picture, and what is wrong where there is none."""
    path = photograph_of(entry, folder)
    if path is None:
        return None, "the photograph is gone"
    try:
        return photo_uri(read_image(path, needed=fitted)), ""
    except (InputError, OSError):
        return None, "the photograph cannot be read"
