"""What corrected photographs are worth, as `benchmarks/corrections.py` measured it in a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smaf.core.errors import InputError
from smaf.core.files import read_json
from smaf.engine.reporting.runs import ReportedRun
from smaf.report.charts import Curve, curves
from smaf.report.page import Chart, Section, Table

FILE = "corrections.json"
_FIX = "make it again with benchmarks/corrections.py, or delete it"
_LINES = {
    "masks": "pseudo masks, with CRF",
    "network_known": "network, labels known",
    "network": "network, labels unknown",
}


def corrections_section(run: ReportedRun) -> Section | None:
    """The curve of a run's folder: mIoU over the number of corrected photographs.

    None where nothing was measured. Raises :class:`InputError` for another file of that name.
    """
    path = run.at.logdir / FILE
    if not path.is_file():
        return None
    value = read_json(path, "curve of corrections", _FIX)
    try:
        rows = [_row(row) for row in value["rows"]]
        about = f"mIoU on {int(value['photographs']):,} photographs of list {value['list']}"
        note = (
            f"{about}, after true masks of n of {int(value['trained_on']):,} photographs trained "
            f"on took the place of corrections; these were chosen by {value['chosen']}."
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no curve of corrections: {_FIX}") from error
    if not rows:
        return None
    numbers = [row["n"] for row in rows]
    lines = [Curve(title, numbers, [row[key] for row in rows]) for key, title in _LINES.items()]
    svg = curves("corrections", about, lines, x="corrected photographs", y="mIoU, %")
    cells: list[list[str | float | None]] = [
        [f"{row['n']:g}", *(row[key] / 100 for key in _LINES)] for row in rows
    ]
    table = Table("mIoU, %", ["corrected", *_LINES.values()], cells)
    return Section("corrections", "Corrections", [note], [Chart(about, svg)], [table])


def _row(row: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(row[key]) for key in ("n", *_LINES)}
