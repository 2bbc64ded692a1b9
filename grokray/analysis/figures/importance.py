"""Two measures of importance side by side, since they can disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from grokray.analysis.figures.style import INK, PALETTE, PAPER, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def height_of_importance(rows: int) -> float:
    """Inches."""
    return 1.0 + 0.42 * max(rows, 1)


def draw_importance(axes: Axes, table: pd.DataFrame) -> Axes:
    """`table` has `parameter`, `fanova` and `ped_anova`, shares of 1, and the ends of their intervals."""
    place = np.arange(len(table))
    looks = {
        "fanova": ("fANOVA", PALETTE["blue"], "", -0.19),
        "ped_anova": ("PED-ANOVA", PALETTE["orange"], "////", 0.19),
    }
    for column, (label, colour, hatch, shift) in looks.items():
        values = np.nan_to_num(table[column].to_numpy(float))
        axes.barh(place + shift, values, 0.36, color=colour, hatch=hatch, edgecolor=INK, linewidth=0.4, label=label)
        lower, upper = (table[f"{column}_{end}"].to_numpy(float) for end in ("lower", "upper"))
        # On a strip of paper, as a line alone is lost in the hatching.
        axes.hlines(place + shift, lower, upper, color=PAPER, linewidth=3.2)
        axes.hlines(place + shift, lower, upper, color=INK, linewidth=1.3)
    axes.set_yticks(place, table["parameter"].tolist())
    axes.invert_yaxis()
    axes.set_xlim(0, None)
    percent_axis(axes.xaxis)
    axes.set_xlabel("share of the importance")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(looks), borderaxespad=0.3)  # beside any bar
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return axes
