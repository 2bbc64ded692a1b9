"""What all figures share: Okabe and Ito's colours, which colour-blind people can tell apart, and a second sign beside
each, so that nothing is told by colour alone.

Every colour has a name: the report turns it into a CSS variable, which has another value on a dark page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from grokray.analysis.figures.labels import AXIS, GAP, as_written, room_of, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID, PAPER = "#1d2126", "#5b6370", "#d9dce1", "#fefefe"
PALETTE = {
    "ink": INK,
    "muted": MUTED,
    "grid": GRID,
    "paper": PAPER,
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "grey": "#9AA0A8",
}
DASHES = ((0, ()), (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 3)), (0, (8, 2, 1, 2, 1, 2)))
LINES = [  # colour, dashes
    (PALETTE[name], dashes)
    for name, dashes in zip(("blue", "vermilion", "green", "purple", "orange", "sky"), DASHES, strict=True)
]
# Phase → colour, two letters, hatch.
PHASE_LOOKS = {
    "confusion": (PALETTE["grey"], "cf", "---"),
    "memorization": (PALETTE["orange"], "me", "////"),
    "comprehension": (PALETTE["sky"], "co", "\\\\\\\\"),
    "grokking": (PALETTE["green"], "gr", ""),
    "diverged": (PALETTE["purple"], "di", "xxxx"),
}
ON_COLOUR = "#000001"  # text upon a phase's colour: black on a dark page, too
STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.5,
    "figure.facecolor": "#ffffff",  # the ink is dark, whatever page a notebook has
    "axes.facecolor": "none",
    "svg.hashsalt": "grokray",  # the same figure is the same file
    "svg.fonttype": "none",
}
WIDTH = 4.8  # inches: as wide as a phone's screen shows without making texts small


@contextmanager
def styled() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def new_axes(height: float = 3.0, width: float = WIDTH) -> Axes:
    """Axes in a figure of pyplot's, so that notebooks show it. To be called outside of `styled`: with the first figure
    pyplot loads the backend, and leaving the style would undo what that sets, as Jupyter's does to show every figure
    of a cell.
    """
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(width, height), layout="constrained", facecolor=STYLE["figure.facecolor"])
    with styled():
        return figure.subplots()


def log_steps(axes: Axes, first: float, last: float, name: str = "training steps") -> None:
    """A logarithmic axis of steps, written out: 2,000. It reaches from 1, 2 or 5 times a power of ten, at most `first`,
    to `last`, and has labels at both ends."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    places = steps_between(first, last, room_of(axes) - AXIS)
    axes.set_xscale("log")
    axes.set_xlim(places[0], places[-1])
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.set_xlabel(name)


def steps_between(first: float, last: float, width: float = WIDTH - AXIS) -> list[float]:
    """130, 4000 → 100, 200, 500, 1000, 2000, 4000: both ends, and between them what leaves the labels room on an axis
    of `width` inches."""
    last = max(last, 1.2)
    first = min(max(first, 1.0), last / 1.2)  # the end is a step of the data, and is never moved
    steps = [factor * 10.0**power for power in range(math.ceil(math.log10(last)) + 1) for factor in (1, 2, 5)]
    start = max(step for step in steps if step <= first)
    decades, inner = math.log10(last / start), [step for step in steps if start < step < last]

    def fits(step: float, other: float) -> bool:
        needed = GAP + (width_of(f"{step:,.0f}") + width_of(f"{other:,.0f}")) / 2
        return math.log10(other / step) / decades * width >= needed

    powers = [step for step in inner if math.log10(step).is_integer()]
    for tried in ([inner] if decades < 2.5 else []) + [powers, powers[::2], powers[::3]]:
        inner = [step for step in tried if fits(start, step) and fits(step, last)]
        if all(fits(*both) for both in pairwise(inner)):
            break
    return [start, *inner, last]


def percent_axis(axis: Any, symbol: str = " %") -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=symbol))


def nothing_to_draw(axes: Axes, reason: str) -> Axes:
    """In place of a figure: why there is none."""
    import textwrap

    axes.set_axis_off()
    text = "\n".join(textwrap.wrap(as_written(reason), 60))
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=MUTED)
    return axes
