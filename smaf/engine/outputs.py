"""Output folders: one run at a time in each, results of one kind of settings, runs that go on where
they stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from smaf.core.errors import InputError
from smaf.core.files import drop_leftovers
from smaf.core.record import CONTENTS, RECORD, RunRecord, checksum
from smaf.engine import distributed
from smaf.engine.locks import locked

log = logging.getLogger("smaf")
_DERIVED = (
    "evaluation_*.json",
    "evaluation_*.png",
    "results.tgz",
)  # what other commands make of a folder's results
LIST, LABELS = (
    f"{CONTENTS}--list",
    f"{CONTENTS}--labels",
)  # checksums of a list's ids, and of their labels
# Settings that say how a run goes, not what it gives
FREE = ("num_workers", "device", "checkpoint_minutes", "val_every", "val_list", "val_long_side")


class OutputRun:
    """A run in its output folder; made by :func:`output_run`."""

    def __init__(self, folder: Path, record: RunRecord, images: int) -> None:
        self.folder, self.record, self.images = folder, record, images
        self.begun = False

    @property
    def was_finished(self) -> bool:
        """Whether the record says that the last run came to its end."""
        return bool((self.record.previous() or {}).get("finished"))

    def begin(self) -> None:
        """Record that this run works from now on."""
        self.begun = True
        if distributed.rank() == 0:
            self.record.write(finished=False, images=self.images)

    def left(self, ids: Sequence[str], check: Callable[[str], object]) -> list[str]:
        """Those of `ids` whose result is not there yet, in their order.

        `check` reads an image's results and raises :class:`InputError` for one that is damaged or
        was made of other labels, which is told and made again, FileNotFoundError for one that is
        not there.
        """
        todo, damaged = [], []
        for image_id in ids:
            try:
                check(image_id)
            except FileNotFoundError:
                todo.append(image_id)
            except InputError as error:
                todo.append(image_id)
                damaged.append(str(error))
        if damaged:
            log.warning(
                "warning: %d results in %s are made again: %s",
                len(damaged),
                self.folder,
                damaged[0],
            )
        if len(todo) < len(ids):
            log.info(
                "%s: %d of %d images are done; --overwrite does them again",
                self.folder,
                len(ids) - len(todo),
                len(ids),
            )
        return todo


@contextmanager
def output_run(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    results: Sequence[str],
    images: int,
    overwrite: bool = False,
    per_image: bool = False,
) -> Iterator[OutputRun]:
    """Hold an output folder for a run, and record the run there when the block ends without an
    error.

    `results` are patterns of what such a run writes: with `overwrite` they are dropped, the record
    last, else what is there must have been made with the same settings. Where results are
    `per_image` the list may change between runs.
    Results without a record are neither taken nor dropped: the folder may be that of the true
    masks. A new run's record is written before anything else.
    """
    record = RunRecord(folder, settings)
    run = OutputRun(folder, record, images)
    with ExitStack() as stack:

        def start() -> None:
            stack.enter_context(locked(folder))
            found = [
                path
                for pattern in results
                for path in folder.glob(pattern)
                if not path.name.startswith(".")
            ]
            if found and not record.path.is_file():
                raise InputError(
                    f"output folder {folder} holds {found[0].name}, which no recorded run made (it "
                    f"has no {RECORD}): choose another folder with --out"
                )
            if overwrite:
                made_of_them = [path for pattern in _DERIVED for path in folder.glob(pattern)]
                for path in [*made_of_them, *found, record.path]:
                    path.unlink(missing_ok=True)
            for part in {(folder / pattern).parent for pattern in results} - {folder}:
                drop_leftovers(part)
            before = record.previous()
            free = (*FREE, LIST) if per_image else FREE
            if (
                per_image
                and before is not None
                and before["settings"].get(LIST) != record.settings.get(LIST)
            ):
                free = (*free, LABELS)  # they are another list's
            record.check_same(free=free)
            if before is None:
                run.begin()

        distributed.first_alone(start)
        yield run
        distributed.wait_for_all()
        if distributed.rank() == 0 and (run.begun or not run.was_finished):
            record.write(finished=True, images=images)
        distributed.wait_for_all()  # the others' next stage reads the record


def settings_digest(folder: Path, names: Sequence[str]) -> str:
    """What tells the results of one folder from others: the settings of the run that made them.

    Of a folder without a record (published maps) the sizes of the files `names`. Neither depends on
    where it lies.
    """
    entry = RunRecord(folder, {}).previous()
    if entry is not None:
        facts: Any = {
            key: value
            for key, value in entry["settings"].items()
            if key not in (*FREE, LIST, LABELS)
        }
    else:
        facts = [
            [name, (folder / name).stat().st_size if (folder / name).is_file() else None]
            for name in names
        ]
    return checksum(facts)
