"""The ladder: what each step of a run is worth on true masks of its lists."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from smaf.core.errors import InputError
from smaf.engine.evaluation import Evaluation, evaluate_cams, evaluate_masks
from smaf.engine.reporting.runs import ReportedRun
from smaf.engine.stages.evaluate import THRESHOLDS

log = logging.getLogger("smaf")
CRF, NETWORK = "pseudo masks, with CRF", "network, labels unknown"
NETWORK_KNOWN = "network, labels known, with CRF"
# The run's lists whose true masks are looked at
SIDES = {"scored": "photographs not trained on", "thresholds": "photographs trained on"}


@dataclass(frozen=True)
class Rung:
    """A rung of the ladder.

    Args:
        side: a key of :data:`SIDES`.
        title: which maps or masks.
        result: their scores.
        sweep: (thresholds, mIoU) of maps, in the order of the thresholds; empty for masks.
    """

    side: str
    title: str
    result: Evaluation
    sweep: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    @property
    def scores(self) -> dict[str, Any]:
        """What :meth:`smaf.ops.ConfusionMatrix.compute` gives."""
        return self.result.matrix.compute()


def rungs_of(run: ReportedRun) -> list[Rung]:
    """All rungs of a run whose maps or masks are there; none where no list has true masks.

    Maps are cut at their best threshold on photographs trained on, also on others, where that is
    known; else at the run's.
    """
    chosen: dict[str, float] = {}
    found: list[Rung] = []
    for side in ("thresholds", "scored"):  # thresholds are chosen on the first
        if run.ids(side):
            found += _rungs(run, side, chosen)
    return sorted(found, key=lambda rung: list(SIDES).index(rung.side))


def _rungs(run: ReportedRun, side: str, chosen: dict[str, float]) -> Iterator[Rung]:
    kind = "EPS" if run.saliency else "plain CAM"
    last = "self-trained" if run.saliency else kind
    maps = {f"{kind}, fused maps": run.at.fused, f"{last}, fused maps": run.at.student_maps}
    masks = {CRF: run.at.pseudo_masks, NETWORK: run.at.network_masks}
    if run.at.by_network:
        maps["network, fused maps"] = run.at.network_maps
        masks[NETWORK_KNOWN] = run.at.known_masks
    for title, folder in maps.items():
        yield from _tried(folder, partial(_of_maps, run, side, title, chosen))
    for title, folder in masks.items():
        yield from _tried(folder, partial(_of_masks, run, side, title))


def _tried(folder: Path, judge: Callable[[Path], Rung]) -> Iterator[Rung]:
    """The rung; none where the folder does not have all photographs of the list."""
    if not folder.is_dir():
        return
    try:
        yield judge(folder)
    except InputError as error:  # of another list, or a photograph was taken away
        log.debug("%s: no rung of the ladder: %s", folder, error)


def _of_masks(run: ReportedRun, side: str, title: str, folder: Path) -> Rung:
    ids = str(run.at.list(side))
    result = evaluate_masks(run.data, list_name=ids, pred_dir=folder, quiet=True)
    return Rung(side, title, result)


def _of_maps(
    run: ReportedRun, side: str, title: str, chosen: dict[str, float], folder: Path
) -> Rung:
    own = run.threshold[0]
    thresholds = sorted({*THRESHOLDS, own} - {0.0})
    ids = str(run.at.list(side))
    sweep = evaluate_cams(
        run.data, list_name=ids, cam_dir=folder, thresholds=thresholds, quiet=True
    )
    mious = tuple(float(one.matrix.compute()["miou"]) for one in sweep)
    if side == "thresholds":
        chosen[title] = thresholds[int(np.nanargmax(mious))]
    at = thresholds.index(chosen.get(title, own or thresholds[int(np.nanargmax(mious))]))
    return Rung(side, title, sweep[at], (tuple(thresholds), mious))
