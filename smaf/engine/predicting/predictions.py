"""This module keeps the output folder of `smaf predict` and its record.

It decides the names in the folder and what is done already; by the record a run goes on.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from tqdm import tqdm

from smaf.core.checksums import contents, is_contents
from smaf.core.errors import InputError, printable
from smaf.core.files import output_folder, read_json, write_json
from smaf.core.images import read_mask
from smaf.engine.predicting.found_again import photograph_of, places_of
from smaf.engine.predicting.result_files import (
    PREDICTIONS,
    Photograph,
    Pictures,
    all_names,
    is_result,
)

log = logging.getLogger("smaf")
Entry = dict[str, Any]
_PLAIN = Pictures()
_FIX = "delete it, or choose another folder with --out"
_SHARE = 20  # writing the record takes at most a twentieth of the time


class Predictions:
    """This keeps the masks and overlays of an output folder and its record `predictions.json`.

    The record has an entry for each mask, also for those of earlier runs. A run goes on where one
    with the same `settings` stopped: `todo` are the photographs that have no whole mask of the same
    contents and labels. Where the settings differ, the masks of this run's photographs are made
    again; masks of other photographs beside them are an :class:`InputError`, since the folder would
    hold two kinds. With `overwrite` earlier masks are removed. `redraw` are the photographs whose
    mask is done, but not the overlay with, or without, a legend.

    Args:
        folder: made where it does not exist.
        facts: what the record says beside the settings; values for JSON.
        settings: what decides the result.
        labels: the class names given for each photograph, None where the scores decide.
        pictures: what is drawn: a mask whose maps are to be drawn, but are not, is made again.
    """

    def __init__(
        self,
        folder: Path,
        photographs: Sequence[Photograph],
        *,
        facts: Mapping[str, Any],
        settings: Mapping[str, Any],
        labels: Mapping[Path, Sequence[str] | None],
        overwrite: bool = False,
        pictures: Pictures = _PLAIN,
    ) -> None:
        self._legend, self._cams = pictures.legend, pictures.cams
        self.folder, self._photographs, self._labels = output_folder(folder), photographs, labels
        self._facts = {**facts, "settings": json.loads(json.dumps(dict(settings)))}
        self.names = all_names(folder, photographs)
        record = read_predictions(self.folder)
        earlier: dict[str, Entry] = (
            {} if record is None else {entry["mask"]: entry for entry in record["photographs"]}
        )
        changed = self._changed(record or {}) if earlier else ""
        if not overwrite:
            self._check_others(earlier, changed)
        fresh = overwrite or bool(changed)
        self._entries = (
            {} if fresh else {m: entry for m, entry in earlier.items() if (folder / m).is_file()}
        )
        bar = tqdm(
            photographs, desc="looking for what is done", unit="photograph", delay=2.0, leave=False
        )
        self.todo = [photograph for photograph in bar if not self._has_mask(photograph)]
        self.redraw = self._renamed(set(photographs) - set(self.todo))
        self._check_free(earlier, recorded=record is not None)
        if fresh:
            self._remove(earlier, changed)
        elif len(self.todo) < len(photographs):
            log.info(
                "%s: %d of %d photographs are done; --overwrite does them again",
                folder,
                len(photographs) - len(self.todo),
                len(photographs),
            )
        self._left_out: list[Entry] = []
        self._cost = 0.0
        self.write()

    def add(self, photograph: Photograph, entry: Entry) -> None:
        """Note a photograph whose mask and overlay have been written.

        The record itself is written from time to time, not at each photograph.
        """
        mask, overlay = self.names[photograph.path]
        self._entries[mask] = {
            **self._named(photograph),
            "mask": mask,
            "overlay": overlay,
            "legend": self._legend,
            **entry,
            "labels": self._labels[photograph.path],
        }
        if time.monotonic() - self._written > max(1.0, _SHARE * self._cost):
            self.write()

    def _renamed(self, done: Collection[Photograph]) -> list[Photograph]:
        """Name what is `done` as it is called now; return that which lacks its overlay."""
        there = [photograph for photograph in self._photographs if photograph in done]
        for photograph in there:  # it may have moved since
            self._entries[self.names[photograph.path][0]] |= self._named(photograph)
        return [photograph for photograph in there if not self._has_overlay(photograph)]

    def _named(self, photograph: Photograph) -> Entry:
        """How the record names a photograph, and where it says that it lies."""
        named = {"photograph": str(photograph.path)}
        return named | places_of(photograph.path, self.folder)

    def redrawn(self, photograph: Photograph) -> None:
        """Note a photograph whose overlay alone has been written anew."""
        self._entries[self.names[photograph.path][0]]["legend"] = self._legend

    def leave_out(self, photograph: Photograph, reason: str) -> None:
        """Note a photograph that could not be done."""
        self._left_out.append({"photograph": str(photograph.path), "reason": reason})

    @property
    def entries(self) -> list[Entry]:
        """What the record says of each mask, in its order."""
        ours = [self.names[photograph.path][0] for photograph in self._photographs]
        order = dict.fromkeys(
            [mask for mask in ours if mask in self._entries] + list(self._entries)
        )
        return [self._entries[mask] for mask in order]

    def write(self) -> None:
        """Write `predictions.json`.

        This run's entries come first, in the photographs' order, then those of earlier runs.
        """
        started = time.monotonic()
        value = {**self._facts, "photographs": self.entries, "left_out": self._left_out}
        write_json(self.folder / PREDICTIONS, value)
        self._written = time.monotonic()
        self._cost = self._written - started

    def _changed(self, record: Mapping[str, Any]) -> str:
        """Which settings differ from those of the record, in words."""
        before, now = record.get("settings"), self._facts["settings"]
        if not isinstance(before, dict):
            return "by another version"
        keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        return "; ".join(
            f"{key} changed"
            if is_contents(before.get(key)) or key == "classes"
            else f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
            for key in keys
        )

    def _check_others(self, earlier: Mapping[str, Entry], changed: str) -> None:
        """Refuse a run that would replace masks of other photographs, or mix settings.

        Masks of other photographs that other settings made may not lie beside this run's masks.
        Raises :class:`InputError`.
        """
        ours = {names[0] for names in self.names.values()}
        others = [mask for mask in earlier if mask not in ours and (self.folder / mask).is_file()]
        if changed and others:
            raise InputError(
                f"{printable(self.folder)} holds {printable(others[0])} (and {len(others) - 1} "
                f"more) of other photographs, made with other settings ({changed}): choose another "
                "folder with --out, or start afresh with --overwrite"
            )
        for photograph in self._photographs:
            mask = self.names[photograph.path][0]
            other = photograph.path
            if mask in earlier:
                other = photograph_of(earlier[mask], self.folder) or Path(
                    earlier[mask]["photograph"]
                )
            if (
                os.path.abspath(other) != os.path.abspath(photograph.path)
                and (self.folder / mask).is_file()
                and other.is_file()
                and contents(photograph.path) not in {None, contents(other)}
            ):
                raise InputError(
                    f"{printable(self.folder / mask)} is the mask of {printable(other)}, which "
                    f"that of {printable(photograph.path)} would replace: choose another folder "
                    "with --out, or start afresh with --overwrite"
                )

    def _has_mask(self, photograph: Photograph) -> bool:
        """Whether its mask is whole, of the same contents, and of the same labels."""
        entry = self._entries.get(self.names[photograph.path][0])
        if entry is None or entry.get("labels", ...) != self._labels[photograph.path]:
            return False
        if entry.get("contents") != contents(photograph.path) or not self._has_cams(entry):
            return False
        try:
            read_mask(self.folder / entry["mask"], size=(entry["width"], entry["height"]))
        except (InputError, OSError, KeyError):
            return False
        return True

    def _has_cams(self, entry: Entry) -> bool:
        """Whether the pictures of its maps are whole, where they are wanted."""
        names = entry.get("cams")
        return not self._cams or (names is not None and all(self._is_jpeg(n) for n in names))

    def _is_jpeg(self, name: str) -> bool:
        path = self.folder / name
        return path.is_file() and path.read_bytes()[-2:] == b"\xff\xd9"  # a JPEG's end

    def _has_overlay(self, photograph: Photograph) -> bool:
        """Whether the overlay of a mask is whole, with a legend where it is to have one."""
        entry = self._entries[self.names[photograph.path][0]]
        if entry.get("legend", False) != self._legend:
            return False  # before version 0.5 there were no legends
        return self._is_jpeg(entry["overlay"])

    def _check_free(self, earlier: Mapping[str, Entry], *, recorded: bool) -> None:
        """Refuse to replace what no recorded run of this command made: photographs, true masks."""
        listed = {entry["overlay"] for entry in earlier.values()}
        for photograph in [*self.todo, *self.redraw]:
            for name in self.names[photograph.path]:
                path = self.folder / name
                if not os.path.lexists(path) or (recorded and (is_result(path) or name in listed)):
                    continue
                what = "which no recorded prediction made and " if is_result(path) else ""
                raise InputError(
                    f"--out {printable(self.folder)} holds {printable(name)}, {what}which a mask "
                    "or overlay would replace: choose another folder"
                )

    def _remove(self, earlier: Mapping[str, Entry], changed: str) -> None:
        if earlier:
            log.info(
                "%s: the %d earlier masks are removed%s",
                self.folder,
                len(earlier),
                f", they were made with other settings ({changed})" if changed else "",
            )
        for entry in earlier.values():
            if is_result(self.folder / entry["mask"]):
                (self.folder / entry["mask"]).unlink(missing_ok=True)
                for name in (entry["overlay"], *entry.get("cams", ())):
                    (self.folder / name).unlink(missing_ok=True)


def read_predictions(folder: Path) -> dict[str, Any] | None:
    """The record `predictions.json` of a folder; None where it has none.

    Its list `photographs` has an entry for each mask: `photograph`, `mask` and `overlay`, the
    latter two within the folder; :func:`~smaf.engine.predicting.found_again.photograph_of` finds
    the photograph. Raises :class:`InputError` where it is no such record.
    """
    path = folder / PREDICTIONS
    if not os.path.lexists(path):
        return None
    record = read_json(path, "record", _FIX)
    entries = record.get("photographs") if isinstance(record, dict) else None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise InputError(f"record {path} is not one of `smaf predict`: {_FIX}")
    return dict(record)


def _is_entry(entry: Any) -> bool:
    """Whether a record's entry names a photograph, and its pictures within the folder."""
    texts = ("photograph", "mask", "overlay")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in texts):
        return False
    cams = entry.get("cams", [])
    if not isinstance(cams, list) or not all(isinstance(name, str) for name in cams):
        return False
    paths = [PurePath(name) for name in (entry["mask"], entry["overlay"], *cams)]
    return all(path.name and not path.anchor and ".." not in path.parts for path in paths)
