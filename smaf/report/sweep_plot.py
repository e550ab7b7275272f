"""The plot of a sweep: mIoU against the background threshold."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from smaf.core.files import write_bytes

_LINE, _BEST, _SOFT = "#2f6db5", "#d1495b", "#5b6675"


def _sorted_curve(
    thresholds: Sequence[float], mious: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds in ascending order and their mIoUs in %, both (N,) float64."""
    xs, ys = np.asarray(thresholds, dtype=np.float64), 100.0 * np.asarray(mious, dtype=np.float64)
    if xs.ndim != 1 or xs.size == 0 or xs.shape != ys.shape:
        raise ValueError(
            f"expected as many mIoUs as thresholds, at least one, got {ys.shape} and {xs.shape}"
        )
    order = np.argsort(xs, kind="stable")
    return xs[order], ys[order]


def _draw_curve(axes: Axes, xs: np.ndarray, ys: np.ndarray, *, at: int) -> None:
    """The curve, and its point number `at` marked as the best one."""
    axes.plot(xs, ys, color=_LINE, linewidth=2, marker="o", markersize=4)
    axes.axvline(xs[at], color=_BEST, linewidth=1, linestyle="--")
    axes.plot(
        xs[at],
        ys[at],
        color=_BEST,
        marker="o",
        markersize=9,
        linestyle="none",
        label=f"best: threshold {xs[at]:g}, mIoU {ys[at]:.2f} %",
    )
    axes.set_xlabel("background threshold")
    axes.set_ylabel("mIoU, %")
    axes.margins(y=0.12)
    axes.grid(color="#e3e7ec")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def sweep_figure(
    thresholds: Sequence[float], mious: Sequence[float], *, list_name: str, best: float
) -> Figure:
    """Return the figure that :func:`plot_sweep` writes, from the same arguments.

    Raises ValueError where there are no thresholds, not as many mIoUs, or no threshold `best`.
    """
    xs, ys = _sorted_curve(thresholds, mious)
    at = int(np.abs(xs - best).argmin())
    if not np.isclose(xs[at], best):
        raise ValueError(
            f"expected the best threshold among {', '.join(f'{x:g}' for x in xs)}, got {best:g}"
        )
    figure = Figure(figsize=(8.0, 5.0), dpi=120, layout="constrained")
    _draw_curve(figure.add_subplot(), xs, ys, at=at)
    figure.legend(loc="outside upper left", frameon=False, fontsize=11)
    # parse_math off: a `$` in a list's name is a `$`
    figure.supxlabel(
        f"a threshold belongs to the list it was chosen on: {list_name}",
        fontsize=10,
        color=_SOFT,
        parse_math=False,
        wrap=True,
    )
    return figure


def plot_sweep(
    path: Path, thresholds: Sequence[float], mious: Sequence[float], *, list_name: str, best: float
) -> None:
    """Write a plot of `mious` (0..1, drawn in %) against `thresholds` as the PNG `path`.

    The threshold `best` is marked. `list_name` is the list of images on which the mIoU was
    measured; the plot says that the choice belongs to it. Raises ValueError where there are no
    thresholds, not as many mIoUs, or no threshold `best`.
    """
    stream = io.BytesIO()
    FigureCanvasAgg(sweep_figure(thresholds, mious, list_name=list_name, best=best)).print_png(
        stream
    )
    write_bytes(path, stream.getvalue())
