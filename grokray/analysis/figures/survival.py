"""The share of trials that have grokked by a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from grokray.analysis.figures.labels import AXIS, HANDLE, LINE, as_written, columns_in, room_of, shortened, width_of
from grokray.analysis.figures.style import LINES, WIDTH, log_steps, percent_axis
from grokray.analysis.survival import SurvivalCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BANDS = 4
MOST_IN_CORNER = 6  # names; more stand above the axes
CORNER = (0.45, 0.5)  # of the axes, at least: left of the one and above the other is the legend
MARKS = ("", "o", "s", "^")  # a third sign, of the lines after the first six, the next six, and so on


def height_above(labels: Sequence[str]) -> float:
    """Inches that the names of many curves need above the axes, beside the figure itself."""
    if len(labels) <= MOST_IN_CORNER:
        return 0.0
    return LINE * (2 + np.ceil(len(labels) / columns_in(WIDTH - AXIS, labels)))


def draw_survival(axes: Axes, curves: Mapping[str, SurvivalCurve], horizon: float, name: str = "") -> Axes:
    """One line with its band for each curve; bands are left out where there are many. `name` is the legend's title."""
    first = min((curve.time[0] for curve in curves.values() if len(curve.time)), default=horizon / 10)
    log_steps(axes, 0.9 * first, horizon)
    axes.set_xlim(right=1.01 * horizon)  # where all have grokked the last step is there
    for number, (label, curve) in enumerate(curves.items()):
        look = look_of(number)
        start, end = axes.get_xlim()[0], min(curve.last_time, horizon)
        inside = curve.time <= horizon
        time = np.concatenate([[start], curve.time[inside], [end]])
        # Before its first event a curve has no band; where there is none at all, a line at 0 would seem certain.
        nobody = 1.0 if inside.any() else curve.lower_before
        before = ((curve.survival, 1.0), (curve.lower, nobody), (curve.upper, 1.0))
        grokked, upper, lower = (_held(values[inside], at_first) for values, at_first in before)
        look |= {"label": as_written(shortened(label)), "linewidth": 1.6}
        axes.step(time, grokked, where="post", zorder=3, **look)
        if len(curves) <= MOST_BANDS:
            axes.fill_between(time, lower, upper, step="post", color=look["color"], alpha=0.16, linewidth=0, zorder=2)
    axes.set_ylim(0, 1.02)
    percent_axis(axes.yaxis)
    axes.set_ylabel("grokked")
    axes.grid(axis="y")
    if len(curves) > 1 or (name and curves):
        _name_curves(axes, name)
    return axes


def look_of(number: int) -> dict[str, Any]:
    """Of the curve with this number: no two of 24 are the same."""
    colour, dashes = LINES[number % len(LINES)]
    mark = MARKS[number // len(LINES) % len(MARKS)]
    return {"color": colour, "linestyle": dashes, "marker": mark, "markersize": 4, "markevery": 0.1}


def _name_curves(axes: Axes, name: str) -> None:
    """In the upper left corner, or above the axes where that is too small or a curve passes through it."""
    labels = [str(line.get_label()) for line in axes.lines]
    if len(labels) > MOST_IN_CORNER or _is_taken(axes, _corner(axes, [*labels, name])):
        columns = columns_in(room_of(axes) - AXIS, labels, most=2 if len(labels) <= MOST_IN_CORNER else 3)
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": columns}
    else:
        place = {"loc": "upper left"}
    axes.legend(**place, title=name, alignment="left", title_fontsize=8)


def _corner(axes: Axes, texts: Sequence[str]) -> tuple[float, float]:
    """From where to the left, and from where up, the legend is; shares of the axes."""
    height = axes.bbox.height / axes.figure.dpi
    across = (HANDLE + max(map(width_of, texts))) / (room_of(axes) - AXIS)
    return max(CORNER[0], across), min(CORNER[1], 1 - LINE * (len(texts) + 1) / height)


def _is_taken(axes: Axes, corner: tuple[float, float]) -> bool:
    start, end = axes.get_xlim()
    across, up = corner
    lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines]
    return any((share[time < start * (end / start) ** across] > up).any() for time, share in lines)


def _held(survival: np.ndarray, before: float) -> np.ndarray:
    """The share grokked from before the first event, where survival is `before`, to the end."""
    grokked = 1 - np.append(before, np.nan_to_num(survival, nan=1.0))
    return np.append(grokked, grokked[-1])
