"""The share of trials that have grokked by a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from grokray.analysis.figures.style import LINES, as_written, log_steps, percent_axis
from grokray.analysis.survival import SurvivalCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BANDS = 4
CORNER = (0.45, 0.5)  # of the axes: left of the one and above the other there is room for the legend


def draw_survival(axes: Axes, curves: Mapping[str, SurvivalCurve], horizon: float, name: str = "") -> Axes:
    """One line with its band for each curve; bands are left out where there are many. `name` is the legend's title."""
    first = min((curve.time[0] for curve in curves.values() if len(curve.time)), default=horizon / 10)
    log_steps(axes, 0.9 * first, horizon)
    axes.set_xlim(right=1.01 * horizon)  # where all have grokked the last step is there
    for number, (label, curve) in enumerate(curves.items()):
        colour, dashes = LINES[number % len(LINES)]
        start, end = axes.get_xlim()[0], min(curve.last_time, horizon)
        inside = curve.time <= horizon
        time = np.concatenate([[start], curve.time[inside], [end]])
        # Before its first event a curve has no band; where there is none at all, a line at 0 would seem certain.
        nobody = 1.0 if inside.any() else curve.lower_before
        before = ((curve.survival, 1.0), (curve.lower, nobody), (curve.upper, 1.0))
        grokked, upper, lower = (_held(values[inside], at_first) for values, at_first in before)
        look = {"color": colour, "linestyle": dashes, "linewidth": 1.6, "label": as_written(label)}
        axes.step(time, grokked, where="post", zorder=3, **look)
        if len(curves) <= MOST_BANDS:
            axes.fill_between(time, lower, upper, step="post", color=colour, alpha=0.16, linewidth=0, zorder=2)
    axes.set_ylim(0, 1.02)
    percent_axis(axes.yaxis)
    axes.set_ylabel("grokked")
    axes.grid(axis="y")
    if len(curves) > 1 or (name and curves):
        _name_curves(axes, name)
    return axes


def _name_curves(axes: Axes, name: str) -> None:
    """In the upper left corner, or above the axes where a curve passes through that."""
    start, end = axes.get_xlim()
    across, up = CORNER
    lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines]
    is_taken = any((share[time < start * (end / start) ** across] > up).any() for time, share in lines)
    place: dict[str, Any] = (
        {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2} if is_taken else {"loc": "upper left"}
    )
    axes.legend(**place, title=name, alignment="left", title_fontsize=8)


def _held(survival: np.ndarray, before: float) -> np.ndarray:
    """The share grokked from before the first event, where survival is `before`, to the end."""
    grokked = 1 - np.append(before, np.nan_to_num(survival, nan=1.0))
    return np.append(grokked, grokked[-1])
