"""A run that is to be reported: its folder, its record, its data set, its lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smaf.core.classes import ClassMap
from smaf.core.errors import InputError, MissingInputError, printable
from smaf.core.record import RECORD, RunRecord
from smaf.data.layout import DataRoot, open_data
from smaf.engine.pipeline.notes import NOTES, Notes
from smaf.engine.pipeline.places import RunPlaces

_FIX = "name the folder that `smaf run` wrote (--out)"


@dataclass(frozen=True)
class ReportedRun:
    """A run of `smaf run`.

    Args:
        name: what the page calls it.
        data: its data set.
        at: where it wrote.
        entry: what its record says: settings, times, thresholds.
        threshold: background threshold of its masks, and where that comes from.
    """

    name: str
    data: DataRoot
    at: RunPlaces
    entry: Mapping[str, Any]
    threshold: tuple[float, str]

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings."""
        return dict(self.entry["settings"])

    @property
    def saliency(self) -> bool:
        """Whether saliency maps took part; else masks come from plain CAM."""
        return bool(self.settings.get("saliency", True))

    @property
    def corrected(self) -> int:
        """How many photographs have corrected masks that the run took."""
        return self._count("corrected_masks")

    @property
    def learned(self) -> int:
        """How many photographs' corrected masks it was trained on."""
        return self._count("corrected_masks_trained_on")

    def _count(self, key: str) -> int:
        """A number of its data set; 0 where an older record does not have it."""
        found = self.entry.get("data_set", {}).get(key, 0)
        return found if isinstance(found, int) else 0

    def photo_name(self, image_id: str) -> str:
        """A photograph's file name, with its folders below the one that all photographs share."""
        pointers = self.data.pointers
        known = None if pointers is None else pointers.photographs.get(image_id)
        return printable(known or self.data.photo_path(image_id).name)

    def ids(self, name: str) -> list[str]:
        """The ids of one of the run's lists; none where it has no such list."""
        path = self.at.list(name)
        return self.data.ids(path) if path.is_file() else []


def open_runs(
    folders: Sequence[Path], *, data_root: str | None = None, labels: str | None = None
) -> list[ReportedRun]:
    """Open finished runs, whose records say where their data sets are.

    `data_root` and `labels` are taken instead where they are given. Raises :class:`InputError` for
    a folder that holds no finished run, and for runs of different classes.
    """
    names = _names(folders)
    twice = next(
        (folder for folder, name in zip(folders, names, strict=True) if names.count(name) > 1), None
    )
    if twice is not None:
        raise InputError(f"run {printable(twice)} is named twice: name each run once")
    runs = [_open(f, n, data_root, labels) for f, n in zip(folders, names, strict=True)]
    first = runs[0].data.classes.names
    for run in runs[1:]:
        if run.data.classes.names != first:
            raise InputError(
                f"{run.at.logdir} has the classes {', '.join(run.data.classes.names)}, "
                f"{runs[0].at.logdir} {', '.join(first)}: report them one by one"
            )
    return runs


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, or their paths where two have one name."""
    names = [printable(folder.absolute().name) for folder in folders]
    return names if len(set(names)) == len(names) else [printable(folder) for folder in folders]


def _open(folder: Path, name: str, data_root: str | None, labels: str | None) -> ReportedRun:
    entry = RunRecord(folder, {}).previous()
    if entry is None:
        raise MissingInputError(f"{folder / RECORD} does not exist: {_FIX}")
    facts = entry.get("data_set")
    place = facts.get("folder") if isinstance(facts, dict) else None
    if not entry.get("finished") or not isinstance(place, str):
        raise InputError(f"{folder / RECORD} is not the record of a finished `smaf run`: {_FIX}")
    data = _classes_of(entry["settings"], open_data(data_root or place, labels=labels), folder)
    background = entry.get("thresholds", {}).get("background", {})
    threshold = float(background.get("threshold", 0.0)), str(background.get("from", ""))
    return ReportedRun(name, data, RunPlaces(folder, data.root), entry, threshold)


def _classes_of(settings: Mapping[str, Any], data: DataRoot, folder: Path) -> DataRoot:
    """The data set with the classes that the run kept."""
    kept, source = settings.get("class_list"), settings.get("source_classes")
    if list(data.classes.source) != source:
        raise InputError(
            f"{data.root} has the classes {', '.join(data.classes.source)}, the run in {folder} "
            f"was made with {', '.join(source or ())}: name its data set with --data_root"
        )
    return replace(data, classes=ClassMap.of(data.classes.source, kept))


def notes_of(run: ReportedRun) -> Notes:
    """What the run kept of its own steps."""
    return Notes(run.at.logdir / NOTES)
