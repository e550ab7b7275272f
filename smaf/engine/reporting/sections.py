"""The page's parts before the gallery: scores, classes, thresholds, trainings, settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smaf.engine.reporting.rungs import CRF, NETWORK, NETWORK_KNOWN, SIDES, Rung
from smaf.engine.reporting.runs import ReportedRun, notes_of
from smaf.engine.reporting.trainings import Points
from smaf.report.charts import Curve, bars, curves, smoothed
from smaf.report.page import Chart, Section, Table

Ladders = Mapping[str, Sequence[Rung]]  # run → its rungs
Cell = str | float | None


def score_sections(ladders: Ladders, runs: Sequence[ReportedRun]) -> list[Section]:
    """Ladder, classes, confusion and thresholds of `runs`, as far as there are true masks."""
    if not any(ladders.values()):
        return []
    notes = [_score_note(runs)]
    sections = [_ladder(ladders, notes), _per_class(ladders), _confusion(ladders), _sweeps(ladders)]
    return [section for section in sections if section is not None]


def _of(ladders: Ladders, side: str) -> dict[str, list[Rung]]:
    """The runs' rungs of one side; runs without such are left out."""
    found = {run: [r for r in rungs if r.side == side] for run, rungs in ladders.items()}
    return {run: rungs for run, rungs in found.items() if rungs}


def _ladder(ladders: Ladders, notes: Sequence[str]) -> Section:
    charts, tables = [], []
    for side, name in SIDES.items():
        runs = _of(ladders, side)
        if not runs:
            continue
        titles = list(dict.fromkeys(rung.title for rungs in runs.values() for rung in rungs))
        series = {run: [_miou(rungs, title) for title in titles] for run, rungs in runs.items()}
        count = next(iter(runs.values()))[0].result.images
        title = f"mIoU on {count:,} {name}"
        alt = f"{title}: " + _told(series, titles)
        charts.append(Chart(title, bars(f"ladder-{side}", alt, titles, series)))
        head = ["", "threshold", "mIoU", "precision", "recall", "accuracy"]
        rows = [
            _score_row(run if len(ladders) > 1 else "", rung) for run in runs for rung in runs[run]
        ]
        tables.append(Table(f"Scores on {name}, %", head, rows))
    return Section("scores", "Scores", notes, charts, tables)


def _score_note(runs: Sequence[ReportedRun]) -> str:
    """How scores are made, and which masks networks were trained on."""
    learned = {run.name: run.learned for run in runs if run.learned}
    told = ", ".join(
        f"{count:,} by {name}" if len(runs) > 1 else f"{count:,}" for name, count in learned.items()
    )
    corrected = f"; masks that people corrected were learned: {told}" if told else ""
    return (
        "Scores are of one confusion matrix over all photographs, as PASCAL VOC has it. Maps are "
        "cut where they are best on photographs trained on. No network was trained on a true mask"
        f"{corrected}."
    )


def _told(series: Mapping[str, Sequence[float]], titles: Sequence[str]) -> str:
    """The values in words, for those who do not see the chart."""
    return "; ".join(
        f"{run}: " + ", ".join(f"{t} {100 * v:.1f} %" for t, v in zip(titles, values, strict=True))
        for run, values in series.items()
    )


def _miou(rungs: Sequence[Rung], title: str) -> float:
    return next((float(r.scores["miou"]) for r in rungs if r.title == title), math.nan)


def _score_row(run: str, rung: Rung) -> list[Cell]:
    scores, at = rung.scores, rung.result.threshold
    means = [float(np.nanmean(scores[key])) for key in ("miou", "precision", "recall")]
    name = f"{run}: {rung.title}" if run else rung.title
    return [name, "–" if at is None else f"{at:g}", *means, float(scores["accuracy"])]


def _masks(ladders: Ladders) -> list[tuple[str, Rung]]:
    """(run and title, rung) of what classes are told of: one side, the masks and the network.

    The masks are the run's: its network's, or stage 3's.
    """
    for side in SIDES:
        found = [
            (f"{run}: {rung.title}" if len(ladders) > 1 else rung.title, rung)
            for run, rungs in _of(ladders, side).items()
            for rung in rungs
            if rung.title in (NETWORK, _masks_title(rungs))
        ]
        if found:
            return found
    return []


def _masks_title(rungs: Sequence[Rung]) -> str:
    """The title of a run's masks."""
    return NETWORK_KNOWN if any(rung.title == NETWORK_KNOWN for rung in rungs) else CRF


def _per_class(ladders: Ladders) -> Section | None:
    masks = _masks(ladders)
    if not masks:
        return None
    names = list(masks[0][1].result.classes)
    series = {title: [float(v) for v in rung.scores["iou"]] for title, rung in masks}
    side = SIDES[masks[0][1].side]
    alt = "IoU of each class: " + _told(series, names)
    chart = Chart(f"IoU on {side}", bars("classes", alt, names, series))
    kinds = ("iou", "precision", "recall")
    tables = [
        Table(
            f"{title}, %",
            ["class", "IoU", "precision", "recall"],
            [
                [name, *(_number(rung.scores[kind][row]) for kind in kinds)]
                for row, name in enumerate(names)
            ],
        )
        for title, rung in masks
    ]
    return Section("classes", "Classes", [], [chart], tables)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _confusion(ladders: Ladders) -> Section | None:
    masks = _masks(ladders)
    tables = []
    for title, rung in masks:
        counts = rung.result.matrix.counts.astype(np.float64)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
        names = rung.result.classes
        rows: list[list[Cell]] = [
            [name, *(float(share) for share in row)]
            for name, row, total in zip(names, shares, counts.sum(axis=1), strict=True)
            if total
        ]
        tables.append(Table(title, ["true \\ found", *names], rows, shades=True))
    if not tables:
        return None
    note = f"Of 100 true pixels of a class, on {SIDES[masks[0][1].side]}: what they were taken for."
    return Section("confusion", "Confusion", [note], [], tables)


def _sweeps(ladders: Ladders) -> Section | None:
    charts = []
    for side, name in SIDES.items():
        lines = [
            Curve(
                f"{run}: {rung.title}" if len(ladders) > 1 else rung.title,
                rung.sweep[0],
                [100 * miou for miou in rung.sweep[1]],
                rung.result.threshold,
            )
            for run, rungs in _of(ladders, side).items()
            for rung in rungs
            if rung.sweep[0]
        ]
        if lines:
            alt = f"mIoU over the background threshold on {name}"
            svg = curves(f"sweep-{side}", alt, lines, x="background threshold", y="mIoU, %")
            charts.append(Chart(f"On {name}", svg))
    if not charts:
        return None
    note = (
        "mIoU of maps without CRF, cut at each background threshold; dots mark those of the table "
        "above. A threshold belongs to the photographs that it was chosen on."
    )
    return Section("thresholds", "Thresholds", [note], charts)


def training_section(runs: Mapping[str, Mapping[str, Mapping[str, Points]]]) -> Section | None:
    """Losses of the trainings, overlaid where there are several runs."""
    names = list(dict.fromkeys(name for trainings in runs.values() for name in trainings))
    charts = []
    for number, name in enumerate(names):
        lines = []
        for run, trainings in runs.items():
            for tag, (steps, values) in trainings.get(name, {}).items():
                term = tag.removeprefix("train/")
                if tag == "train/rate" or (len(runs) > 1 and term != "loss"):
                    continue
                title = run if len(runs) > 1 else term
                lines.append(Curve(title, steps, smoothed(values, 1 + len(values) // 40).tolist()))
        if lines:
            alt = f"losses of the {name} over its steps"
            svg = curves(f"training-{number}", alt, lines, x="step", y="loss")
            charts.append(Chart(name, svg))
    if not charts:
        return None
    note = "As TensorBoard has them, smoothed a little."
    return Section("trainings", "Trainings", [note], charts)


def settings_section(runs: Sequence[ReportedRun]) -> Section:
    """Settings, those that differ first; the data set; the time of each step."""
    head = ["", *(run.name for run in runs)]
    everything = _rows([_flat(run.settings) for run in runs])
    tables = []
    if len(runs) > 1:
        differing = [row for row in everything if len(set(row[1:])) > 1]
        tables.append(Table("Settings that differ", head, differing or [["none"]]))
    tables += [
        Table("Data set", head, _rows([_data_set(run) for run in runs])),
        Table("Seconds of each step", head, _rows([_seconds(run) for run in runs])),
        Table("All settings", head, everything, folded=True),
        Table("Versions", head, _rows([_versions(run) for run in runs]), folded=True),
    ]
    return Section("settings", "Settings", [], [], [table for table in tables if table.rows])


def _rows(columns: Sequence[Mapping[str, str]]) -> list[list[Cell]]:
    """A row for each name that some column has."""
    names = list(dict.fromkeys(name for column in columns for name in column))
    return [[name, *(column.get(name, "–") for column in columns)] for name in names]


def _flat(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in values.items()
        if value is not None and not str(value).startswith("sha256:")
    }


def _data_set(run: ReportedRun) -> dict[str, str]:
    facts = dict(run.entry.get("data_set", {}))
    shown = facts.pop("classes", {})
    value, source = run.threshold
    return {
        **{name.replace("_", " "): str(fact) for name, fact in facts.items() if name != "folder"},
        **{f"trained on, with {name}": str(count) for name, count in shown.items()},
        "background threshold": f"{value:g}, from {source}",
    }


def _seconds(run: ReportedRun) -> dict[str, str]:
    return {name: f"{seconds:.0f}" for name, seconds in notes_of(run).seconds.items()}


def _versions(run: ReportedRun) -> dict[str, str]:
    facts = {key: run.entry.get(key) for key in ("git", "machine")}
    return _flat({**run.entry.get("versions", {}), **facts})
