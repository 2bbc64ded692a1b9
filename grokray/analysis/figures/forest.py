"""Numbers with their intervals, one below the other: effects, critical fractions, differences."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grokray.analysis.figures.labels import as_written
from grokray.analysis.figures.style import LINES, MUTED, PAPER, percent_axis
from grokray.analysis.figures.ticks import written_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKS = "oDs^v"
WHY_LETTERS = 84  # on a line
MOST_WITH_REASONS, MOST_ROWS = 12, 30
MOST_POWERS = 6  # between the ends of an axis of factors
_ROOM = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none"}  # lines end before a label


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line. Ends that are infinite are drawn as arrows; where they are not known (NaN) the mark is hollow. A NaN
    `value` stands for `why` there is no number."""

    label: str
    value: float
    lower: float
    upper: float
    why: str = ""


def foremost(rows: Sequence[Row]) -> list[Row]:
    """All of them where they are few; of many those with a number, so that a figure stays one that is looked at."""
    if len(rows) <= MOST_WITH_REASONS:
        return [*rows]
    known = [row for row in rows if not np.isnan(row.value)]
    return known[:MOST_ROWS] or [*rows[:MOST_WITH_REASONS]]


def height_of(rows: int) -> float:
    """Inches."""
    return 0.75 + 0.36 * max(rows, 1)


def draw_forest(
    axes: Axes,
    rows: Sequence[Row],
    *,
    none: float | None = None,
    log: bool = False,
    points: bool = False,
    name: str = "",
    series: int = 0,
) -> Axes:
    """`none` is the number that means no effect, drawn as a line. Labels stand above their intervals."""
    colour, mark = LINES[series % len(LINES)][0], MARKS[series % len(MARKS)]
    low, high = _limits(rows, none, log)
    if log:
        axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.45, -0.75)
    if none is not None:
        axes.axvline(none, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
    for at, row in enumerate(rows):
        above = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8, "bbox": _ROOM}
        axes.text(0.0, at - 0.3, as_written(row.label), **above)
        if np.isnan(row.value):
            _say_why(axes, row.why or "no number", at + 0.08)
            continue
        known = not np.isnan([row.lower, row.upper]).any()
        if known:
            _draw_interval(axes, row, at + 0.08, colour)
        face = colour if known else PAPER
        place = [np.clip(row.value, low, high)], [at + 0.08]
        axes.plot(*place, marker=mark, markersize=5.5, color=colour, markerfacecolor=face, zorder=3)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel(name)
    if points:
        percent_axis(axes.xaxis, symbol="")
    if log:
        _ratio_ticks(axes, low, high)
    return axes


def _say_why(axes: Axes, why: str, at: float) -> None:
    """In one or two lines, or it would leave the page."""
    lines = textwrap.wrap(as_written(why), WHY_LETTERS, max_lines=2, placeholder=" …")
    look = {"fontsize": 7, "color": MUTED, "va": "center", "linespacing": 1.1, "bbox": _ROOM}
    axes.text(0.02, at + 0.12 * (len(lines) - 1), "\n".join(lines), transform=axes.get_yaxis_transform(), **look)


def _draw_interval(axes: Axes, row: Row, at: float, colour: str) -> None:
    low, high = axes.get_xlim()
    ends = np.clip([row.lower, row.upper], low, high)
    axes.plot(ends, [at] * 2, color=colour, linewidth=1.6, solid_capstyle="butt", zorder=2)
    for end, bound, arrow in ((ends[0], row.lower, "<"), (ends[1], row.upper, ">")):
        if not low <= bound <= high:
            axes.plot([end], [at], marker=arrow, markersize=5, color=colour, clip_on=False)


def _limits(rows: Sequence[Row], none: float | None, log: bool) -> tuple[float, float]:
    """Wide enough for all values and for most intervals: a boundless one ends at the rim."""
    if log:  # a ratio of 0 has no place here
        rows = [row for row in rows if row.lower > 0]
    values = np.array([row.value for row in rows if np.isfinite(row.value)] + ([] if none is None else [none]))
    ends = np.array([[row.lower, row.upper] for row in rows]).reshape(-1, 2)
    if log:
        with np.errstate(divide="ignore"):
            values, ends = np.log(values[values > 0]), np.log(ends)
    if not len(values):
        return (0.5, 2.0) if log else (0.0, 1.0)
    low, high = _inner(values, ends, least=0.5 if log else 1e-3)
    margin = max(0.06 * (high - low), 0.012 if log else 1e-3 if high - low > 0.01 else 0.05)  # room for ticks
    low, high = low - margin, high + margin
    return (float(np.exp(low)), float(np.exp(high))) if log else (float(low), float(high))


def _inner(values: np.ndarray, ends: np.ndarray, least: float) -> tuple[float, float]:
    """From values (n,) at least, to those ends of intervals (m, 2) that are not far from them; `least` is near."""
    with np.errstate(invalid="ignore"):
        widths = ends[:, 1] - ends[:, 0]
    widths = widths[(widths > 0) & np.isfinite(widths)]
    usual = 1.2 * float(np.quantile(widths, 0.25, method="lower")) if len(widths) else 0.0
    reach = max(2.5 * np.ptp(values), usual, least)
    inner = ends[(ends >= values.min() - reach) & (ends <= values.max() + reach)]
    return min([values.min(), *inner]), max([values.max(), *inner])


def _ratio_ticks(axes: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    steps = (1, 2, 5) if high / low < 300 else (1,)
    apart = max(math.ceil(math.log10(high / low) / MOST_POWERS), 1)  # powers of ten, of which 1 is always one
    places = [step * 10.0**power for power in range(-300, 301) if power % apart == 0 for step in steps]
    if high / low < 4:
        places += [0.25, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 1.2, 1.5, 2.5, 3, 4]
    axes.xaxis.set_major_locator(FixedLocator(sorted(place for place in places if low <= place <= high)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _factor(value)))


def _factor(value: float) -> str:
    """0.01, 1e-4, 1000, 1e6"""
    return written_out(value) if value < 1 else f"{value:g}".replace("e+0", "e").replace("e+", "e")
