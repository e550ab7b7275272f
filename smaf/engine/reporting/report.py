"""The page of one or more runs: `smaf report`, and the end of `smaf run`."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smaf.engine.pipeline.report import NAME, QUALITY
from smaf.engine.reporting.correction_curve import corrections_section, curves_of
from smaf.engine.reporting.photographs import cards_of, chosen, estimates_of, layers_of
from smaf.engine.reporting.quality import Estimate, ranked, write_quality
from smaf.engine.reporting.rungs import rungs_of
from smaf.engine.reporting.runs import ReportedRun
from smaf.engine.reporting.sections import score_sections, settings_section, training_section
from smaf.engine.reporting.trainings import trainings_of
from smaf.ops.quality import spearman
from smaf.report.page import MOST, Card, Gallery, Page, write_page

log = logging.getLogger("smaf")


@dataclass(frozen=True)
class Reported:
    """What a report gives: the page, how many photographs it shows, how well quality ranks them."""

    path: Path
    photographs: int
    rank: float


def report(
    runs: Sequence[ReportedRun], path: Path | None = None, *, most: int = MOST, num_workers: int = 0
) -> Reported:
    """Write the page of one or more runs, by default `report.html` in the first one's folder.

    The gallery is of the first run, at most `most` photographs, with the masks of the others. The
    first run's estimates go to `quality.csv` in its folder. `rank` is Spearman's correlation of
    estimates and IoU, NaN where no true mask tells.
    """
    first = runs[0]
    path = first.at.logdir / NAME if path is None else path
    # read first: what is wrong in a file is told before minutes are spent
    corrections = corrections_section(curves_of(runs), several=len(runs) > 1)
    ids = first.ids("photographs")
    estimates = estimates_of(first, ids, num_workers=num_workers)
    write_quality(first.at.logdir / QUALITY, estimates)
    shown = {image_id: estimates[image_id] for image_id in chosen(ids, estimates, most)}
    cards = cards_of(runs, shown, num_workers=num_workers)
    faults = _faults(cards)
    unseen = [estimates[i] for i in first.ids("scored") if i in estimates]
    seen = [estimates[i] for i in first.ids("thresholds") if i in estimates]
    gallery = Gallery(
        cards, layers_of(runs, cards), "crf", _about(estimates, len(cards), unseen, seen)
    )
    ladders = {run.name: rungs_of(run) for run in runs}
    trainings = training_section({run.name: trainings_of(run) for run in runs})
    sections = [
        *score_sections(ladders, runs),
        *([corrections] if corrections else []),
        *([trainings] if trainings else []),
        settings_section(runs),
    ]
    names = ", ".join(run.name for run in runs)
    title = f"SMAF report: {names}"
    intro = [*_intro(runs), *([f"{faults}."] if faults else [])]
    write_page(path, Page(title, first.data.classes.names, intro, sections, gallery))
    return Reported(path, len(cards), spearman(*ranked(unseen or seen)))


def _faults(cards: Sequence[Card]) -> str:
    """How many photographs have files that do not serve, and which is the first; told, too."""
    bad = [card for card in cards if card.fault]
    if not bad:
        return ""
    have = "has" if len(bad) == 1 else "have"
    told = (
        f"{len(bad):,} of {len(cards):,} photographs {have} files that are missing or damaged, "
        f"{bad[0].name} first: {bad[0].fault}"
    )
    log.warning("warning: %s", told)
    return told


def _intro(runs: Sequence[ReportedRun]) -> list[str]:
    return [line for run in runs for line in _lines(run, len(runs) > 1)]


def _lines(run: ReportedRun, several: bool) -> list[str]:
    """What a run is of, in words."""
    settings, (threshold, source) = run.settings, run.threshold
    lists = {name: len(run.ids(name)) for name in ("train", "photographs", "scored", "thresholds")}
    lines = [
        f"{f'{run.name}: ' if several else ''}From image-level labels to masks: trained on "
        f"{lists['train']:,} photographs, masks of {lists['photographs']:,}, recipe "
        f"{settings.get('recipe')}{', a quick first look' if settings.get('quick') else ''}. "
        f"The masks' background threshold is {threshold:g}, from {source}."
    ]
    if run.corrected:
        lines.append(_corrected(run))
    if not lists["scored"] and not lists["thresholds"]:
        lines.append("There are no scores: no photograph has a true mask.")
    elif not lists["scored"]:
        lines.append(
            "There are no scores of photographs that were not trained on: none has a true mask."
        )
    return lines


def _corrected(run: ReportedRun) -> str:
    """Which photographs have corrected masks, and what learned them."""
    stages = "stages 2 and 4" if run.saliency else "stage 4"  # plain CAM has no self-training
    one = run.corrected == 1
    have = "photograph has a mask" if one else "photographs have masks"
    learned = f"{stages} learned {'it' if one else 'them'}"
    if not run.learned:
        learned = f"{'it is' if one else 'they are'} not trained on and taught nothing"
    elif run.learned < run.corrected:
        learned = f"{stages} learned {run.learned:,} of them, as many as are trained on"
    return f"{run.corrected:,} {have} that people corrected: {learned}."


def _about(
    estimates: Mapping[str, Estimate],
    count: int,
    unseen: Sequence[Estimate],
    seen: Sequence[Estimate],
) -> list[str]:
    """What the gallery says of its numbers."""
    lines = [
        "Quality estimates how good a mask is without a true mask: how far it agrees with stage "
        "3's and with the saliency map; of stage 3's own masks how far the scales that the fused "
        "map is the mean of, the mask before CRF and the saliency map agree with them. "
        "IoU is the mean over the photograph's classes, where there is a true mask. "
        "Worst and best go by IoU, where there is none by quality."
    ]
    for group, name in ((unseen, "not trained on"), (seen, "trained on")):
        rank = spearman(*ranked(group))
        if not math.isnan(rank):
            lines.append(
                f"On {len(ranked(group)[0]):,} photographs {name}, quality and IoU have a rank "
                f"correlation (Spearman) of {rank:.2f}; 1 would be the same order."
            )
    if count < len(estimates):
        lines.append(
            f"{count:,} of {len(estimates):,} photographs are shown: those with true masks, and "
            "those of the lowest quality; quality.csv has all."
        )
    return lines
