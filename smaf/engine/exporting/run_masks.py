"""The masks of a run, of a stage or of `smaf predict`: where they lie, and what values mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.classes import IGNORE, ClassMap, read_class_names
from smaf.core.errors import InputError, MissingInputError, printable
from smaf.core.files import plain_name
from smaf.core.images import read_mask
from smaf.core.names import class_index
from smaf.core.record import RunRecord
from smaf.data.formats.format import CLASS_LIST
from smaf.data.init.ids import make_ids
from smaf.data.layout import DataRoot, open_data
from smaf.engine.pipeline.places import RunPlaces
from smaf.engine.predicting.found_again import photograph_of
from smaf.engine.predicting.predictions import read_predictions


@dataclass(frozen=True)
class RunMasks:
    """Masks by id, their photographs, and the names of their values; made by :meth:`of`.

    Args:
        folder: the run's.
        classes: names of the values 1, 2, ….
        masks: id → mask.
        photographs: id → photograph, of predictions; others are the data set's.
        data: None where there are only predictions.
        of_run: whether they are the masks that a folder of `smaf run` holds.
        quality: id in composed Unicode → estimate, as far as a record of predictions has some; None
            where it is no folder of predictions.
        lost: the ids of `photographs` that are no longer there.
    """

    folder: Path
    classes: tuple[str, ...]
    masks: Mapping[str, Path]
    photographs: Mapping[str, Path]
    data: DataRoot | None
    of_run: bool = False
    quality: Mapping[str, float] | None = None
    lost: frozenset[str] = frozenset()

    @staticmethod
    def of(run: Path, data: DataRoot | str | None = None, *, masks: Path | None = None) -> RunMasks:
        """The masks of a folder of `smaf run`, of a stage's masks, or of `smaf predict`.

        `data`: the data set, by default the one that the run's record names; `masks`: another
        folder of masks, whose values are those of its own record or `classes.txt`, else the data
        set's. Raises :class:`InputError` where there are no masks, or no data set is known.
        """
        if not run.is_dir():
            raise MissingInputError(f"run {printable(run)} does not exist: name a run's folder")
        predictions = read_predictions(run) if masks is None else None
        if predictions is not None:
            return _predicted(run, predictions, data)
        opened = data if isinstance(data, DataRoot) else open_data(data or _data_folder(run))
        below = RunPlaces(run, opened.root).masks
        folder = masks or (below if below.is_dir() else run)
        found = {path.stem: path for path in sorted(folder.glob("*.png"))}
        if not found:
            raise InputError(
                f"{printable(folder)} has no masks <id>.png: name the folder of a finished "
                "`smaf run`, of stage 3 or of `smaf predict`"
            )
        classes = _classes(folder) or (_classes(run) if masks is None else None)
        return RunMasks(
            run,
            classes or opened.classes.source,
            found,
            {},
            opened,
            masks is None and folder == below,
        )

    def photograph(self, image_id: str) -> Path:
        """Where the photograph of a mask lies."""
        if image_id in self.photographs:
            return self.photographs[image_id]
        if self.data is None:
            raise ValueError(f"no photograph of {image_id}")
        return self.data.photo_path(image_id)

    def gone(self, ids: Sequence[str]) -> list[str]:
        """Those of `ids` whose photographs are not there, in their order."""
        others = [image_id for image_id in ids if image_id not in self.photographs]
        gone = set(self.lost)
        if self.data is not None and others:
            gone.update(self.data.missing("photograph", others))
        return [image_id for image_id in ids if image_id in gone]

    def mask(self, image_id: str, *, size: tuple[int, int] | None = None) -> np.ndarray:
        """A mask, (H, W) uint8, whose values are those of `classes`; 255 ignored.

        With a `size` (W, H), another one is an :class:`InputError`.
        """
        path = self.masks.get(image_id)
        if path is None:
            raise InputError(
                f"{printable(self.folder)} has no mask of {image_id}: name another run"
            )
        return ClassMap.of(self.classes).map_mask(read_mask(path, size=size), path)

    @cached_property
    def corrected(self) -> frozenset[str]:
        """The ids whose masks people corrected, in the data set of a folder of `smaf run`."""
        if self.data is None or not self.of_run:
            return frozenset()
        return frozenset(self.data.corrected_ids(list(self.masks)))

    def ignored(self, image_id: str, *, size: tuple[int, int]) -> np.ndarray:
        """The pixels (H, W) bool that the mask, of a size (W, H), or the corrected one ignores."""
        ignored = self.source_mask(image_id, size=size) == IGNORE
        if self.data is not None and image_id in self.corrected:
            ignored |= self.data.corrected(image_id, size=size) == IGNORE
        return np.asarray(ignored)

    def newest(self, image_id: str) -> np.ndarray:
        """The mask that is exported: the corrected one, else :meth:`mask`; in the same values."""
        if self.data is None or image_id not in self.corrected:
            return self.mask(image_id)
        classes = ClassMap.of(self.data.classes.source, list(self.classes))
        return replace(self.data, classes=classes).corrected(image_id)

    def source_mask(self, image_id: str, *, size: tuple[int, int]) -> np.ndarray:
        """A mask of a size (W, H) with the values of all the data set's classes, (H, W) uint8."""
        return self._to_source[self.mask(image_id, size=size)]

    @cached_property
    def _to_source(self) -> np.ndarray:
        table = np.zeros(256, dtype=np.uint8)
        table[IGNORE] = IGNORE
        if self.data is not None:
            known, where = self.data.classes.source, f"classes of {printable(self.folder)}"
            for value, name in enumerate(self.classes, start=1):
                table[value] = class_index(name, known, where) + 1
        return table


def _predicted(run: Path, record: Mapping[str, Any], data: DataRoot | str | None) -> RunMasks:
    """The masks of `smaf predict`; ids are their names, with folders as `smaf init` writes them."""
    names = record.get("classes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"the record of predictions in {printable(run)} names no classes")
    entries = {entry["mask"]: entry for entry in record["photographs"]}
    there = [mask for mask in entries if (run / mask).is_file()]
    ids = make_ids(there)
    if not ids:
        raise InputError(f"{printable(run)} holds no predicted mask: run `smaf predict` again")
    found = {mask: photograph_of(entries[mask], run) for mask in there}
    return RunMasks(
        run,
        tuple(names[1:]),
        {ids[mask]: run / mask for mask in there},
        {ids[mask]: found[mask] or Path(entries[mask]["photograph"]) for mask in there},
        open_data(data) if isinstance(data, str) else data,
        quality={
            plain_name(ids[entry["mask"]]): float(entry["quality"])
            for entry in record["photographs"]
            if entry["mask"] in ids and isinstance(entry.get("quality"), int | float)
        },
        lost=frozenset(ids[mask] for mask in there if found[mask] is None),
    )


def _data_folder(run: Path) -> str:
    """The folder of the data set by the run's record."""
    facts = (RunRecord(run, {}).previous() or {}).get("data_set")
    folder = facts.get("folder") if isinstance(facts, dict) else None
    if not isinstance(folder, str):
        raise InputError(
            f"{printable(run)} does not say which data set it is of: name it with --data_root"
        )
    if not Path(folder).is_dir():
        raise MissingInputError(
            f"the data set of {printable(run)}, {printable(folder)}, does not exist (any more): "
            "name it with --data_root"
        )
    return folder


def _classes(folder: Path) -> tuple[str, ...] | None:
    """The names of the masks' values by the folder's record, else by `classes.txt`."""
    settings = (RunRecord(folder, {}).previous() or {}).get("settings", {})
    names = settings.get("class_list")
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    path = folder / CLASS_LIST
    return read_class_names(path) if path.is_file() else None
