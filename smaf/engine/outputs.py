"""Output folders: their places, one run at a time in each, results of one kind of settings.

A run goes on where it stopped. Its record (`run.json`) says with which settings it was made; which
of them decide the result is marked where the options are declared (:mod:`smaf.core.options`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import drop_leftovers
from smaf.core.options import Declared, Role
from smaf.core.parallel import map_threads
from smaf.core.record import CONTENTS, FREE_BEFORE, RECORD, RunRecord, checksum
from smaf.engine import distributed
from smaf.engine.locks import locked

if TYPE_CHECKING:
    from smaf.data.layout import DataRoot
    from smaf.engine.plans import StagePlan

log = logging.getLogger("smaf")
CLASSIFIER = "classifier.pth"
EMA_CLASSIFIER = "classifier_ema.pth"
SEGMENTER = "segmenter.pth"
MIRRORED = "masks"  # of a run: its masks in the photographs' folders, corrected ones as they are
# What other commands make of a folder's results
_DERIVED = ("evaluation_*.json", "evaluation_*.png", "results.tgz")
# Checksums of a list's ids, of their labels, corrected masks, and their saliency maps' sizes
LIST, LABELS = f"{CONTENTS}--list", f"{CONTENTS}--labels"
CORRECTED = f"{CONTENTS}--corrected"
SALIENCY = f"{CONTENTS}saliency maps"


@dataclass(frozen=True)
class Places:
    """Where the stages of one run write, and read from each other."""

    logdir: Path
    data_root: Path

    @property
    def eps(self) -> Path:
        """Stage 0's classifier."""
        return self.logdir / "eps_cls_mode" / CLASSIFIER

    @property
    def fused(self) -> Path:
        """Stage 1's fused maps."""
        return self.logdir / "cam_o_vec"

    @property
    def refined(self) -> Path:
        """Fused maps refined by edges and saliency."""
        return self.logdir / "cam_refined"

    @property
    def student(self) -> Path:
        """Stage 2's classifier."""
        return self.logdir / "proda_model" / CLASSIFIER

    @property
    def masks(self) -> Path:
        """Stage 3's pseudo masks."""
        return self.data_root / "pseudo_mask" / "fused"

    @property
    def mean_maps(self) -> Path:
        """The mean of the fused maps of several networks."""
        return self.logdir / "cam_mean"

    @property
    def voted(self) -> Path:
        """Pseudo masks mended by regions of other photographs."""
        return self.logdir / "masks_voted"

    @property
    def segmenter(self) -> Path:
        """Stage 4's network."""
        return self.logdir / "segmenter" / SEGMENTER

    @property
    def saliency(self) -> Path:
        """The data set's saliency maps."""
        return self.data_root / "SALImages"

    def segmented(self, list_name: str) -> Path:
        """Stage 4's masks of a list."""
        return self.logdir / f"segmented_{Path(list_name).stem}"


@dataclass(frozen=True)
class Output:
    """Where a stage writes, and what it does with what is there.

    A run goes on where an earlier one stopped; `overwrite` starts afresh, `resume` demands that
    there is a checkpoint to go on from. `after_step` is called after each step of a training.
    """

    folder: Path
    overwrite: bool = False
    resume: bool = False
    after_step: Callable[[], None] | None = None

    @staticmethod
    def of(place: Output | Path | str) -> Output:
        """`place` itself, or the output in that folder."""
        return place if isinstance(place, Output) else Output(Path(place))

    def check_resume(self, checkpoint: str) -> None:
        """Raise :class:`InputError` where a checkpoint is demanded and there is none."""
        if not self.resume:
            return
        if self.overwrite:
            raise InputError("--resume and --overwrite exclude each other: choose one")
        if not (self.folder / checkpoint).is_file():
            raise InputError(
                f"--resume: {self.folder / checkpoint} does not exist: start without --resume, or "
                "name the folder of the stopped run"
            )


@dataclass(frozen=True)
class Settings:
    """What a run's record holds: `values`, of which those in `free` do not decide the result."""

    values: Mapping[str, Any]
    free: frozenset[str] = frozenset()


def settings_of(data: DataRoot, plan: StagePlan) -> Settings:
    """The settings of a stage. What files hold counts, not where they lie: checksums for them.

    Of many processes the first one reads the files.
    """
    return distributed.first_alone(lambda: _settings(data, plan))


def _settings(data: DataRoot, plan: StagePlan) -> Settings:
    ids = data.ids(plan.list_name)
    values: dict[str, Any] = {}
    for declared in plan.options():
        if declared.about.role is Role.CONTENTS:
            values |= _contents(declared, data, ids)
        else:
            values[declared.name] = declared.value
    if plan.labels_decide:
        values[LABELS] = checksum(data.labels_of(ids).tobytes())
    if plan.corrections_decide:
        values[CORRECTED] = corrected_digest(data, ids)
    if plan.saliency_decides:
        values[SALIENCY] = _saliency_digest(data, ids)
    values["class_list"] = list(data.classes.names)
    values["source_classes"] = list(data.classes.source)
    return Settings(values, frozenset(o.name for o in plan.options() if o.about.role is Role.RUN))


def _contents(declared: Declared, data: DataRoot, ids: Sequence[str]) -> dict[str, Any]:
    """The checksum of what an option names; a name that is no file stands for itself.

    Where maps or masks were made with saliency maps, those of `ids` are told of, too.
    """
    name, value = declared.name, declared.value
    if name == "list":
        return {LIST: checksum(ids)}
    if declared.about.files:
        names = [f"{image_id}{declared.about.files}" for image_id in ids]
        key = f"{CONTENTS}--{name}"
        folders = [Path(one) for one in (value if isinstance(value, tuple) else (value,)) if one]
        digests = [settings_digest(folder, names) for folder in folders]
        found = {key: digests if isinstance(value, tuple) else next(iter(digests), None)}
        if any(_used_saliency(folder) for folder in folders):
            found[f"{SALIENCY} of --{name}"] = _saliency_digest(data, ids)
        return found
    if isinstance(value, tuple):
        return {name: [_held(one) for one in value]}
    return {name: None if value is None else _held(value)}


def _held(name: str | Path) -> str:
    """The checksum of a file; a name that is none stands for itself."""
    path = Path(name)
    return checksum(path.read_bytes()) if path.is_file() else str(name)


def corrected_digest(data: DataRoot, ids: Sequence[str]) -> str:
    """What tells corrected masks from others: which of `ids` have one, and what the files hold."""
    found = data.corrected_ids(ids)
    return checksum([[i, checksum(data.corrected_path(i).read_bytes())] for i in found])


def _sizes(path: Path) -> Any:
    if path.is_file():
        return path.stat().st_size
    below = path.with_suffix("")
    return {p.name: p.stat().st_size for p in below.iterdir()} if below.is_dir() else None


def _saliency_digest(data: DataRoot, ids: Sequence[str]) -> str:
    """What tells saliency maps from others: the sizes of their files, without reading them.

    Of those of `ids` that show a class: the others' are not used.
    """
    return checksum([[i, _sizes(data.saliency_path(i))] for i in data.shown(ids)])


def _used_saliency(folder: Path) -> bool:
    """Whether the record of a folder says that saliency maps took part in its results."""
    entry = RunRecord(folder, {}).previous()
    return entry is not None and any(key.startswith(SALIENCY) for key in entry["settings"])


def of_list(settings: Mapping[str, Any]) -> set[str]:
    """Those of the settings that another list changes: its ids, labels, saliency maps' sizes."""
    return {LIST, LABELS, *(key for key in settings if key.startswith(SALIENCY))}


class OutputRun:
    """A run in its output folder; made by :func:`output_run`."""

    def __init__(self, folder: Path, record: RunRecord, images: int) -> None:
        self.folder, self.record, self.images = folder, record, images
        self.begun = False
        self.todo: list[str] = []
        self.facts: dict[str, Any] = {}  # what else the record says
        self.after_step: Callable[[], None] | None = None

    @property
    def was_finished(self) -> bool:
        """Whether the record says that the last run came to its end."""
        return bool((self.record.previous() or {}).get("finished"))

    def begin(self) -> None:
        """Record that this run works from now on."""
        self.begun = True
        if distributed.rank() == 0:
            self.record.write(finished=False, images=self.images, **self.facts)

    def left(self, ids: Sequence[str], check: Callable[[str], object]) -> list[str]:
        """Those of `ids` whose result is not there yet, in their order.

        `check` reads an image's results and raises :class:`InputError` for one that is damaged or
        was made of other labels, which is told and made again, FileNotFoundError for one that is
        not there. It is called in threads.
        """
        faults = map_threads(partial(_fault, check), ids)
        todo = [image_id for image_id, fault in zip(ids, faults, strict=True) if fault is not None]
        damaged = [fault for fault in faults if fault]
        if damaged:
            log.warning(
                "warning: %d results in %s are made again: %s",
                len(damaged),
                self.folder,
                damaged[0],
            )
        done = np.array([len(ids) - len(todo), len(ids)])
        distributed.sum_counts(done)
        if done[0] and distributed.rank() == 0:
            log.info(
                "%s: %d of %d images are done; --overwrite does them again", self.folder, *done
            )
        return todo


def _fault(check: Callable[[str], object], image_id: str) -> str | None:
    """What is wrong with an image's result: nothing (None), or its absence (an empty text)."""
    try:
        check(image_id)
    except FileNotFoundError:
        return ""
    except InputError as error:
        return str(error)
    return None


@contextmanager
def output_run(
    output: Output,
    settings: Settings,
    *,
    results: Sequence[str],
    images: int,
    per_image: bool = False,
    owns: Callable[[Path], bool] | None = None,
) -> Iterator[OutputRun]:
    """Hold an output folder for a run, and record the run where the block ends without an error.

    `results` are patterns of what such a run writes: with `overwrite` they are dropped, the record
    last, else what is there must have been made with the same settings. Where results are
    `per_image` the list may change between runs. Results without a record are neither taken nor
    dropped: the folder may be that of the true masks. Where `owns` tells a run's results from
    others, both may lie in the folder, and the others stay. A new run's record is written before
    anything else.
    """
    folder = output.folder
    record = RunRecord(folder, settings.values, free=settings.free)
    run = OutputRun(folder, record, images)
    run.after_step = output.after_step
    with ExitStack() as stack:

        def start() -> None:
            stack.enter_context(locked(folder))
            _clear(output, record, results, owns)
            if _check_same(record, per_image=per_image) is None:
                run.begin()

        distributed.first_alone(start)
        yield run
        distributed.wait_for_all()
        if distributed.rank() == 0 and (run.begun or not run.was_finished):
            record.write(finished=True, images=images, **run.facts)
        distributed.wait_for_all()  # the others' next stage reads the record


def _clear(
    output: Output, record: RunRecord, results: Sequence[str], owns: Callable[[Path], bool] | None
) -> None:
    """Drop what killed runs left, and with `overwrite` the results; refuse those of no run."""
    folder = output.folder
    paths = [path for pattern in results for path in folder.glob(pattern)]
    found = [path for path in paths if not path.name.startswith(".")]
    if found and owns is None and not record.path.is_file():
        raise InputError(
            f"output folder {folder} holds {found[0].name}, which no recorded run made (it has no "
            f"{RECORD}): choose another folder with --out"
        )
    if output.overwrite:
        made_of_them = [path for pattern in _DERIVED for path in folder.glob(pattern)]
        dropped = [path for path in [*made_of_them, *found] if owns is None or owns(path)]
        for path in [*dropped, record.path]:
            path.unlink(missing_ok=True)
    for below in {(folder / pattern).parent for pattern in results} - {folder}:
        drop_leftovers(below)


def _check_same(record: RunRecord, *, per_image: bool) -> dict[str, Any] | None:
    """Refuse a folder of other settings; return the entry of the last run in it."""
    before = record.previous()
    if per_image and before is not None:
        same_list = before["settings"].get(LIST) == record.settings.get(LIST)
        record.check_same(but=(LIST,) if same_list else of_list(record.settings))
    else:
        record.check_same()
    return before


@contextmanager
def image_run(
    output: Output,
    settings: Settings,
    *,
    ids: Sequence[str],
    results: Sequence[str],
    check: Callable[[str], object],
    what: str,
    owns: Callable[[Path], bool] | None = None,
) -> Iterator[OutputRun]:
    """:func:`output_run` of a stage whose results are files of single images.

    `todo` of the run it gives are the images that this process must work on, those whose results
    `check` does not accept (:meth:`OutputRun.left`). `what` is what messages call the results.
    """
    with output_run(
        output, settings, results=results, images=len(ids), per_image=True, owns=owns
    ) as run:
        run.begin()
        run.todo = run.left(distributed.share(ids), check)
        yield run
    if distributed.rank() == 0:
        log.info("wrote %d %s to %s", len(ids), what, output.folder)


def settings_digest(folder: Path, names: Sequence[str]) -> str:
    """What tells the results of one folder from others: the settings of the run that made them.

    Of a folder without a record (published maps) the sizes of the files `names`, or of those in a
    folder of that name without its suffix. Neither depends on where it lies.
    """
    entry = RunRecord(folder, {}).previous()
    if entry is None:
        return checksum([[name, _sizes(folder / name)] for name in names])
    passed_over = {*of_list(entry["settings"]), *entry.get("free", FREE_BEFORE)}
    return checksum({key: v for key, v in entry["settings"].items() if key not in passed_over})
