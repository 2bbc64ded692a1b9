"""How well measures at early steps tell which of two trials will grok first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grokray.analysis.concordance import Concordance
from grokray.analysis.figures.labels import AXIS, LINE, as_written, columns_in, room_of, shortened
from grokray.analysis.figures.style import MUTED, PALETTE, WIDTH, log_steps, percent_axis
from grokray.analysis.figures.survival import look_of
from grokray.analysis.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MEASURES = 6
HEIGHT = 2.6  # inches
BESIDE = 1.02  # by which the steps of one line are moved from those of the next, so that intervals stand apart


def foremost_measures(found: Mapping[tuple[int, str], Concordance]) -> list[str]:
    """Those that are farthest from a coin's toss at any step, the farthest first."""
    reach: dict[str, float] = {}
    for (_, name), one in found.items():
        if _is_known(one):
            reach[name] = max(reach.get(name, 0.0), abs(one.among_all.value - 0.5))
    return sorted(reach, key=lambda name: -reach[name])[:MOST_MEASURES]


def height_of_predictors(found: Mapping[tuple[int, str], Concordance]) -> float:
    """In inches, with the names above the axes."""
    names = foremost_measures(found)
    return HEIGHT + LINE * math.ceil(len(names) / columns_in(WIDTH - AXIS, names))


def draw_predictors(axes: Axes, found: Mapping[tuple[int, str], Concordance]) -> Axes:
    """`found` by step and measure. One line for each measure, in the shares of pairs in which more goes first."""
    names = foremost_measures(found)
    steps = sorted({step for (step, name), one in found.items() if name in names and _is_known(one)})
    log_steps(axes, 0.9 * steps[0], _round_above(1.1 * steps[-1]), "measured at step")
    axes.axhline(0.5, color=MUTED, linewidth=0.8, zorder=1)
    for number, name in enumerate(names):
        points = {step: one.among_all for (step, measure), one in found.items() if measure == name}
        _draw_line(axes, points, look_of(number), BESIDE ** (number - (len(names) - 1) / 2))
        axes.lines[-1].set_label(as_written(shortened(name)))
    axes.set_ylim(-0.02, 1.02)
    percent_axis(axes.yaxis)
    axes.set_ylabel("pairs in which more goes first")
    axes.grid(axis="y")
    columns = columns_in(room_of(axes) - AXIS, names)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)
    return axes


def _is_known(one: Concordance) -> bool:
    return not math.isnan(one.among_all.value)


def _round_above(step: float) -> float:
    """550 → 1,000: the next 1, 2 or 5 times a power of ten, as the axis begins with."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step)


def _draw_line(axes: Axes, points: Mapping[int, Estimate], look: Mapping[str, Any], beside: float) -> None:
    """`points` by step; its own line comes last."""
    known = {step * beside: one for step, one in sorted(points.items()) if not math.isnan(one.value)}
    colour = look["color"]
    for x, one in known.items():
        face = PALETTE["paper"] if math.isnan(one.lower) else colour
        if not math.isnan(one.lower):
            axes.plot([x, x], [one.lower, one.upper], color=colour, linewidth=1.2, zorder=2)
        axes.plot(x, one.value, marker="o", markersize=3.5, color=colour, markerfacecolor=face, zorder=4)
    values = [one.value for one in known.values()]
    axes.plot([*known], values, color=colour, linestyle=look["linestyle"], zorder=3)
