"""The share grokked along one parameter, everything else averaged over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grokray.analysis.figures.labels import AXIS, height_of_choices, name_choices, room_of
from grokray.analysis.figures.style import LINES, WIDTH, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def height_beside(table: pd.DataFrame) -> float:
    """Inches that the names of choices need, beside the figure itself."""
    return 0.0 if _is_range(table) else height_of_choices(table["value"].astype(str).tolist(), WIDTH - AXIS)


def draw_profile(axes: Axes, table: pd.DataFrame, name: str) -> Axes:
    """`table` has `value`, `share`, `share_lower` and `share_upper`; a bin without trials has a gap."""
    colour = LINES[0][0]
    place = np.arange(len(table))
    share, lower, upper = (table[column].to_numpy(float) for column in ("share", "share_lower", "share_upper"))
    axes.vlines(place, lower, upper, color=colour, linewidth=1.4)
    is_range, labels = _is_range(table), table["value"].astype(str).tolist()
    axes.plot(place, share, "o-" if is_range else "o", color=colour, markersize=4.5, linewidth=0.9)
    if is_range:
        edges = [*(label.split(" to ")[0] for label in labels), labels[-1].split(" to ")[1]]
        axes.set_xticks(np.arange(len(edges)) - 0.5, [edge if not at % 2 else "" for at, edge in enumerate(edges)])
    else:
        name_choices(axes, place, labels, room_of(axes) - AXIS)
    axes.set_xlim(-0.5, len(table) - 0.5)
    axes.set_ylim(0, 1.02)
    percent_axis(axes.yaxis)
    axes.set_ylabel("grokked")
    axes.set_xlabel(name)
    axes.grid(axis="y")
    return axes


def _is_range(table: pd.DataFrame) -> bool:
    return bool(table["value"].astype(str).str.contains(" to ").all())
