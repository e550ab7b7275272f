"""What corrected photographs are worth: the curve in a run's `corrections.json`, and its section.

`benchmarks/corrections.py` writes the file and says what each entry means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from smaf.core.errors import printable
from smaf.core.fields import Fields, parse_json
from smaf.core.files import read_text
from smaf.engine.reporting.rungs import CRF, NETWORK
from smaf.engine.reporting.runs import ReportedRun
from smaf.report.charts import Curve, curves
from smaf.report.page import Chart, Section, Table

CORRECTIONS = "corrections.json"
LOWEST, SAMPLE = "lowest quality", "a seeded sample"  # how photographs are chosen
# What a row has the mIoU of, in per cent
SCORES = {"masks": CRF, "network": NETWORK, "network_known": "network, labels known"}
_FACTS = ("n", "list", "photographs", "trained_on", "chosen", "seed", "threshold", "rows")
_CHOSEN = {LOWEST: "those of the lowest quality", SAMPLE: "a sample drawn by the seed"}
_FIX = "make it again with benchmarks/corrections.py, or delete it"
_MOST = 10**9  # photographs, and the seed: none is larger


@dataclass(frozen=True)
class CorrectionCurve:
    """A curve: mIoU over the number of corrected photographs.

    Args:
        planned: the numbers of corrected photographs, rising.
        counts: those that are done, the first ones of `planned`.
        mious: key of :data:`SCORES` → mIoU in 0..1, one for each of `counts`.
        list_name, photographs: what is scored, and how many photographs that are.
        trained_on: photographs of the training list.
        chosen: :data:`LOWEST` or :data:`SAMPLE`.
        seed: of the trainings, and of the sample.
        threshold: background threshold of the masks.
    """

    planned: tuple[int, ...]
    counts: tuple[int, ...]
    mious: dict[str, tuple[float, ...]]
    list_name: str
    photographs: int
    trained_on: int
    chosen: str
    seed: int
    threshold: float

    def told(self) -> str:
        """What was done, in a sentence."""
        done, planned = len(self.counts), len(self.planned)
        rest = f" {done} of {planned} points are done." if done < planned else ""
        return (
            f"mIoU on the {self.photographs:,} photographs of list {self.list_name}, after true "
            f"masks took the place of corrections of up to {self.counts[-1]:,} of "
            f"{self.trained_on:,} photographs trained on, {_CHOSEN[self.chosen]}; seed "
            f"{self.seed}, background threshold {self.threshold:g}.{rest}"
        )


def read_corrections(path: Path) -> CorrectionCurve:
    """Read a curve; :class:`InputError` names the file and the entry that is not as it must be."""
    where = f"curve of corrections {printable(path)}"
    value = parse_json(read_text(path, "curve of corrections", _FIX), where, _FIX)
    facts = Fields(value, where, _FIX, required=_FACTS)
    trained_on = facts.integer("trained_on", 1, _MOST)
    planned = _planned(facts, trained_on)
    rows = facts.values["rows"]
    if not isinstance(rows, list) or len(rows) > len(planned):
        raise facts.fault("rows", f"a list of at most {len(planned)} rows, as n has numbers")
    read = [_row(row, f"{where}, row {k}", planned[k - 1]) for k, row in enumerate(rows, 1)]
    name = facts.values["list"]
    if not isinstance(name, str) or not name.strip():
        raise facts.fault("list", "the name of a list")
    return CorrectionCurve(
        planned=planned,
        counts=planned[: len(read)],
        mious={key: tuple(row[key] for row in read) for key in SCORES},
        list_name=printable(name),
        photographs=facts.integer("photographs", 1, _MOST),
        trained_on=trained_on,
        chosen=facts.text("chosen", list(_CHOSEN)),
        seed=facts.integer("seed", 0, 2**53),
        threshold=facts.number("threshold", 0.0, 1.0),
    )


def _planned(facts: Fields, most: int) -> tuple[int, ...]:
    """The numbers of corrected photographs, each larger than the one before."""
    value: Any = facts.values["n"]
    whole = isinstance(value, list) and all(type(n) is int and 0 <= n <= most for n in value)
    if not whole or not value or any(a >= b for a, b in pairwise(value)):
        raise facts.fault("n", f"rising whole numbers from 0 to {most}")
    return tuple(value)


def _row(value: object, where: str, count: int) -> dict[str, float]:
    """A row's mIoUs in 0..1."""
    row = Fields(value, where, _FIX, required=("n", *SCORES, "seconds"))
    row.integer("n", count, count)
    row.numbers_of(("seconds",), 0.0, float(_MOST))
    return {key: percent / 100 for key, percent in row.numbers_of(SCORES, 0.0, 100.0).items()}


def curves_of(runs: Sequence[ReportedRun]) -> dict[str, CorrectionCurve]:
    """Run → its curve; a run without the file, or without a point that is done, has none."""
    paths = {run.name: run.at.logdir / CORRECTIONS for run in runs}
    found = {name: read_corrections(path) for name, path in paths.items() if path.is_file()}
    return {name: curve for name, curve in found.items() if curve.counts}


def corrections_section(found: dict[str, CorrectionCurve], *, several: bool) -> Section | None:
    """A chart, a table and a sentence of each curve; `several`: there is more than one run."""
    charts, tables, notes = [], [], []
    for number, (run, curve) in enumerate(found.items()):
        name = f"{run}: " if several else ""
        title = f"{name}mIoU on list {curve.list_name}"
        rows = list(zip(curve.counts, *curve.mious.values(), strict=True))
        lines = [
            Curve(SCORES[key], curve.counts, [100 * miou for miou in mious])
            for key, mious in curve.mious.items()
        ]
        alt = f"{title} over corrected photographs: " + "; ".join(
            f"{line.name} "
            + ", ".join(f"{y:.1f} % with {x}" for x, y in zip(line.xs, line.ys, strict=True))
            for line in lines
        )
        axes = {"x": "corrected photographs", "y": "mIoU, %"}
        charts.append(Chart(title, curves(f"corrections-{number}", alt, lines, **axes, whole=True)))
        head = ["corrected photographs", *SCORES.values()]
        tables.append(Table(f"{title}, %", head, [[f"{n:,}", *values] for n, *values in rows]))
        notes.append(name + curve.told())
    return Section("corrections", "Corrections", notes, charts, tables) if charts else None
