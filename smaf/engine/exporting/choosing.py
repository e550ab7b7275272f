"""Which masks of a run are exported: all, those of a list, or the most uncertain ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from smaf.core.errors import InputError, MissingInputError, printable
from smaf.core.files import plain_name
from smaf.engine.exporting.run_masks import RunMasks
from smaf.engine.pipeline.report import QUALITY
from smaf.engine.reporting.quality import read_quality

log = logging.getLogger("smaf")
_VAL = "val"


def chosen(
    source: RunMasks, run: Path, *, list_name: str | None = None, uncertain: int | None = None
) -> list[str]:
    """The ids to export, in the order of the list, or the `uncertain` worst first.

    Photographs that are gone are left out, with a warning. Raises :class:`InputError` where nothing
    is left, where the list has other photographs, and where no quality is known.
    """
    ids = list(source.masks)
    if list_name is not None:
        if source.data is None:
            raise InputError("--list: predictions belong to no data set: name it with --data_root")
        ids = source.data.ids(list_name)
        missing = [image_id for image_id in ids if image_id not in source.masks]
        if missing:
            raise InputError(
                f"list {list_name} has {missing[0]} and {len(missing) - 1} more that "
                f"{printable(source.folder)} has no mask of: name another list or run"
            )
    ids = _there(source, ids)
    if uncertain is None:
        return ids
    left = [image_id for image_id in ids if image_id not in source.corrected]
    if not left:
        raise InputError(f"--only uncertain: all {len(ids)} photographs have a corrected mask")
    if source.quality is not None:
        return _lowest(left, source.quality, "the record of predictions")[:uncertain]
    return _lowest(left, _quality(run / QUALITY), printable(run / QUALITY))[:uncertain]


def _there(source: RunMasks, ids: Sequence[str]) -> list[str]:
    """Those of `ids` whose photographs are there."""
    gone = source.gone(ids)
    if not gone:
        return list(ids)
    be, first = "is" if len(gone) == 1 else "are", printable(source.photograph(gone[0]))
    told = f"{len(gone):,} of {len(ids):,} photographs {be} gone, {first} first: "
    if len(gone) == len(ids):
        raise MissingInputError(told + "put them back, or predict them where they are now")
    log.warning("warning: %stheir masks are left out", told)
    without = set(gone)
    return [image_id for image_id in ids if image_id not in without]


def _lowest(ids: Sequence[str], known: Mapping[str, float], where: str) -> list[str]:
    """Those of `ids` whose quality is known, the lowest first."""
    found = [image_id for image_id in ids if plain_name(image_id) in known]
    if not found:
        raise InputError(f"{where} has no quality of any mask that is exported")
    return sorted(found, key=lambda image_id: known[plain_name(image_id)])


def _quality(path: Path) -> dict[str, float]:
    """Id in composed Unicode → quality, of a run's table."""
    if not path.is_file():
        raise MissingInputError(
            f"--only uncertain: {printable(path)} does not exist: `smaf report` estimates the "
            "quality of a run's masks and writes it"
        )
    return {plain_name(image_id): value for image_id, value in read_quality(path).items()}


def val_ids(source: RunMasks) -> frozenset[str]:
    """The ids of the data set's list val; none where it has no such list."""
    data = source.data
    if data is None or not data.list_path(_VAL).is_file():
        return frozenset()
    return frozenset(data.ids(_VAL))
