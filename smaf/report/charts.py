"""The page's charts: bars and curves, in the colours of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from smaf.report.svg import GRID, INK, SERIES, SOFT, plain_text, svg_of

_FONT = 10.0
_LETTER, _HANDLE = 5.0, 36.0  # points in a legend: a letter; what stands beside a name


@dataclass(frozen=True)
class Curve:
    """A line of a chart: its name, its points (N,), and where it is best, if that is marked."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    best: float | None = None


@plain_text()
def bars(name: str, alt: str, groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """Lying bars in %: a group of bars for each of `groups`, a bar for each of `series` in it.

    The values are in 0..1, as many as groups; NaN leaves a place empty.
    """
    height = 0.24 * len(groups) * len(series) + 0.16 * len(groups) + 0.6
    figure, axes = _new((5.4, max(1.2, height)))
    thick = 0.8 / max(1, len(series))
    places = np.arange(len(groups), dtype=np.float64)
    for number, (label, values) in enumerate(series.items()):
        ys = places + (number - (len(series) - 1) / 2) * thick
        percents = 100.0 * np.asarray(values, dtype=np.float64)
        colour = SERIES[number % len(SERIES)]
        axes.barh(ys, np.nan_to_num(percents), thick * 0.88, color=colour, label=label)
        for y, percent in zip(ys, percents, strict=True):
            if not np.isnan(percent):
                axes.text(percent + 0.8, y, f"{percent:.1f}", va="center", fontsize=9, color=INK)
    axes.set_yticks(places, list(groups), color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xticks([0, 20, 40, 60, 80, 100], ["0", "20", "40", "60", "80", "100 %"])
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    _finish(figure, axes, legend=len(series) > 1)
    return svg_of(figure, name, alt)


@plain_text()
def curves(
    name: str, alt: str, lines: Sequence[Curve], *, x: str, y: str, whole: bool = False
) -> str:
    """Curves in one chart, `x` and `y` say what the axes are; the best point is marked by a dot.

    `whole`: the xs are a few whole numbers, each of which is marked.
    """
    figure, axes = _new((5.4, 3.0))
    for number, line in enumerate(lines):
        colour = SERIES[number % len(SERIES)]
        mark = "." if whole or len(line.xs) < 3 else ""
        axes.plot(line.xs, line.ys, marker=mark, color=colour, lw=1.6, label=line.name)
        if line.best is not None:
            at = int(np.argmin(np.abs(np.asarray(line.xs) - line.best)))
            axes.plot([line.xs[at]], [line.ys[at]], "o", color=colour, markersize=6)
    axes.set_xlabel(x, color=SOFT, fontsize=_FONT)
    axes.set_ylabel(y, color=SOFT, fontsize=_FONT)
    axes.margins(x=0.02, y=0.08)
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(color=GRID, linewidth=0.8)
    _finish(figure, axes, legend=True)
    return svg_of(figure, name, alt)


def smoothed(values: Sequence[float], window: int) -> np.ndarray:
    """Means over `window` values around each, fewer at the ends.

    Example:
        >>> smoothed([0.0, 3.0, 6.0, 9.0], 3).tolist()
        [1.5, 3.0, 6.0, 7.5]
    """
    array = np.asarray(values, dtype=np.float64)
    sums, half = np.concatenate([[0.0], np.cumsum(array)]), window // 2
    index = np.arange(len(array))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(array))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _new(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, dpi=72, layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    return figure, axes


def _finish(figure: Figure, axes: Axes, *, legend: bool) -> None:
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(color=GRID, labelcolor=SOFT, labelsize=9)
    if legend:
        names = axes.get_legend_handles_labels()[1]
        wide = max(map(len, names), default=0) * _LETTER + _HANDLE
        columns = max(1, min(3, int(72 * figure.get_figwidth() / wide)))
        style = {"frameon": False, "fontsize": 9, "labelcolor": INK}
        figure.legend(loc="outside upper left", ncols=columns, **style)
