"""The share grokked along one parameter, everything else averaged over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grokray.analysis.figures.style import LINES, as_written, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_profile(axes: Axes, table: pd.DataFrame, name: str) -> Axes:
    """`table` has `value`, `share`, `share_lower` and `share_upper`; a bin without trials has a gap."""
    colour = LINES[0][0]
    place = np.arange(len(table))
    share, lower, upper = (table[column].to_numpy(float) for column in ("share", "share_lower", "share_upper"))
    axes.vlines(place, lower, upper, color=colour, linewidth=1.4)
    is_range = table["value"].astype(str).str.contains(" to ").all()
    axes.plot(place, share, "o-" if is_range else "o", color=colour, markersize=4.5, linewidth=0.9)
    labels = (
        [str(value).split(" to ")[0] for value in table["value"]] if is_range else table["value"].astype(str).tolist()
    )
    if is_range:
        edges = [*labels, str(table["value"].iloc[-1]).split(" to ")[1]]
        axes.set_xticks(np.arange(len(edges)) - 0.5, [edge if not at % 2 else "" for at, edge in enumerate(edges)])
    else:
        axes.set_xticks(place, [as_written(label) for label in labels])
    axes.set_xlim(-0.5, len(table) - 0.5)
    axes.set_ylim(0, 1.02)
    percent_axis(axes.yaxis)
    axes.set_ylabel("grokked")
    axes.set_xlabel(name)
    axes.grid(axis="y")
    return axes
